"""Where the accuracy of equilibrium propagation goes, and what brings it back: every figure of docs/closing-the-gap.md.

python studies/closing_the_gap.py train OUT [NAME ...]    one run a variant and seed below OUT; what is there is not done again
python studies/closing_the_gap.py table OUT               mean and standard deviation over the seeds
python studies/closing_the_gap.py figure OUT FILE.svg     the waterfall
python studies/closing_the_gap.py bias RUN [N [BATCH]]    summed gradients of N = 20,000 images against the exact one, by nudge
python studies/closing_the_gap.py tail RUN [N]            which samples carry the gradient
python studies/closing_the_gap.py switches RUN [N]        which samples switch branch, nudge by nudge

`train` runs nothing but `equiprop train` with the options listed below; EQUIPROP_DATA_DIR says where Fashion-MNIST is.
"""

import json
import math
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import equiprop as ep
from equiprop.systems import slope

EQUIPROP = str(Path(sys.executable).parent / "equiprop")
SEEDS = (0, 1, 2)
PUBLISHED = ("--config", "experiments/fashion_homeostasis.toml")
BEST = ("--config", "experiments/fashion_best.toml")
EXACT = ("--estimator.kind", "adjoint")
NO_SHARING = ("--homeostasis.shared-updates", "False")
NO_HOMEOSTASIS = ("--homeostasis.kind", "none")
JACOBIAN = ("--homeostasis.kind", "jacobian")
DIGITS = (
    *BEST, "--dataset", "digits", "--system.hidden", "64", "64", "--training.batch-size", "20", "--training.epochs", "60",
    "--training.diagnostic-samples", "100",
)  # fmt: skip
LOOP = (*BEST, "--system.kind", "loop")
DIGITS_LOOP = (*DIGITS, "--system.kind", "loop")


def learning_rates(*rates: str) -> tuple[str, ...]:
    """The options for the learning rate of everything else, and of the four groups that the published settings name."""
    groups = ("input->hidden_1", "hidden_1->hidden_2", "hidden_2->hidden_1", "readout")
    named = (text for pair in zip(groups, rates[1:], strict=True) for text in pair)
    return ("--optimizer.learning-rate", rates[0], "--optimizer.learning-rates", *named)


ONE_RATE = learning_rates("0.03", "0.03", "0.03", "0.03", "0.03")
PUBLISHED_RATES = learning_rates("0.01", "0.05", "0.02", "0.02", "0.004")


@dataclass(frozen=True)
class Variant:
    """`options` of `equiprop train`; `exact`: the variant of the same network whose gradient is the exact one."""

    label: str
    options: tuple[str, ...]
    exact: str | None = None


VARIANTS = {
    "published": Variant("published settings", PUBLISHED, "exact-published"),
    "one-rate": Variant("one learning rate", (*PUBLISHED, *ONE_RATE), "exact-strong"),
    "weak": Variant("weak feedback", (*BEST, *JACOBIAN, "--estimator.nudge", "0.5", *NO_SHARING), "exact"),
    "weak-small": Variant("small nudge", (*BEST, *JACOBIAN, *NO_SHARING), "exact"),
    "shared": Variant("shared updates", (*BEST, *JACOBIAN), "exact"),
    "best": Variant("homeostasis of J − Jᵀ", BEST, "exact-antisymmetric"),
    "exact-published": Variant("exact gradient, published settings", (*PUBLISHED, *EXACT)),
    "exact-strong": Variant("exact gradient, strong feedback", (*PUBLISHED, *ONE_RATE, *EXACT)),
    "exact": Variant("exact gradient, published form of homeostasis", (*BEST, *JACOBIAN, *EXACT, *NO_SHARING)),
    "exact-alone": Variant("exact gradient alone", (*BEST, *EXACT, *NO_HOMEOSTASIS)),
    "exact-alone-strong": Variant(
        "exact gradient alone, strong feedback", (*BEST, *EXACT, *NO_HOMEOSTASIS, "--system.feedback-gain", "1")
    ),
    "exact-tied-strong": Variant(
        "exact gradient, tied, strong feedback",
        (*BEST, *EXACT, *NO_HOMEOSTASIS, "--system.feedback-gain", "1", "--system.feedback", "tied"),
    ),
    "exact-tied": Variant(
        "exact gradient, tied, weak feedback", (*BEST, *EXACT, *NO_HOMEOSTASIS, "--system.feedback", "tied")
    ),
    "exact-slow": Variant(
        "exact gradient alone, half the learning rate",
        (*BEST, *EXACT, *NO_HOMEOSTASIS, "--optimizer.learning-rate", "0.015"),
    ),
    "exact-fast": Variant(
        "exact gradient alone, twice the learning rate",
        (*BEST, *EXACT, *NO_HOMEOSTASIS, "--optimizer.learning-rate", "0.06"),
    ),
    "shared-strong": Variant(
        "shared updates, strong feedback",
        (*BEST, *JACOBIAN, "--system.feedback-gain", "1", "--homeostasis.strength", "1"),
        "exact-strong",
    ),
    "shared-rates": Variant(
        "shared updates, published learning rates",
        (*BEST, *JACOBIAN, *PUBLISHED_RATES),
        "exact",
    ),
    "shared-large": Variant("shared updates, nudge 0.5", (*BEST, *JACOBIAN, "--estimator.nudge", "0.5"), "exact"),
    "sharing-only": Variant(
        "shared updates, homeostasis at strength 0", (*BEST, "--homeostasis.strength", "0"), "exact"
    ),
    "best-alone": Variant("best, neither homeostasis nor shared updates", (*BEST, *NO_HOMEOSTASIS), "exact-alone"),
    "best-unshared": Variant("best, no shared updates", (*BEST, *NO_SHARING), "exact-antisymmetric"),
    "best-unshared-strong": Variant(
        "best, no shared updates, strength 3,000",
        (*BEST, *NO_SHARING, "--homeostasis.strength", "3000"),
        "exact-antisymmetric",
    ),
    "exact-antisymmetric": Variant("exact gradient, with homeostasis", (*BEST, *EXACT, *NO_SHARING)),
    "best-mirror": Variant(
        "best, Kolen-Pollack in place of homeostasis",
        (*BEST, "--homeostasis.kind", "kolen_pollack", "--homeostasis.strength", "1"),
        "exact",
    ),
    "shared-holomorphic": Variant(
        "shared updates, four nudges",
        (*BEST, *JACOBIAN, "--estimator.kind", "holomorphic", "--estimator.points", "4"),
        "exact",
    ),
    "shared-response": Variant(
        "shared updates, exact response", (*BEST, *JACOBIAN, "--estimator.kind", "exact_response"), "exact"
    ),
    "digits": Variant("digits", DIGITS, "digits-exact"),
    "digits-exact": Variant("digits, exact gradient", (*DIGITS, *EXACT, *NO_HOMEOSTASIS)),
    "loop": Variant("loop", LOOP, "loop-exact"),
    "loop-exact": Variant("loop, exact gradient", (*LOOP, *EXACT, *NO_HOMEOSTASIS)),
    "digits-loop": Variant("digits, loop", DIGITS_LOOP, "digits-loop-exact"),
    "digits-loop-exact": Variant("digits, loop, exact gradient", (*DIGITS_LOOP, *EXACT, *NO_HOMEOSTASIS)),
}
WATERFALL = ("published", "one-rate", "weak", "weak-small", "shared", "best")
CEILING = "exact-antisymmetric"


def train(out: Path, names: list[str]) -> None:
    for seed in SEEDS:
        for name in names or VARIANTS:
            run = out / f"{name}-{seed}"
            if not (run / "summary.json").exists():
                command = ["train", *VARIANTS[name].options, "--training.seed", str(seed), "--out", str(run)]
                if (run / "config.toml").exists():
                    command = ["train", "--resume", str(run)]
                print("equiprop", *command, flush=True)
                subprocess.run([EQUIPROP, *command, "--quiet"], check=True)


def results(out: Path, name: str) -> list[dict[str, Any]]:
    paths = [out / f"{name}-{seed}" / "summary.json" for seed in SEEDS]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else f"{values[0]:.2f}"


def table(out: Path) -> None:
    print(
        "| variant | test error, % | validation, % | gap to the exact gradient | weight angles, ° | seconds | seeds |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, variant in VARIANTS.items():
        found = results(out, name)
        if not found:
            continue
        test = [f["test_error_percent"] for f in found]
        partner = [f["test_error_percent"] for f in results(out, variant.exact)] if variant.exact else []
        gap = f"{statistics.mean(test) - statistics.mean(partner):+.2f}" if partner else ""
        angles = [a for f in found for a in f["weight_angle_deg"].values() if a is not None]
        row = [
            variant.label,
            spread(test),
            spread([f["validation_error_percent"] for f in found]),
            gap,
            f"{min(angles):.1f} to {max(angles):.1f}" if angles else "",
            f"{statistics.median(f['seconds'] for f in found):.0f}",
            str(len(found)),
        ]
        print("| " + " | ".join(row) + " |")


def figure(out: Path, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    tests = {name: [f["test_error_percent"] for f in results(out, name)] for name in (*WATERFALL, CEILING)}
    means = {name: statistics.mean(values) for name, values in tests.items()}
    plt.rcParams["svg.hashsalt"] = "equiprop"
    canvas, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    before = 0.0
    for place, name in enumerate(WATERFALL):
        first = place == 0
        low, high = (0, means[name]) if first else sorted((before, means[name]))
        colour = "#59626e" if first else "#2b8a57" if means[name] < before else "#c2410c"
        axes.bar(place, high - low, bottom=low, color=colour, width=0.6)
        text = f"{means[name]:.2f}" if first else f"{means[name] - before:+.2f}\n{means[name]:.2f}"
        above = max(high, *tests[name])
        axes.annotate(text, (place, above), (0, 6), textcoords="offset points", ha="center", fontsize=9)
        axes.scatter([place] * len(tests[name]), tests[name], color="black", s=8, zorder=3)
        before = means[name]
    axes.axhline(means[CEILING], color="#0b62a8", linestyle="--", linewidth=1, zorder=0)
    axes.annotate(
        f"{VARIANTS[CEILING].label}: {means[CEILING]:.2f}", (0.4, means[CEILING]), (0, 4), textcoords="offset points",
        fontsize=9, color="#0b62a8",
    )  # fmt: skip
    lowest = min(min(values) for values in tests.values())
    axes.set_ylim(math.floor(lowest - 1), math.ceil(max(max(values) for values in tests.values()) + 0.6))
    labels = [("+ " if i else "") + VARIANTS[n].label for i, n in enumerate(WATERFALL)]
    axes.set_xticks(range(len(WATERFALL)), [textwrap.fill(label, 15) for label in labels])
    axes.set_ylabel("test error on Fashion-MNIST, %")
    axes.spines[["top", "right"]].set_visible(False)
    canvas.savefig(path, metadata={"Date": None})


@dataclass(frozen=True)
class Equilibria:
    """The first training samples of a run at the free equilibrium of its system."""

    system: Any
    solver: Any
    x: Any
    labels: Any
    free: Any

    def estimate(self, estimator: Any) -> Any:
        return ep.estimate(self.system, self.x, self.labels, estimator, solver=self.solver, equilibrium=self.free)


def equilibria(run: Path, samples: int) -> Equilibria:
    trained = ep.load(run)
    x, labels = trained.batch("train", np.arange(samples))
    return Equilibria(trained.system, trained.solver, x, labels, ep.relax(trained.system, x, trained.solver))


def rows(tree: Any) -> Any:
    """Of a batch of error vectors, one vector a sample."""
    import jax

    return np.concatenate([np.asarray(a, float).reshape(len(a), -1) for a in jax.tree.leaves(tree)], axis=1)


def bias(run: Path, samples: int = 20_000, batch: int = 1000) -> None:
    """A mean over samples hides what does not average out: here gradients are summed before they are compared."""
    import jax
    import jax.numpy as jnp

    trained = ep.load(run)
    images, solver, system = trained.samples("train"), trained.solver, trained.system
    estimators = {
        "exact": ep.Adjoint(clip=math.inf),
        "exact, clipped": ep.Adjoint(clip=2.0),
        "exact response": ep.ExactResponse(clip=2.0),
        **{
            f"nudge {nudge}": ep.Centered(nudge=nudge, clip=2.0, branch_switch="keep")
            for nudge in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
        },
    }

    @jax.jit
    def gradients(indices: Any) -> Any:
        x, labels = images.batch(indices)
        free = ep.relax(system, x, solver)
        answers = {
            name: ep.estimate(system, x, labels, estimator, solver=solver, equilibrium=free)
            for name, estimator in estimators.items()
        }
        exact = answers["exact"].error_vector

        def cosine(mine: Any) -> Any:
            dot, ours, theirs = (
                sum(jnp.sum(p * q, axis=1) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
                for a, b in ((mine, exact), (mine, mine), (exact, exact))
            )
            return jnp.nanmedian(dot / jnp.sqrt(ours * theirs))

        return (
            {name: answer.gradient.weights for name, answer in answers.items()},
            {name: cosine(answer.error_vector) for name, answer in answers.items()},
        )

    total, middle = None, []
    for start in range(0, samples, batch):
        found, cosines = gradients(jnp.arange(start, start + batch))
        total = found if total is None else jax.tree.map(jnp.add, total, found)
        middle.append(cosines)
    assert total is not None
    forward = [c.name for c in system.topology.connections]
    print(
        f"cosine of the summed gradient (ratio of its norm), {samples} images; last the median cosine of a sample's errors"
    )
    print("| estimator | " + " | ".join(forward) + " | median |")
    print("|---" * (len(forward) + 2) + "|")
    for name in estimators:
        cells = []
        for connection in forward:
            mine, exact = (np.asarray(total[k][connection], float).ravel() for k in (name, "exact"))
            lengths = np.linalg.norm(mine), np.linalg.norm(exact)
            cells.append(f"{mine @ exact / lengths[0] / lengths[1]:.3f} ({lengths[0] / lengths[1]:.2f})")
        cells.append(f"{np.mean([m[name] for m in middle]):.3f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def tail(run: Path, samples: int = 2000) -> None:
    """Deciles by ‖∇C‖: what fraction of Σ‖δ‖² each holds, and how the nudged error vectors agree with the exact ones there."""
    at = equilibria(run, samples)
    exact = rows(at.estimate(ep.Adjoint(clip=math.inf)).error_vector)
    nudged = [
        rows(at.estimate(ep.Centered(nudge=nudge, clip=math.inf, branch_switch="keep")).error_vector)
        for nudge in (0.05, 0.5)
    ]
    pull = np.linalg.norm(rows(ep.cost_gradient(at.system, at.system.activity(at.free.state), at.labels)), axis=1)
    length = np.linalg.norm(exact, axis=1)
    print(f"sweeps of the free phase: mean {np.mean(at.free.steps):.1f}, largest {np.max(at.free.steps)}")
    print(
        "| decile of ‖∇C‖ | mean ‖∇C‖ | median gain ‖δ‖/‖∇C‖ | fraction of Σ‖δ‖² | cosine, nudge 0.05 | cosine, nudge 0.5 |"
    )
    print("|---|---|---|---|---|---|")
    for number, some in enumerate(np.array_split(np.argsort(pull), 10), 1):
        cosines = [
            np.sum(mine[some] * exact[some]) / np.linalg.norm(mine[some]) / np.linalg.norm(exact[some])
            for mine in nudged
        ]
        print(
            f"| {number} | {pull[some].mean():.4f} | {np.median(length[some] / pull[some]):.2f} | "
            f"{np.sum(length[some] ** 2) / np.sum(length**2):.3f} | {cosines[0]:.3f} | {cosines[1]:.3f} |"
        )


def switches(run: Path, samples: int = 5000) -> None:
    """Samples that switch branch, and those whose output the cost itself makes unstable.

    Under the nudge −β the output feels +β∇C: where β times the largest eigenvalue of D^½(∂²C/∂r²)D^½ exceeds 1, that force
    grows faster with the output than the leak does, and the equilibrium from which it started is gone.
    """
    import jax
    import jax.numpy as jnp

    at = equilibria(run, samples)
    system = at.system
    output = system.output(system.activity(at.free.state))
    hessian = jax.vmap(jax.hessian(lambda r, y: system.cost(r[None], y[None])[0]))(output, at.labels)
    root = jnp.sqrt(system.output(slope(system, at.free.state)))
    curvature = np.asarray(jnp.linalg.eigvalsh(root[:, :, None] * hessian * root[:, None, :])[:, -1])
    energy = np.sum(rows(at.estimate(ep.Adjoint(clip=math.inf)).error_vector) ** 2, axis=1)

    def percent(fraction: Any) -> str:
        return f"{100 * fraction:.1f}"

    print("| nudge β | switched branch, % | their part of Σ‖δ‖², % | βλ > 1, % | of those switched branch, % |")
    print("|---|---|---|---|---|")
    for nudge in (0.02, 0.05, 0.1, 0.2, 0.5):
        switched = np.asarray(at.estimate(ep.Centered(nudge=nudge)).branch_switch)
        steep = nudge * curvature > 1
        among = percent(switched[steep].mean()) if steep.any() else ""
        cells = [percent(v) for v in (switched.mean(), energy[switched].sum() / energy.sum(), steep.mean())]
        print(f"| {nudge} | {' | '.join(cells)} | {among} |")


COMMANDS: dict[str, Callable[..., None]] = {
    "train": lambda out, *names: train(Path(out), list(names)),
    "table": lambda out: table(Path(out)),
    "figure": lambda out, path: figure(Path(out), Path(path)),
    "bias": lambda run, *samples: bias(Path(run), *map(int, samples)),
    "tail": lambda run, *samples: tail(Path(run), *map(int, samples)),
    "switches": lambda run, *samples: switches(Path(run), *map(int, samples)),
}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    COMMANDS[sys.argv[1]](*sys.argv[2:])
