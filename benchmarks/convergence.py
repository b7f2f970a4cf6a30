"""How many sweeps samples need, solver by solver, on the network of a run and at its nudge.

python benchmarks/converging.py RUN
"""

import sys

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from equiprop.estimators import Centered, estimate
from equiprop.solvers import Anderson, GaussSeidel, relax
from equiprop.training.restore import restore

SOLVERS = {
    "alternating, damping = 0": GaussSeidel(damping=0.0, max_steps=300),
    "gauss_seidel": GaussSeidel(max_steps=300),
    "anderson, depth 3": Anderson(max_steps=300),
    "anderson, depth 5": Anderson(depth=5, max_steps=300),
}


def summary(sweeps: np.ndarray) -> str:
    return "; ".join(f"{value:.1f}" for value in (sweeps.mean(), *np.percentile(sweeps, [90, 99, 100])))


def main(run: str) -> None:
    restored = restore(run)
    system = restored.system
    x, labels = restored.trainer.images.batch(jnp.arange(1000))
    nudge = restored.trainer.config.estimator.nudge
    estimator = Centered(nudge=0.5 if nudge == "auto" else nudge, clip=2.0)
    print("mean; 90th; 99th percentile; largest")
    for name, solver in SOLVERS.items():
        free = eqx.filter_jit(relax)(system, x, solver)
        answer = eqx.filter_jit(estimate)(system, x, labels, estimator, solver=solver, equilibrium=free)
        nudged = np.asarray(answer.relaxation_steps - free.steps) / 2
        left = int(jnp.sum(~free.converged)), int(jnp.sum(free.converged & answer.unconverged))
        print(f"{name:26s} free {summary(np.asarray(free.steps)):24s} nudged {summary(nudged):24s} unconverged {left}")


if __name__ == "__main__":
    main(sys.argv[1])
