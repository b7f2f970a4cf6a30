"""What a convolutional network costs a step when its convolutions are matrix products, and when they are XLA's.

    python benchmarks/convolution.py [PRESET ...]

Free phase and gradient of one batch, called once and as a step of a loop that changes the weights, in turn, medians; the ratio is
that of the library's time to that of the products.
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp

from equiprop.estimators import Centered, estimate
from equiprop.numerics import convolution
from equiprop.solvers import GaussSeidel, relax
from equiprop.systems import cnn

SOLVER = GaussSeidel(tolerance=1e-30, max_steps=12, nudged_max_steps=12)
BATCH = {"small": 50, "published": 10}


def programs(preset):
    system = cnn((32, 32, 3), 10, key=jax.random.key(0), preset=preset, dtype=jnp.float32)
    x = jax.random.normal(jax.random.key(1), (BATCH.get(preset, 20), 32, 32, 3), jnp.float32)
    labels = jnp.arange(len(x)) % 10

    def step(s):
        return estimate(s, x, labels, Centered(nudge=0.5, unconverged="keep"), solver=SOLVER).gradient

    def loop(s, steps):
        return jax.lax.fori_loop(0, steps, lambda _, s: jax.tree.map(lambda a, g: a - 1e-3 * g, s, step(s)), s)

    yield "free phase", lambda s: relax(s, x, SOLVER).residual, (system,)
    yield "gradient", step, (system,)
    yield "gradient in a loop", loop, (system, 1)


def main():
    print("| network, batch | program | products, ms | XLA's convolutions, ms | ratio |")
    print("|---|---|---|---|---|")
    for preset in sys.argv[1:] or ("small", "published"):
        for name, program, given in programs(preset):
            compiled = {}
            for form in (convolution.by_products, convolution.by_library):
                jax.clear_caches()
                convolution.by_products, kept = form, convolution.by_products
                compiled[form] = jax.jit(program).lower(*given).compile()
                convolution.by_products = kept
            seconds = {form: [] for form in compiled}
            for _ in range(5):
                for form, call in compiled.items():
                    began = time.perf_counter()
                    jax.block_until_ready(call(*given))
                    seconds[form].append(time.perf_counter() - began)
            ours, theirs = (1e3 * statistics.median(times) for times in seconds.values())
            batch = BATCH.get(preset, 20)
            print(f"| {preset}, {batch} | {name} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.1f} |", flush=True)


if __name__ == "__main__":
    main()
