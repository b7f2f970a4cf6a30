"""What a convolutional network costs a step when its convolutions are matrix products, and when they are XLA's.

    python benchmarks/convolution.py [PRESET ...]

Free phase and gradient of one batch, called once and as a step of a loop that changes the weights, in turn, medians; the ratio is
that of the library's time to that of the products.
"""

import sys

import jax
import jax.numpy as jnp

import equiprop as ep
from equiprop.benchmarking import Case, measure
from equiprop.numerics import convolution

SOLVER = ep.GaussSeidel(tolerance=1e-30, max_steps=12, nudged_max_steps=12)
ESTIMATOR = ep.Centered(nudge=0.5, unconverged="keep")
BATCH = {"small": 50, "published": 10}


def programs(preset, batch):
    system = ep.cnn((32, 32, 3), 10, key=jax.random.key(0), preset=preset, dtype=jnp.float32)
    x = jax.random.normal(jax.random.key(1), (batch, 32, 32, 3), jnp.float32)
    labels = jnp.arange(len(x)) % 10

    def step(s):
        return ep.estimate(s, x, labels, ESTIMATOR, solver=SOLVER).gradient

    def loop(s, steps):
        return jax.lax.fori_loop(0, steps, lambda _, s: jax.tree.map(lambda a, g: a - 1e-3 * g, s, step(s)), s)

    yield "free phase", lambda s: ep.relax(s, x, SOLVER).residual, (system,)
    yield "gradient", step, (system,)
    yield "gradient in a loop", loop, (system, 1)


def convolving(program, form):
    """`program`, traced with all convolutions in one form."""

    def traced(*given):
        convolution.by_products, kept = form, convolution.by_products
        try:
            return program(*given)
        finally:
            convolution.by_products = kept

    return traced


def main(presets):
    print("| network, batch | program | products, ms | XLA's convolutions, ms | ratio |")
    print("|---|---|---|---|---|")
    for preset in presets:
        batch = BATCH.get(preset, 20)
        for name, program, given in programs(preset, batch):
            cases = [
                Case(form.__name__, convolving(program, form), given)
                for form in (convolution.by_products, convolution.by_library)
            ]
            # What was traced in one form must not serve the other.
            timings = measure(cases, rounds=5, on_case=lambda _: jax.clear_caches())
            ours, theirs = (timing.milliseconds for timing in timings)
            print(f"| {preset}, {batch} | {name} | {ours:.0f} | {theirs:.0f} | {theirs / ours:.1f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ("small", "published"))
