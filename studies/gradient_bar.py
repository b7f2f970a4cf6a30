"""Whether the bar of a gradient holds on trained networks in single precision: against exact gradients in double precision.

    python studies/gradient_bar.py [--batches 25] [--size 50] RUN [RUN ...]

Of each run so many batches of so many training samples. The true gradients are those of the whole batch, by linear solves at
equilibria to 1e-11 in double precision. Printed for each estimator, against the exact gradient and against the limit of
vanishing nudge: the share of batches whose error lies below the bar, the share whose bar is besides within five times of it, and
medians of both.
"""

import argparse
import math
from typing import Any

import equinox as eqx
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import equiprop as ep  # noqa: E402
from equiprop.training import on_device  # noqa: E402

ESTIMATORS = (ep.Centered(0.05), ep.Centered(0.5), ep.Holomorphic(0.1))
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
        for estimator, rows in _measured(ep.load(path), given.batches, given.size).items():
            print(f"  {estimator:<18} {_told(rows[:, :2])}   {_told(rows[:, 2:])}", flush=True)


def _measured(run: Any, batches: int, size: int) -> dict[str, np.ndarray]:
    """By estimator, a row a batch: the error and the bar against the exact gradient, and against the limit."""
    single, data = run.system, ep.data.load(run.config.dataset)
    samples, found = on_device(data.train, data, jnp.float32), {}
    double, draw = _in(jnp.float64, single), np.random.default_rng(0)
    for _ in range(batches):
        x, y = samples.batch(jnp.asarray(draw.choice(len(samples), size, replace=False)))
        free = ep.relax(double, _in(jnp.float64, x), DOUBLE)
        exact, limit = (
            _flat(ep.estimate(double, _in(jnp.float64, x), y, which(**SOLVE), solver=DOUBLE, equilibrium=free).gradient)
            for which in (ep.Adjoint, ep.ExactResponse)
        )
        for estimator in ESTIMATORS:
            answer = ep.estimate(single, x, y, estimator, solver=run.solver)
            bar, gradient = answer.audit(AUDITED), _flat(answer.gradient)
            row = (_error(gradient, exact), float(bar.exact), _error(gradient, limit), float(bar.limit))
            found.setdefault(f"{type(estimator).__name__}({estimator.nudge})", []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def _in(dtype: Any, tree: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree)


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in jax.tree.leaves(tree)])


def _error(gradient: np.ndarray, true: np.ndarray) -> float:
    return float(np.linalg.norm(gradient - true) / np.linalg.norm(true))


def _told(pairs: np.ndarray) -> str:
    errors, bars = pairs.T
    below, near = errors <= bars, bars <= 5 * errors
    medians = f"error {np.median(errors):.2g}, bar {np.median(bars):.2g}"
    return f"below {100 * below.mean():3.0f} %, and within five {100 * (below & near).mean():3.0f} %, {medians}"


if __name__ == "__main__":
    main()
