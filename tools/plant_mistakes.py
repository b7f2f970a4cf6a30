"""Plants mistakes in a copy of the library, one at a time, and demands that a test fails for each.

    python tools/plant_mistakes.py            # all of them
    python tools/plant_mistakes.py adjoint    # those whose name contains the word

A mistake that no test notices is printed and makes the exit code 1: then a test is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mistake:
    """`old` becomes `new`, once, in `file`; one of `tests` must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


ESTIMATORS = "tests/estimators/test_estimators.py"
LAYERED = "tests/systems/test_layered.py"
HOMEOSTASIS = "tests/homeostasis/test_jacobian.py"
DIAGNOSTICS = "tests/diagnostics/test_diagnostics.py"
RELAX = "tests/solvers/test_relax.py"
NUMERICS = "tests/numerics"
BUILD = "tests/training/test_build.py"
LOOP = "tests/training/test_loop.py"

MISTAKES = [
    Mistake(
        "sign of the nudge",
        "systems/_nudged.py",
        "trees.subtract(force, trees.scale(self.nudge, pull))",
        "trees.subtract(force, trees.scale(-self.nudge, pull))",
        LAYERED,
    ),
    Mistake(
        "sign of the centred estimate",
        "estimators/centered.py",
        "lambda c: -c / self.nudge",
        "lambda c: c / self.nudge",
        ESTIMATORS,
    ),
    Mistake(
        "factor two in the centred estimate",
        "estimators/_circle.py",
        "multiplicity * np.cos(angle) / points",
        "2 * multiplicity * np.cos(angle) / points",
        ESTIMATORS,
    ),
    Mistake(
        "sign of the one-sided estimate",
        "estimators/one_sided.py",
        "(r[0] - r[1]) / self.nudge",
        "(r[1] - r[0]) / self.nudge",
        ESTIMATORS,
    ),
    Mistake(
        "conjugate phases forgotten",
        "estimators/_circle.py",
        "np.where((k == 0) | (2 * k == points), 1, 2)",
        "np.where((k == 0) | (2 * k == points), 1, 1)",
        ESTIMATORS,
    ),
    Mistake(
        "missing conjugate in the Fourier sum",
        "estimators/_circle.py",
        "total = total + jnp.sum(sine * leaf.imag, axis=0)",
        "total = total - jnp.sum(sine * leaf.imag, axis=0)",
        ESTIMATORS,
    ),
    Mistake(
        "adjoint with J in place of its transpose",
        "estimators/adjoint.py",
        "transpose=True",
        "transpose=False",
        ESTIMATORS,
    ),
    Mistake(
        "response with the transpose of J",
        "estimators/exact_response.py",
        "transpose=False",
        "transpose=True",
        ESTIMATORS,
    ),
    Mistake(
        "sign of the adjoint",
        "estimators/adjoint.py",
        "jax.tree.map(jnp.negative, pull)",
        "pull",
        ESTIMATORS,
    ),
    Mistake(
        "slope left out of the response",
        "estimators/exact_response.py",
        "error_vector=to_activity(answer.value)",
        "error_vector=answer.value",
        ESTIMATORS,
    ),
    Mistake(
        "direct gradient of the readout left out",
        "estimators/_estimate.py",
        "+ jnp.sum(share(free_kept) * direct)",
        "+ 0 * jnp.sum(share(free_kept) * direct)",
        ESTIMATORS,
    ),
    Mistake(
        "mean over the batch in place of the samples kept",
        "estimators/_estimate.py",
        "return weight / jnp.maximum(weight.sum(), 1)",
        "return weight / weight.shape[0]",
        ESTIMATORS,
    ),
    Mistake(
        "bound forgotten",
        "estimators/_estimate.py",
        "error_vector = trees.scale(shrink, response.error_vector)",
        "error_vector = response.error_vector",
        ESTIMATORS,
    ),
    Mistake(
        "jumps not flagged",
        "estimators/_circle.py",
        "(total(even) > threshold * total(odd))",
        "(total(even) > 100 * threshold * total(odd))",
        ESTIMATORS,
    ),
    Mistake(
        "feedback weight transposed the wrong way",
        "systems/_operations.py",
        "lambda a: a @ weight.T, r",
        "lambda a: a @ weight.T[::-1], r",
        LAYERED,
    ),
    Mistake(
        "leak forgotten in J",
        "systems/_layered.py",
        "lambda c, a, d: c - a / d",
        "lambda c, a, d: c",
        LAYERED,
    ),
    Mistake(
        "angle of the feedback by the wrong function",
        "systems/_layered.py",
        "jnp.sin(angle) * random + jnp.cos(angle) * forward",
        "jnp.cos(angle) * random + jnp.sin(angle) * forward",
        LAYERED,
    ),
    Mistake(
        "imaginary part dropped from a real product",
        "numerics/complex.py",
        "jax.lax.complex(real, imaginary)",
        "jax.lax.complex(real, -imaginary)",
        NUMERICS,
    ),
    Mistake(
        "modulus in the squared error",
        "numerics/costs.py",
        "(difference * difference)",
        "(difference * difference.conj())",
        NUMERICS,
    ),
    Mistake(
        "shift of the logistic",
        "numerics/activations.py",
        "_logistic(4 * z - 2)",
        "_logistic(4 * z + 2)",
        NUMERICS,
    ),
    Mistake(
        "sign of the homeostatic square term",
        "homeostasis/jacobian.py",
        "per_probe -= moments.trace_of_square",
        "per_probe += moments.trace_of_square",
        HOMEOSTASIS,
    ),
    Mistake(
        "strength of homeostasis ignored",
        "homeostasis/jacobian.py",
        "g + self.strength * h",
        "g + h",
        HOMEOSTASIS,
    ),
    Mistake(
        "symmetric and antisymmetric parts exchanged",
        "numerics/hutchinson.py",
        "half * (moments.squared_norm + moments.trace_of_square)",
        "half * (moments.squared_norm - moments.trace_of_square)",
        DIAGNOSTICS,
    ),
    Mistake(
        "phases that stop apart",
        "solvers/_relax.py",
        "active &= ~together(force <= _SAFETY * goal)",
        "active &= ~(force <= _SAFETY * goal)",
        RELAX,
    ),
    Mistake(
        "damping the wrong way round",
        "solvers/_sweeps.py",
        "u + (1 - damping) * f",
        "u + damping * f",
        RELAX,
    ),
    Mistake(
        "decay of biases",
        "training/build.py",
        "lambda p: p.ndim > 1",
        "lambda p: p.ndim > 0",
        BUILD,
    ),
    Mistake(
        "order of samples that ignores the epoch",
        "training/step.py",
        "epoch_key = jax.random.fold_in(state.key, state.epoch)",
        "epoch_key = jax.random.fold_in(state.key, state.step)",
        LOOP,
    ),
]


def noticed(mistake: Mistake, scratch: Path) -> bool:
    """Whether the tests fail on a copy of the library with the mistake in it."""
    source = scratch / "src" / "equiprop" / mistake.file
    good = source.read_text(encoding="utf-8")
    if good.count(mistake.old) != 1:
        raise SystemExit(f"{mistake.name}: {mistake.old!r} occurs {good.count(mistake.old)} times in {mistake.file}")
    source.write_text(good.replace(mistake.old, mistake.new), encoding="utf-8")
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", mistake.tests],
            cwd=scratch,
            env={**os.environ, "PYTHONPATH": str(scratch / "src")},
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        source.write_text(good, encoding="utf-8")
    if answer.returncode not in (0, 1):
        raise SystemExit(f"{mistake.name}: the tests did not run\n{answer.stdout[-2000:]}{answer.stderr[-2000:]}")
    return answer.returncode == 1


def main() -> int:
    words = sys.argv[1:]
    chosen = [m for m in MISTAKES if all(word in m.name for word in words)]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for name in ("src", "tests", "pyproject.toml"):
            origin = ROOT / name
            (shutil.copytree if origin.is_dir() else shutil.copy)(origin, scratch / name)
        for mistake in chosen:
            found = noticed(mistake, scratch)
            print(f"{'noticed' if found else 'MISSED '}  {mistake.name}", flush=True)
            missed += [] if found else [mistake.name]
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mistakes noticed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
