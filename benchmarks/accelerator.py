"""What a card makes of a relaxing convolutional network: sweeps by the way products are rounded, against the card's own ceilings.

    python benchmarks/accelerator.py [PRESET [BATCH]]

Ceilings: a product of two square matrices, and adding one to a large vector (bytes read and written). A sweep: the time between
relaxations of 20 and of 60 sweeps, medians of five; its operations are those that XLA counts in the program of one sweep. Full
float32, float32 whose products round their factors (`training.precision = "tensorfloat32"`), and everything in bfloat16.
"""

import statistics
import sys
import time

import jax
import jax.numpy as jnp

from equiprop.solvers import GaussSeidel, relax
from equiprop.solvers._sweeps import block_by_block
from equiprop.systems import cnn

KINDS = {
    "float32": (jnp.float32, "highest"),
    "tensorfloat32": (jnp.float32, "default"),
    "bfloat16": (jnp.bfloat16, "default"),
}
ON_CPU = jax.default_backend() == "cpu"
SIDE, LENGTH = (512, 2**22) if ON_CPU else (8192, 2**29)


def seconds(call, *given, rounds=5):
    jax.block_until_ready(call(*given))
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(call(*given))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def product_rate(dtype):
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(k, (SIDE, SIDE), dtype) for k in keys)
    return 2 * SIDE**3 / seconds(jax.jit(jnp.matmul), a, b, rounds=10)


def sweep(system, x):
    """Seconds of a sweep of the batch, and its operations."""

    def relaxed(s, x, steps):
        return relax(s, x, GaussSeidel(tolerance=1e-30, max_steps=steps, damping=0.0)).state

    injection, state = system.injection(x), system.initial_state(x)
    program = jax.jit(lambda s, d, u: block_by_block(s, d, u)[0]).lower(system, injection, state)
    operations = (program.cost_analysis() or {})["flops"]
    short, long = (seconds(lambda n=n: relaxed(system, x, n)) for n in (20, 60))
    return (long - short) / 40, operations


def main():
    preset = sys.argv[1] if len(sys.argv) > 1 else "published"
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 4 if ON_CPU else 256
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}; {preset}, {batch} images")
    ones = jnp.ones(LENGTH, jnp.float32)
    print(f"memory: {8 * LENGTH / seconds(jax.jit(lambda a: a + 1), ones) / 1e12:.3g} TB/s")
    print("| products | matrices, TFLOP/s | a sweep, ms | GFLOP an image | TFLOP/s | of the ceiling |")
    print("|---|---|---|---|---|---|")
    for name, (dtype, precision) in KINDS.items():
        with jax.default_matmul_precision(precision):
            ceiling = product_rate(dtype)
            system = cnn(
                (32, 32, 3), 10, key=jax.random.key(0), preset=preset, gain=4.0, feedback_gain=0.25, dtype=dtype
            )
            x = jax.random.normal(jax.random.key(1), (batch, 32, 32, 3), dtype)
            took, operations = sweep(system, x)
        rate = operations / took
        cells = f"{ceiling / 1e12:.3g} | {1e3 * took:.3f} | {operations / batch / 1e9:.3f} | {rate / 1e12:.3g}"
        print(f"| {name} | {cells} | {100 * rate / ceiling:.0f} % |", flush=True)


if __name__ == "__main__":
    main()
