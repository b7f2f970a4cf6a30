"""Measured error of every estimator against what it costs, on the network of a run.

    python benchmarks/error_against_cost.py RUN [--samples 100] [--out docs/images/error_against_cost.svg]

Cost is sweeps (or Jacobian products) per sample beyond the free phase; error is the median over samples of the relative distance
to what the estimator tends to, in double precision. Two panels: estimators that follow δE, with the distance of δE from δ as a
dashed line, and those that follow δ itself. Prints the same numbers.
"""

import argparse
import math

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
from jaxtyping import Array  # noqa: E402

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter  # noqa: E402

import equiprop as ep  # noqa: E402
from equiprop.numerics import trees  # noqa: E402

NUDGES = (0.02, 0.05, 0.1, 0.2, 0.5)
TIGHT = ep.GaussSeidel(tolerance=1e-10, max_steps=3000, nudged_max_steps=3000)

RESPONSE = {
    "one-sided": [ep.OneSided(nudge=b) for b in NUDGES],
    "centred": [ep.Centered(nudge=b) for b in NUDGES],
    "holomorphic, N = 4": [ep.Holomorphic(nudge=b, points=4) for b in NUDGES],
    "holomorphic, N = 8": [ep.Holomorphic(nudge=b, points=8) for b in NUDGES],
    "continuous-time": [ep.ContinuousTime(nudge=0.2, points=4, steps_per_point=k, periods=2) for k in (5, 10, 20, 40)],
    "continuous-time, noise 0.001": [
        ep.ContinuousTime(nudge=0.5, points=4, steps_per_point=30, periods=p, noise=0.001) for p in (2, 8, 32)
    ],
}
EXACT = {
    "corrected, N = 2": [ep.Corrected(nudge=b, points=2) for b in NUDGES],
    "corrected, N = 8": [ep.Corrected(nudge=b, points=8) for b in NUDGES],
    "recurrent backprop": [ep.RecurrentBackprop(accuracy=a) for a in (1e-1, 1e-2, 1e-4, 1e-8)],
    "Neumann": [ep.Neumann(terms=k) for k in (2, 5, 10, 20, 40)],
    "unrolled": [ep.Unrolled(steps=k) for k in (2, 5, 10, 20, 40)],
    "dyadic": [ep.Dyadic(nudge=b) for b in (1.0,)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--out", default="docs/images/error_against_cost.svg")
    options = parser.parse_args()
    run = ep.load(options.run)
    system = jax.tree.map(lambda a: a.astype(jnp.float64), run.system)
    x, labels = run.batch("validation", np.arange(options.samples))
    x = x.astype(jnp.float64)
    free = ep.relax(system, x, TIGHT)
    response, exact = (
        ep.estimate(
            system,
            x,
            labels,
            which(linear_solver=ep.GMRES(tolerance=1e-10), clip=math.inf),
            solver=TIGHT,
            equilibrium=free,
        ).error_vector
        for which in (ep.ExactResponse, ep.Adjoint)
    )

    def distance(a: dict[str, Array], b: dict[str, Array]) -> np.ndarray:
        return np.asarray(trees.norm(trees.subtract(a, b)) / trees.norm(b))

    figure, panels = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for panel, family, limit, title in (
        (panels[0], RESPONSE, response, "follow δE = −J⁻¹∇C: no transpose"),
        (panels[1], EXACT, exact, "follow δ = −J⁻ᵀ∇C: the transpose of J"),
    ):
        for name, settings in family.items():
            points = []
            for setting in settings:
                answer = ep.estimate(system, x, labels, setting, solver=TIGHT, equilibrium=free, key=jax.random.key(0))
                error = distance(answer.error_vector, limit)
                own = np.asarray(answer.relaxation_steps) - (np.asarray(free.steps) if setting.needs_free_phase else 0)
                points.append((float(np.median(own)), float(np.median(error)), float(np.median(answer.error_bar))))
                print(
                    f"{name:30s} cost {points[-1][0]:8.1f}  error {points[-1][1]:.2e}  bar {points[-1][2]:.2e}  {setting}"
                )
            cost, error, _ = zip(*sorted(points), strict=True)
            panel.plot(cost, error, marker="o", markersize=4, linewidth=1, label=name)
        if limit is response:
            floor = float(np.median(distance(response, exact)))
            panel.axhline(floor, linestyle="--", color="grey", linewidth=1, label=f"‖δE − δ‖/‖δ‖ = {floor:.3f}")
        panel.set(xscale="log", yscale="log", xlabel="sweeps or products per sample", title=title)
        panel.xaxis.set(
            major_locator=LogLocator(subs=(1, 2, 5)),
            major_formatter=StrMethodFormatter("{x:g}"),
            minor_locator=NullLocator(),
        )
        panel.grid(visible=True, alpha=0.3)
        panel.legend(fontsize=7)
    panels[0].set_ylabel("median relative error, to δE or δ")
    figure.savefig(options.out, metadata={"Date": None})
    print(f"figure {options.out}")


if __name__ == "__main__":
    main()
