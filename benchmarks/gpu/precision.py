"""What an accelerator makes of a relaxing convolutional network: sweeps by the precision of products, against its own ceilings.

    python benchmarks/gpu/precision.py [PRESET [BATCH]]

Ceilings: a product of two square matrices, and adding one to a large vector (bytes read and written). A sweep: the time between
relaxations of 20 and of 60 sweeps, medians of five; its operations are those that XLA counts in the program of one sweep. Full
float32, float32 whose products round their factors (`training.precision = "tensorfloat32"`), and everything in bfloat16.
"""

import sys

import jax
import jax.numpy as jnp

import equiprop as ep
from equiprop.benchmarking import Case, measure
from equiprop.systems import Free

KINDS = {
    "float32": (jnp.float32, "highest"),
    "tensorfloat32": (jnp.float32, "default"),
    "bfloat16": (jnp.bfloat16, "default"),
}
ON_CPU = jax.default_backend() == "cpu"
SIDE, LENGTH = (512, 2**22) if ON_CPU else (8192, 2**29)


def seconds(*cases: Case, rounds: int = 5) -> list[float]:
    """Of one call of each, the median of `rounds`."""
    return [timing.milliseconds / 1e3 for timing in measure(cases, rounds=rounds)]


def bandwidth() -> float:
    """Bytes a second."""
    (took,) = seconds(Case("add", lambda a: a + 1, (jnp.ones(LENGTH, jnp.float32),)))
    return 8 * LENGTH / took


def product_rate(dtype) -> float:
    """Operations a second of a product of matrices."""
    keys = jax.random.split(jax.random.key(0))
    factors = tuple(jax.random.normal(k, (SIDE, SIDE), dtype) for k in keys)
    (took,) = seconds(Case("product", jnp.matmul, factors), rounds=10)
    return 2 * SIDE**3 / took


def sweep(system, x) -> tuple[float, float]:
    """Seconds of a sweep of the batch, and its operations."""
    field, state = Free(system, system.injection(x)), system.initial_state(x)
    program = jax.jit(lambda f, u: ep.GaussSeidel(damping=0.0).sweep(f, u)[0]).lower(field, state)
    operations = (program.cost_analysis() or {})["flops"]

    def relaxation(steps: int) -> Case:
        solver = ep.GaussSeidel(tolerance=1e-30, max_steps=steps, damping=0.0)
        return Case(f"{steps} sweeps", lambda s, x: ep.relax(s, x, solver).state, (system, x))

    short, long = seconds(relaxation(20), relaxation(60))
    return (long - short) / 40, operations


def main(preset: str = "published", batch: int = 4 if ON_CPU else 256) -> None:
    print(f"{jax.devices()[0].device_kind}, JAX {jax.__version__}; {preset}, {batch} images")
    print(f"memory: {bandwidth() / 1e12:.3g} TB/s")
    print("| products | matrices, TFLOP/s | a sweep, ms | GFLOP an image | TFLOP/s | of the ceiling |")
    print("|---|---|---|---|---|---|")
    for name, (dtype, precision) in KINDS.items():
        with jax.default_matmul_precision(precision):
            ceiling = product_rate(dtype)
            system = ep.cnn(
                (32, 32, 3), 10, key=jax.random.key(0), preset=preset, gain=4.0, feedback_gain=0.25, dtype=dtype
            )
            x = jax.random.normal(jax.random.key(1), (batch, 32, 32, 3), dtype)
            took, operations = sweep(system, x)
        rate = operations / took
        cells = f"{ceiling / 1e12:.3g} | {1e3 * took:.3f} | {operations / batch / 1e9:.3f} | {rate / 1e12:.3g}"
        print(f"| {name} | {cells} | {100 * rate / ceiling:.0f} % |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
