"""Plants mistakes in a copy of the library, one at a time, and demands that a test fails for each.

    python tools/plant_mistakes.py            # all of them, two at a time
    python tools/plant_mistakes.py adjoint    # those whose name contains the word

A mistake that no test notices is printed and makes the exit code 1: then a test is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[1]

_AT_ONCE = 2


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
MOBILITY = "tests/systems/test_mobility.py"
HOMEOSTASIS = "tests/homeostasis/test_jacobian.py"
BUILD = "tests/training/test_build.py"
DIAGNOSTICS = "tests/diagnostics/test_diagnostics.py"
RELAX = "tests/solvers/test_relax.py"
ACCELERATION = "tests/solvers/test_acceleration.py"
NUMERICS = "tests/numerics"
LOOP = "tests/training/test_loop.py"
REFERENCES = "tests/estimators/test_references.py"
BARS = "tests/estimators/test_error_bar.py"
CONTINUOUS = "tests/estimators/test_continuous_time.py"
FAMILY = "tests/homeostasis/test_family.py"
ANTISYMMETRIC = "tests/homeostasis/test_antisymmetric.py"
LIMITS = "tests/diagnostics/test_limits.py"
DIAGNOSIS = "tests/training/test_diagnosis.py"
OPERATIONS = "tests/systems/test_operations.py"
DEVICES = "tests/training/test_devices.py"
FEED = "tests/training/test_feed.py"
AUGMENT = "tests/data/test_augment.py"

MISTAKES = [
    Mistake(
        "pooling without its temperature",
        "numerics/pooling.py",
        "share = _exp((windows - largest) / temperature)",
        "share = _exp(windows - largest)",
        OPERATIONS,
    ),
    Mistake(
        "a complex exponential of the wrong sign",
        "numerics/pooling.py",
        "size * jnp.sin(z.imag)",
        "-size * jnp.sin(z.imag)",
        OPERATIONS,
    ),
    Mistake(
        "a transposed convolution that is not turned round",
        "systems/_operations.py",
        "jnp.swapaxes(weight[::-1, ::-1], 2, 3)",
        "jnp.swapaxes(weight, 2, 3)",
        OPERATIONS,
    ),
    Mistake(
        "feedback through pooling at the wrong end",
        "systems/_layered.py",
        "carried = edge.operation.apply_transpose(weight, r, activity[edge.target])",
        "carried = edge.operation.apply_transpose(weight, r, jnp.zeros_like(activity[edge.target]))",
        LAYERED,
    ),
    Mistake(
        "prediction turned the wrong way",
        "estimators/_circle.py",
        "free + turn * odd + turn**2 * even",
        "free + jnp.conj(turn) * odd + turn**2 * even",
        ESTIMATORS,
    ),
    Mistake(
        "sensitivity upside down",
        "estimators/_circle.py",
        "jnp.maximum(least * tolerance, floor)",
        "jnp.maximum(tolerance / least, floor)",
        MOBILITY,
    ),
    Mistake(
        "pieces of a batch that all count alike",
        "estimators/_estimate.py",
        "share = kept / jnp.maximum(kept.sum(), 1)",
        "share = jnp.ones_like(kept) / kept.size",
        DEVICES,
    ),
    Mistake(
        "a file of images begun in the wrong place",
        "training/feed.py",
        "begin = (step - first) * self._batch_size",
        "begin = step * self._batch_size",
        FEED,
    ),
    Mistake(
        "images mirrored top to bottom",
        "data/augment.py",
        "images[:, :, ::-1]",
        "images[:, ::-1]",
        AUGMENT,
    ),
    Mistake(
        "a response that is not divided by the mobility",
        "systems/_system.py",
        "lambda m, a: a / m, mobility, response)",
        "lambda m, a: a * m, mobility, response)",
        MOBILITY,
    ),
    Mistake(
        "feedback the wrong way between mobilities",
        "systems/_layered.py",
        "source.mobility / target.mobility",
        "target.mobility / source.mobility",
        LAYERED,
    ),
    Mistake(
        "a metric turned round",
        "systems/_system.py",
        "lambda m: m**0.5, mobility)",
        "lambda m: m**-0.5, mobility)",
        MOBILITY,
    ),
    Mistake(
        "a corrected response divided once more",
        "estimators/corrected.py",
        "    def mobility(self) -> None:",
        "    def immobility(self) -> None:",
        REFERENCES,
    ),
    Mistake(
        "sign of the nudge",
        "systems/_nudged.py",
        "trees.scale(self.nudge, only_block(cost_gradient, only))",
        "trees.scale(-self.nudge, only_block(cost_gradient, only))",
        LAYERED,
    ),
    Mistake(
        "sign of the nudged estimates",
        "estimators/_nudging.py",
        "trees.scale(-1 / r, seen",
        "trees.scale(1 / r, seen",
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
        "estimators/_circle.py",
        "lambda r: r[0] - r[1], tree",
        "lambda r: r[1] - r[0], tree",
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
        "trees.negative(problem.state_cost_gradient)",
        "problem.state_cost_gradient",
        ESTIMATORS,
    ),
    Mistake(
        "slope excluded of the response",
        "estimators/exact_response.py",
        "problem.system.error_vector_of(to_activity(answer.value))",
        "problem.system.error_vector_of(answer.value)",
        ESTIMATORS,
    ),
    Mistake(
        "direct gradient of the readout excluded",
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
        "lambda a: a @ weight.T, _reshaped",
        "lambda a: a @ weight.T[::-1], _reshaped",
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
        "homeostasis/_treatment.py",
        "g + strength.astype(g.dtype) * h",
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
        "active &= ~share(jnp.all, force <= _SAFETY * job.goal, phases)",
        "active &= ~(force <= _SAFETY * job.goal)",
        RELAX,
    ),
    Mistake(
        "damping the wrong way round",
        "solvers/_sweeps.py",
        "1.0 if isinstance(self.damping, str) else 1 - self.damping",
        "1.0 if isinstance(self.damping, str) else self.damping",
        RELAX,
    ),
    Mistake(
        "over-relaxation by the wrong factor",
        "solvers/_sweeps.py",
        "best = 2 / (1 + jnp.sqrt(1 - mu_squared))",
        "best = 2 / (1 + jnp.sqrt(1 + mu_squared))",
        ACCELERATION,
    ),
    Mistake(
        "phases with factors of their own",
        "solvers/_sweeps.py",
        "slowest = share(jnp.max, force, phases)",
        "slowest = force",
        ACCELERATION,
    ),
    Mistake(
        "oscillating samples that are never damped",
        "solvers/_sweeps.py",
        "_DAMP * factor",
        "1.0 * factor",
        ACCELERATION,
    ),
    Mistake(
        "extrapolation the wrong way",
        "solvers/_anderson.py",
        "extrapolated = sweep - jnp.einsum",
        "extrapolated = sweep + jnp.einsum",
        ACCELERATION,
    ),
    Mistake(
        "normal equations without the conjugate",
        "solvers/_anderson.py",
        'jnp.einsum("bmn,bn->bm", vectors.conj(), one)',
        'jnp.einsum("bmn,bn->bm", vectors, one)',
        ACCELERATION,
    ),
    Mistake(
        "Newton steps that are never taken back",
        "solvers/_newton.py",
        "failed = memory.leapt &",
        "failed = jnp.zeros_like(memory.leapt) &",
        ACCELERATION,
    ),
    Mistake(
        "a Newton step the wrong way",
        "solvers/_newton.py",
        "trees.negative(here), cycle",
        "here, cycle",
        ACCELERATION,
    ),
    Mistake(
        "a warm start from another sample",
        "training/step.py",
        "kept.at[indices].set(",
        "kept.at[indices + 1].set(",
        LOOP,
    ),
    Mistake(
        "published steps without the mobility",
        "benchmarking/baselines.py",
        "error = system.error_vector_of(jax.tree.map(first_harmonic, end, rest))",
        "error = jax.tree.map(first_harmonic, end, rest)",
        "tests/benchmarking",
    ),
    Mistake(
        "a converged sample that ends extrapolated",
        "solvers/_relax.py",
        "state = trees.select(active, state, taken.swept)",
        "state = trees.select(active, state, state)",
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
    Mistake(
        "correction with the wrong sign",
        "estimators/corrected.py",
        "trees.subtract(product(v), transposed(v)[0])",
        "trees.subtract(transposed(v)[0], product(v))",
        REFERENCES,
    ),
    Mistake(
        "half of the correction",
        "estimators/corrected.py",
        "trees.subtract(product(v), transposed(v)[0])",
        "jax.tree.map(lambda a, b: (a - b) / 2, product(v), transposed(v)[0])",
        REFERENCES,
    ),
    Mistake(
        "imaginary part of the correction dropped",
        "estimators/corrected.py",
        "jax.tree.map(jax.lax.complex, real, imaginary)",
        "jax.tree.map(lambda a, b: jax.lax.complex(a, 0 * b), real, imaginary)",
        REFERENCES,
    ),
    Mistake(
        "dyadic error with the sign of the nudge",
        "estimators/dyadic.py",
        "lambda a: -a / self.nudge, d",
        "lambda a: a / self.nudge, d",
        REFERENCES,
    ),
    Mistake(
        "dyadic cost_gradient without the slope",
        "estimators/dyadic.py",
        "cost_gradient = to_state(self.system.cost_gradient(activity, self.target))[0]",
        "cost_gradient = self.system.cost_gradient(activity, self.target)",
        REFERENCES,
    ),
    Mistake(
        "adjoint dynamics with the cost_gradient reversed",
        "estimators/recurrent_backprop.py",
        "trees.add(self.pullback(state)[0], self.cost_gradient)",
        "trees.subtract(self.pullback(state)[0], self.cost_gradient)",
        REFERENCES,
    ),
    Mistake(
        "one term of the series too few",
        "estimators/neumann.py",
        "length=self.terms)",
        "length=self.terms - 1)",
        REFERENCES,
    ),
    Mistake(
        "unrolled gradient without the transient",
        "estimators/unrolled.py",
        "            work=work,\n",
        "",
        REFERENCES,
    ),
    Mistake(
        "bound not applied to the unrolled gradient",
        "estimators/unrolled.py",
        "return share * final_cost",
        "return final_cost",
        REFERENCES,
    ),
    Mistake(
        "lock-in reference turning backwards",
        "estimators/continuous_time.py",
        "in_phase += jnp.asarray(np.sin(angle)",
        "in_phase -= jnp.asarray(np.sin(angle)",
        CONTINUOUS,
    ),
    Mistake(
        "warm-up periods kept",
        "estimators/continuous_time.py",
        "lambda a: a[self.warmup :], heard",
        "lambda a: a[: self.periods], heard",
        CONTINUOUS,
    ),
    Mistake(
        "dead time read",
        "estimators/continuous_time.py",
        "jnp.where(step >= dead, 1 / read, 0)",
        "jnp.where(step < read, 1 / read, 0)",
        CONTINUOUS,
    ),
    Mistake(
        "standard error without the root of the periods",
        "estimators/continuous_time.py",
        "ddof=1) / n**0.5 if",
        "ddof=1) if",
        CONTINUOUS,
    ),
    Mistake(
        "residual bar without the cost_gradient",
        "estimators/_problem.py",
        "trees.add(membrane(in_state), cost_gradient)",
        "membrane(in_state)",
        BARS,
    ),
    Mistake(
        "aliasing bar not extrapolated",
        "estimators/_nudging.py",
        "jnp.maximum(last, sizes[-1] * ratio) * ratio",
        "jnp.maximum(last, sizes[-1])",
        BARS,
    ),
    Mistake(
        "everyone tried again",
        "estimators/_nudging.py",
        "active & hopeful & ~(chosen.error_bar <= self.tolerance)",
        "hopeful",
        BARS,
    ),
    Mistake(
        "retries at the same radius",
        "estimators/_nudging.py",
        "radius * self.shrink ** trial.astype(radius.dtype)",
        "radius",
        BARS,
    ),
    Mistake(
        "inaccurate samples kept",
        "estimators/_estimate.py",
        'for name in ("unconverged", "clipped", "branch_switch", "inaccurate"):\n        kept',
        'for name in ("unconverged", "clipped", "branch_switch"):\n        kept',
        BARS,
    ),
    Mistake(
        "automatic radius that forgets the tolerance",
        "estimators/_auto.py",
        "(self.tolerance / (2 * factor)) ** (1 / points)",
        "0.5",
        BARS,
    ),
    Mistake(
        "antisymmetric part with the wrong sign",
        "numerics/hutchinson.py",
        "trees.subtract(jacobian(scaled), transposed(scaled)[0])",
        "trees.add(jacobian(scaled), transposed(scaled)[0])",
        ANTISYMMETRIC,
    ),
    Mistake(
        "balance the wrong way round",
        "homeostasis/antisymmetric.py",
        "(n / (populations * units(a))) ** 0.5",
        "(populations * units(a) / n) ** 0.5",
        ANTISYMMETRIC,
    ),
    Mistake(
        "forward weights moved in place of feedback",
        "homeostasis/_pairs.py",
        "{back: own.weights[back] for _, back in pairs.values()}",
        "{forth: own.weights[forth] for forth, _ in pairs.values()}",
        FAMILY,
    ),
    Mistake(
        "rotation of half the loss",
        "homeostasis/rotation.py",
        "return a(z) @ y, (rest",
        "return a(z) @ y / 2, (rest",
        FAMILY,
    ),
    Mistake(
        "local rule without its second half",
        "homeostasis/local.py",
        "return mean_over_usable(forward - backward, batch.usable)",
        "return mean_over_usable(forward, batch.usable)",
        FAMILY,
    ),
    Mistake(
        "different updates in Kolen-Pollack",
        "homeostasis/_pairs.py",
        "factor * (weights[forward] + weights[feedback])",
        "factor * (weights[forward] - weights[feedback])",
        FAMILY,
    ),
    Mistake(
        "mirror without decay",
        "homeostasis/weights.py",
        "network.weights[feedback] - mirrored",
        "-mirrored",
        FAMILY,
    ),
    Mistake(
        "controller that pushes the wrong way",
        "homeostasis/strength.py",
        "jnp.exp(self.gain * missing)",
        "jnp.exp(-self.gain * missing)",
        FAMILY,
    ),
    Mistake(
        "controller that forgets",
        "homeostasis/strength.py",
        '{"strength": strength, "steps": memory["steps"] + 1}',
        '{"strength": memory["strength"], "steps": memory["steps"] + 1}',
        FAMILY,
    ),
    Mistake(
        "homeostasis of a loop as strong as that of feedback weights",
        "training/build.py",
        '100.0 if found["feedback_only"] else 0.3',
        '0.3 if found["feedback_only"] else 100.0',
        BUILD,
    ),
    Mistake(
        "a run that records what it was asked for instead of what it decided",
        "training/loop.py",
        "RunDirectory.create(out, trainer.config,",
        "RunDirectory.create(out, config,",
        BUILD,
    ),
    Mistake(
        "products that round unasked",
        "cli/_jax.py",
        '"default" if precision == "tensorfloat32" else "highest"',
        '"highest" if precision == "tensorfloat32" else "default"',
        BUILD,
    ),
    Mistake(
        "certificate in the wrong metric",
        "numerics/krylov.py",
        "k = arnoldi(solved, start, steps, metric=minus_s)",
        "k = arnoldi(solved, start, steps)",
        LIMITS,
    ),
    Mistake(
        "angle of the certificate halved",
        "diagnostics/certificate.py",
        "jnp.rad2deg(2 * jnp.arctan(sigma))",
        "jnp.rad2deg(jnp.arctan(sigma))",
        LIMITS,
    ),
    Mistake(
        "indefinite S certified",
        "diagnostics/certificate.py",
        "definite = (found.smallest > 0) & (slope >= 0)",
        "definite = slope >= 0",
        LIMITS,
    ),
    Mistake(
        "largest modulus in place of the rightmost",
        "diagnostics/spectrum.py",
        "_extreme(h, np.real) for h in membrane",
        "_extreme(h, np.abs) for h in membrane",
        LIMITS,
    ),
    Mistake(
        "bias parts exchanged",
        "diagnostics/bias.py",
        "asymmetry = trees.subtract(limit, exact.error_vector)",
        "asymmetry = trees.subtract(exact.error_vector, limit)",
        LIMITS,
    ),
    Mistake(
        "derivative of a rotation that is none",
        "homeostasis/rotation.py",
        "x, state, keys = trees.stand_in(counted, (x, state, keys))",
        "x, state, keys = trees.stand_in(batch.usable, (x, state, keys))",
        FAMILY,
    ),
    Mistake(
        "inputs of unusable samples treated",
        "homeostasis/_batch.py",
        "return jax.lax.stop_gradient(trees.stand_in(self.usable, (self.x, self.state)))",
        "return jax.lax.stop_gradient((self.x, trees.stand_in(self.usable, self.state)))",
        FAMILY,
    ),
    Mistake(
        "mirrored weights counted at every place",
        "homeostasis/weights.py",
        "mirrored = met(arrived)[0] / used(jnp.ones_like(arrived))[0]",
        "mirrored = met(arrived)[0] / self.probes",
        FAMILY,
    ),
    Mistake(
        "missing labels in the direct gradient",
        "estimators/_estimate.py",
        "state, x, target = trees.stand_in(free_kept, (state, x, target))",
        "state, x = trees.stand_in(free_kept, (state, x))",
        "tests/estimators/test_hard_cases.py",
    ),
    Mistake(
        "squares of tiny gradients",
        "diagnostics/alignment.py",
        "largest = jnp.max(jnp.stack([jnp.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(tree)]))",
        "largest = jnp.asarray(1.0)",
        DIAGNOSTICS,
    ),
    Mistake(
        "a run evaluated with other data",
        "training/restore.py",
        "    directory.require_data(trainer.dataset)\n",
        "",
        LOOP,
    ),
    Mistake(
        "first images of one class",
        "data/_image_folder.py",
        "[files[i] for i in mixed(len(files), _ORDER_SEED)]",
        "files",
        "tests/data/test_image_folder.py",
    ),
    Mistake(
        "mobilities without feedback",
        "training/build.py",
        'feedback_gain = 1.0 if config.feedback == "none" else config.feedback_gain',
        "feedback_gain = config.feedback_gain",
        BUILD,
    ),
    Mistake(
        "homeostasis of pairs alone beside other asymmetry",
        "systems/_topology.py",
        'set(back) <= {"untied", "tied", "lateral tied"}',
        "True",
        "tests/systems/test_topology.py",
    ),
    Mistake(
        "the handler of a scheduler's signal not put back",
        "training/loop.py",
        "for number, old in previous.items():",
        "for number, old in [(signal.SIGINT, previous[signal.SIGINT])]:",
        LOOP,
    ),
    Mistake(
        "a warm start that is forgotten",
        "training/step.py",
        "warm = None if start is None else relax(",
        "warm = None if start is not None else relax(",
        LOOP,
    ),
    Mistake(
        "ten epochs for few samples",
        "training/loop.py",
        "min(100, max(10, math.ceil(2000 / steps_per_epoch)))",
        "10",
        LOOP,
    ),
    Mistake(
        "a run trained by two",
        "training/loop.py",
        "    on_primary(directory.lock)\n",
        "",
        LOOP,
    ),
    Mistake(
        "period off by one",
        "diagnostics/period.py",
        "[1, jnp.argmax(back, axis=0) + 1]",
        "[1, jnp.argmax(back, axis=0)]",
        DIAGNOSIS,
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
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_AT_ONCE) as pool:
        free: Queue[Path] = Queue()
        for number in range(_AT_ONCE):
            free.put(copy_of_project(Path(folder) / str(number)))

        def look(mistake: Mistake) -> bool:
            scratch = free.get()
            try:
                found = noticed(mistake, scratch)
            finally:
                free.put(scratch)
            print(f"{'noticed' if found else 'MISSED '}  {mistake.name}", flush=True)
            return found

        found = list(pool.map(look, chosen))
    print(f"{sum(found)} of {len(chosen)} mistakes noticed")
    return 0 if all(found) else 1


def copy_of_project(scratch: Path) -> Path:
    scratch.mkdir()
    for name in ("src", "tests", "pyproject.toml"):
        origin = ROOT / name
        (shutil.copytree if origin.is_dir() else shutil.copy)(origin, scratch / name)
    return scratch


if __name__ == "__main__":
    sys.exit(main())
