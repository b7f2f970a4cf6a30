"""How many sweeps deep convolutional chains need, solver by solver, as they start.

    python benchmarks/deep_chains.py [PRESET...]

Four random images of 32 by 32 in single precision; two nudges of 0.1. Prints mean and largest number of sweeps of a phase.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import equiprop as ep

SOLVERS = {
    "gauss_seidel, damping = 0": ep.GaussSeidel(damping=0.0),
    "gauss_seidel": ep.GaussSeidel(),
    "anderson, depth 5": ep.Anderson(depth=5),
    "anderson, depth 5, relaxation 1.4": ep.Anderson(depth=5, relaxation=1.4),
}


def main(*presets: str) -> None:
    x, y = jax.random.normal(jax.random.key(1), (4, 32, 32, 3)), jnp.arange(4)
    for preset in presets:
        for weights in ({"feedback": "untied", "weight_angle": 90.0}, {"feedback": "tied"}):
            system = ep.cnn((32, 32, 3), 100, preset=preset, key=jax.random.key(0), **weights)
            print(f"{preset}, {weights['feedback']}")
            for name, solver in SOLVERS.items():
                free = ep.relax(system, x, solver)
                answer = ep.estimate(system, x, y, ep.Centered(0.1), solver=solver, equilibrium=free)
                nudged = np.asarray(answer.relaxation_steps - free.steps) / 2
                told = (
                    f"{what} {np.mean(n):.1f}, {np.max(n):.0f}"
                    for what, n in (("free", free.steps), ("nudged", nudged))
                )
                left = int(jnp.sum(answer.unconverged))
                print(f"  {name:34s} {'; '.join(told)}; unconverged {left}", flush=True)


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["deep_10", "deep_15", "deep_20"]))
