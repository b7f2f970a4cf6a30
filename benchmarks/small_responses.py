"""Whether single precision reads small responses: deep convolutional networks beside themselves in double precision.

    python benchmarks/small_responses.py [PRESET...]

With weak feedback the response of the first of 20 layers is some 1e-14 of that of the output. Prints for each estimator the worst
cosine over layers between the error vectors in single and in double precision, and the median error bars in both.
"""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import equiprop as ep

jax.config.update("jax_enable_x64", True)


def main(*presets: str) -> None:
    x, y = jax.random.normal(jax.random.key(1), (4, 32, 32, 3)), jnp.arange(4)
    for preset in presets:
        double = ep.cnn((32, 32, 3), 10, preset=preset, key=jax.random.key(0))
        single = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, double)
        smallest = min(population.mobility for population in double.topology.relaxing)
        for estimator in (ep.Centered(0.05), ep.Holomorphic(0.1, points=4)):
            exact = ep.estimate(double, x, y, estimator)
            found = ep.estimate(single, x.astype(jnp.float32), y, estimator)
            worst = min(_cosine(found.error_vector[name], exact.error_vector[name]) for name in exact.error_vector)
            bars = ", ".join(f"{float(np.median(e.error_bar)):.2g}" for e in (found, exact))
            print(f"{preset}, mobilities from {smallest:.1e}, {estimator}: worst cosine {worst:.6f}, bars {bars}")
            print(f"excluded: {int(found.counts['excluded'])}, {int(exact.counts['excluded'])}", flush=True)


def _cosine(a: jax.Array, b: jax.Array) -> float:
    one, other = (np.asarray(v, float).ravel() for v in (a, b))
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["deep_10", "deep_15", "deep_20"]))
