"""How the time of a training step grows with N, batch, width, depth and epochs. Prints a table, writes a figure.

python benchmarks/scaling.py [docs/images/scaling.svg]

The sweeps of a phase are fixed in number, so that the price of the arithmetic is measured and not how long a network takes
to converge. All steps of one axis are timed in turn, round after round.
"""

import dataclasses
import resource
import sys
import time

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import equiprop as ep
from equiprop.benchmarking import Case, measure
from networks import steps, trainer

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullLocator

STEPS = 5
FIXED = {"kind": "fixed_iterations", "max_steps": 20, "nudged_max_steps": 10, "damping": 0.0}
AXES = {
    "points N": [({"kind": "holomorphic", "points": n, "homeostasis": False}, n) for n in (4, 8, 16, 32)],
    "batch": [({"batch": n}, n) for n in (50, 100, 200, 400)],
    "width": [({"hidden": (n, n)}, n) for n in (256, 512, 1024, 2048)],
    "depth": [({"hidden": (512,) * n}, n) for n in (2, 4, 8, 16)],
}


def step(chosen: ep.experiment.Trainer, name: str) -> Case:
    state = chosen.initial_train_state()
    given = chosen.job(chosen.samples, state), state, jnp.asarray(STEPS)
    return Case(name, steps, given, STEPS)


def connections(system: ep.LayeredNetwork) -> int:
    """Those that every sweep goes through. The input's are used once a relaxation."""
    return sum(weight.size for name, weight in system.weights.items() if not name.startswith("input->"))


def slope(x: list[float], y: list[float]) -> float:
    """Of the logarithms, between the two largest: what is constant weighs least there."""
    return float(np.log(y[-1] / y[-2]) / np.log(x[-1] / x[-2]))


def main(figure: str | None) -> None:
    found = {}
    for axis, settings in AXES.items():
        trainers = [trainer(**options, solver=FIXED) for options, _ in settings]
        timings = measure([step(t, str(n)) for t, (_, n) in zip(trainers, settings, strict=True)], rounds=5)
        cost = [timing.milliseconds for timing in timings]
        if axis == "points N":
            # Conjugate phases are not relaxed: N points are N/2 + 1 phases.
            size = [n // 2 + 1 for _, n in settings]
        elif axis == "batch":
            size = [n for _, n in settings]
        else:
            size = [connections(t.system) for t in trainers]
        found[axis] = size, cost
        print(f"\n{axis}: slope {slope(size, cost):.2f} from {size[-2]} to {size[-1]}")
        for (_, n), amount, timing in zip(settings, size, timings, strict=True):
            print(
                f"  {n:6d}  {amount:9d}  {timing.milliseconds:9.2f} ms ({timing.fastest:.2f} to {timing.slowest:.2f})  "
                f"{(timing.bytes or 0) / 2**20:7.1f} MiB"
            )
    epochs()
    if figure is not None:
        draw(found, figure)


def epochs(count: int = 40) -> None:
    """Time of an epoch and memory of the process, early and late."""
    chosen = trainer()
    state = chosen.initial_train_state()
    seconds, memory = [], []
    for _ in range(count):
        began = time.perf_counter()
        state = jax.block_until_ready(chosen.advance(state, chosen.samples, chosen.steps_per_epoch))
        state = dataclasses.replace(state, step=jnp.zeros_like(state.step), epoch=state.epoch + 1)
        seconds.append(time.perf_counter() - began)
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    half = count // 2
    early, late = (1e3 * np.median(part) for part in (seconds[1:half], seconds[half:]))
    print(f"\nan epoch: {early:.1f} ms in the first half of {count}, {late:.1f} ms in the second")
    print(f"largest memory: {memory[1]:.0f} MiB after epoch 2, {memory[-1]:.0f} MiB after the last")


def draw(found: dict[str, tuple[list[float], list[float]]], path: str) -> None:
    names = {
        "points N": "phases relaxed",
        "batch": "samples in a batch",
        "width": "recurrent connections (width)",
        "depth": "recurrent connections (depth)",
    }
    plt.rcParams["svg.hashsalt"] = "equiprop"
    canvas, axes = plt.subplots(1, 4, figsize=(12, 3), layout="constrained")
    for place, (axis, (size, cost)) in zip(axes, found.items(), strict=True):
        place.loglog(size, cost, "o-", color="#0b62a8", label="measured")
        place.loglog(
            size, [cost[-1] * s / size[-1] for s in size], "--", color="#59626e", label="in proportion", linewidth=1
        )
        # Only what was measured is marked: between the powers of ten there is no room for the labels of all the others.
        place.xaxis.set_major_locator(FixedLocator(size))
        place.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        for line in (place.xaxis, place.yaxis):
            line.set_major_formatter(EngFormatter(sep=""))
            line.set_minor_locator(NullLocator())
        place.set_xlabel(names[axis])
        place.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("ms a step")
    axes[0].legend(frameon=False)
    canvas.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
