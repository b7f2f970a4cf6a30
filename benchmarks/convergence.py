"""How many sweeps samples need, solver by solver, on the network of a run and at its nudge.

python benchmarks/convergence.py RUN [SAMPLES]
"""

import sys

import jax.numpy as jnp
import numpy as np

import equiprop as ep

SOLVERS = {
    "gauss_seidel, damping = 0": ep.GaussSeidel(damping=0.0, max_steps=300),
    "gauss_seidel": ep.GaussSeidel(max_steps=300),
    "anderson, depth 3": ep.Anderson(max_steps=300),
    "anderson, depth 5": ep.Anderson(depth=5, max_steps=300),
}


def summary(sweeps: np.ndarray) -> str:
    return "; ".join(f"{value:.1f}" for value in (sweeps.mean(), *np.percentile(sweeps, [90, 99, 100])))


def main(run: str, samples: int = 1000) -> None:
    trained = ep.load(run)
    system = trained.system
    x, labels = trained.batch("train", np.arange(samples))
    nudge = trained.config.estimator.values.get("nudge", "auto")
    estimator = ep.Centered(nudge=nudge if isinstance(nudge, float) else 0.5, clip=2.0)
    print("mean; 90th; 99th percentile; largest")
    for name, solver in SOLVERS.items():
        free = ep.relax(system, x, solver)
        answer = ep.estimate(system, x, labels, estimator, solver=solver, equilibrium=free)
        nudged = np.asarray(answer.relaxation_steps - free.steps) / 2
        left = int(jnp.sum(~free.converged)), int(jnp.sum(free.converged & answer.unconverged))
        print(f"{name:26s} free {summary(np.asarray(free.steps)):24s} nudged {summary(nudged):24s} unconverged {left}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
