"""What one sweep is made of, in microseconds: 784–256–256–10, batches of 50.

python benchmarks/sweeps.py            # and: taskset -c 0 python benchmarks/sweeps.py
"""

import jax
import jax.numpy as jnp

from equiprop.benchmarking import Case, measure
from equiprop.solvers import GaussSeidel
from equiprop.systems import mlp, nudged

TIMES = 200
solver = GaussSeidel(damping=0.0)
system = mlp(784, (256, 256), 10, key=jax.random.key(0))
x, y = jax.random.normal(jax.random.key(1), (50, 784)), jnp.zeros(50, jnp.int32)
injection, state = system.injection(x), system.initial_state(x)
twice = lambda tree: jax.tree.map(lambda a: jnp.concatenate([a, a]), tree)  # noqa: E731
nudge = jnp.repeat(jnp.asarray([0.5, -0.5]), 50)


def repeated(body):
    return lambda start, *rest: jax.lax.fori_loop(0, TIMES, lambda _, u: body(u, *rest), start)


u, W = jnp.ones((50, 256)), system.weights["hidden_1->hidden_2"]
cases = [
    Case("product, 50 rows", repeated(lambda u, W: jnp.tanh(u @ W)), (u, W), TIMES),
    Case("product, 100 rows", repeated(lambda u, W: jnp.tanh(u @ W)), (twice(u), W), TIMES),
    *(
        Case(
            f"sweep, {rows} rows",
            repeated(lambda u, s, d: solver.sweep(s, d, u)[0]),
            (jax.tree.map(lambda a, n=rows: a[:n], state), system, jax.tree.map(lambda a, n=rows: a[:n], injection)),
            TIMES,
        )
        for rows in (3, 6, 12, 25, 50)
    ),
    Case(
        "nudged sweep, 100 rows",
        repeated(lambda u, s, d, t, b: solver.sweep(nudged(s, t, b), d, u)[0]),
        (twice(state), system, twice(injection), twice(y), nudge),
        TIMES,
    ),
]
for timing in measure(cases, rounds=7):
    print(f"{timing.name:26s} {1000 * timing.milliseconds:8.1f} µs")
