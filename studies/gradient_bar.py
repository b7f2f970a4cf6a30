"""Whether the bars hold on trained networks in single precision: against exact gradients and vectors in double precision.

    python studies/gradient_bar.py [--batches 25] [--size 50] RUN [RUN ...]

Of each run so many batches of so many training samples. The true gradients are those of the whole batch, by linear solves at
equilibria to 1e-11 in double precision. Printed for each estimator, against the exact gradient and against what the estimator
tends to: the share of batches whose error lies below the bar, the share whose bar is besides within five times of it, and
medians of both. Then the same of the error vectors of all samples that were kept, and their own bars.
"""

import argparse
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import equiprop as ep  # noqa: E402
from equiprop.training import Samples, on_device  # noqa: E402

ESTIMATORS = {
    "Centered(0.05)": ep.Centered(0.05),
    "Centered(0.5)": ep.Centered(0.5),
    "Holomorphic(0.1)": ep.Holomorphic(0.1),
    "Adjoint()": ep.Adjoint(),
    "ExactResponse()": ep.ExactResponse(),
}
AUDITED = 16
DOUBLE = ep.GaussSeidel(tolerance=1e-11, max_steps=2000)
SOLVE = {"linear_solver": ep.GMRES(tolerance=1e-8, max_restarts=20), "clip": math.inf, "unconverged": "keep"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--batches", type=int, default=25)
    parser.add_argument("--size", type=int, default=50)
    given = parser.parse_args()
    for path in given.runs:
        print(path)
        run = ep.load(path)
        data = ep.data.load(run.config.dataset)
        samples = on_device(data.train, data, jnp.float32)
        for estimator, rows in measured(run.system, run.solver, samples, given.batches, given.size).items():
            print(f"| {estimator:<17}" + "".join(map(_told, rows)) + "|", flush=True)


def measured(
    single: ep.System,
    solver: ep.AbstractSolver,
    samples: Samples,
    batches: int,
    size: int,
    estimators: Mapping[str, ep.AbstractEstimator] = ESTIMATORS,
) -> dict[str, list[np.ndarray]]:
    """By estimator, rows of error and bar: of batches against the exact gradient, against the limit, and of samples."""
    found = {name: ([], [], []) for name in estimators}
    double, draw = _in(jnp.float64, single), np.random.default_rng(0)
    for _ in range(batches):
        x, y = samples.batch(jnp.asarray(draw.choice(len(samples), size, replace=False)))
        free = ep.relax(double, _in(jnp.float64, x), DOUBLE)
        exact, limit = (
            ep.estimate(double, _in(jnp.float64, x), y, which(**SOLVE), solver=DOUBLE, equilibrium=free)
            for which in (ep.Adjoint, ep.ExactResponse)
        )
        for name, estimator in estimators.items():
            answer = ep.estimate(single, x, y, estimator, solver=solver)
            bar, tends_to = answer.audit(AUDITED), exact if estimator.tends_to == "adjoint" else limit
            of_exact, of_limit, of_samples = found[name]
            of_exact.append([_error(answer, exact), float(bar.exact)])
            of_limit.append([_error(answer, tends_to), float(bar.limit)])
            of_samples += _of_samples(answer, tends_to)
    return {name: [np.array(rows) for rows in kinds] for name, kinds in found.items()}


def _of_samples(answer: Any, true: Any) -> list[tuple[float, float]]:
    """The error and the bar of the error vector of each sample that is in the gradient."""
    ours, theirs = (
        np.concatenate([np.asarray(a, float).reshape(len(a), -1) for a in jax.tree.leaves(each.error_vector)], axis=1)
        for each in (answer, true)
    )
    errors = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    kept = np.asarray(answer.weight) > 0
    return list(zip(errors[kept], np.asarray(answer.error_bar)[kept], strict=True))


def _in(dtype: Any, tree: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in jax.tree.leaves(tree)])


def _error(answer: Any, true: Any) -> float:
    ours, theirs = _flat(answer.gradient), _flat(true.gradient)
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def _told(pairs: np.ndarray) -> str:
    errors, bars = pairs.T
    below, near = errors <= bars, bars <= 5 * errors
    return f"| {100 * below.mean():.0f}, {100 * (below & near).mean():.0f} | {np.median(errors):.2g}, {np.median(bars):.2g} "


if __name__ == "__main__":
    main()
