"""What one sweep is made of, in microseconds: 784–256–256–10, batches of 50.

python benchmarks/sweeps.py            # and: taskset -c 0 python benchmarks/sweeps.py
"""

import jax
import jax.numpy as jnp

import equiprop as ep
from equiprop.benchmarking import Case, measure
from equiprop.numerics import trees
from equiprop.systems import Free, Nudged

SWEEPS = 200
BATCH = 50
SOLVER = ep.GaussSeidel(damping=0.0)


def repeated(body):
    return lambda start, *rest: jax.lax.fori_loop(0, SWEEPS, lambda _, u: body(u, *rest), start)


def sweep(state, field):
    return SOLVER.sweep(field, state)[0]


def product(r, weight):
    return jnp.tanh(r @ weight)


def cases():
    system = ep.mlp(784, (256, 256), 10, key=jax.random.key(0), feedback_gain=1.0)
    x, y = jax.random.normal(jax.random.key(1), (BATCH, 784)), jnp.zeros(BATCH, jnp.int32)
    free, state = Free(system, system.injection(x)), system.initial_state(x)
    weight = system.weights["hidden_1->hidden_2"]
    for rows in (BATCH, 2 * BATCH):
        yield Case(f"product, {rows} rows", repeated(product), (jnp.ones((rows, 256)), weight), SWEEPS)
    for rows in (3, 6, 12, 25, BATCH):
        some = jnp.arange(rows)
        yield Case(
            f"sweep, {rows} rows",
            repeated(sweep),
            (trees.index_batch(state, some), free.index_batch(some)),
            SWEEPS,
        )
    both = Free(system, trees.broadcast_batch(free.injection, 2))
    nudged = Nudged(both, system, trees.broadcast_batch(y, 2), jnp.repeat(jnp.asarray([0.5, -0.5]), BATCH))
    yield Case(f"nudged sweep, {2 * BATCH} rows", repeated(sweep), (trees.broadcast_batch(state, 2), nudged), SWEEPS)


def main() -> None:
    for timing in measure(cases(), rounds=7):
        print(f"{timing.name:26s} {1000 * timing.milliseconds:8.1f} µs")


if __name__ == "__main__":
    main()
