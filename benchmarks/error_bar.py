"""How well each error bar is calibrated: 300 random systems, every bar.

    python benchmarks/error_bar.py

For the converged samples: the fraction whose error is below the bar, the fraction whose bar is within a factor of ten of the
error, the median of bar/error, and the median error.
"""

import sys
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np  # noqa: E402

import equiprop as ep  # noqa: E402
from random_systems import SOLVER, exact, random_systems  # noqa: E402

BARS = {
    "one-sided, residual": lambda b: ep.OneSided(nudge=b),
    "one-sided, companion": lambda b: ep.OneSided(nudge=b, error_bar="companion"),
    "centred, residual": lambda b: ep.Centered(nudge=b),
    "centred, companion": lambda b: ep.Centered(nudge=b, error_bar="companion"),
    **{f"holomorphic N = {n}, aliasing": lambda b, n=n: ep.Holomorphic(nudge=b, points=n) for n in (3, 4, 6, 8)},
    "holomorphic N = 4, residual": lambda b: ep.Holomorphic(nudge=b, points=4, error_bar="residual"),
    "holomorphic N = 4, companion": lambda b: ep.Holomorphic(nudge=b, points=4, error_bar="companion"),
    "corrected N = 4, aliasing": lambda b: ep.Corrected(nudge=b, points=4),
}
SOLVES = {"exact response": ep.ExactResponse(), "adjoint": ep.Adjoint(), "recurrent backprop": ep.RecurrentBackprop()}


def line(name: str, estimator: ep.AbstractEstimator) -> str:
    system, x, y = random_systems()
    answer = ep.estimate(system, x, y, estimator, solver=SOLVER)
    transpose = estimator.tends_to == "adjoint"
    reference = exact(system, x, y, answer.equilibrium.state, transpose=transpose)
    error = np.linalg.norm(np.asarray(answer.error_vector) - reference, axis=1) / np.linalg.norm(reference, axis=1)
    converged = ~np.asarray(answer.unconverged)
    ratio = (np.asarray(answer.error_bar) / error)[converged]
    covered, near = np.mean(ratio >= 1), np.mean((ratio >= 0.1) & (ratio <= 10))
    return (
        f"| {name} | {converged.sum()} | {100 * covered:.1f} | {100 * near:.1f} | {np.median(ratio):.1f} "
        f"| {np.median(error[converged]):.1e} |"
    )


def main() -> None:
    print(
        "| bar | converged of 300 | error below the bar, % | within a factor 10, % | median bar/error | median error |"
    )
    print("|---|---|---|---|---|---|")
    for nudge in (0.1, 0.3):
        for name, make in BARS.items():
            print(line(f"{name}, β = {nudge}", make(nudge)), flush=True)
    for name, estimator in SOLVES.items():
        print(line(name, estimator), flush=True)


if __name__ == "__main__":
    main()
