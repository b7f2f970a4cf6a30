"""A system as an Equinox module of one's own, a continuous Hopfield network, trained on a regression."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import equiprop as ep

UNITS, OUTPUTS = 40, 1


class Hopfield(ep.System):
    """u̇ = −u + W·tanh(u) + B·x + b with any W, read at its last unit."""

    weight: jax.Array
    inward: jax.Array
    bias: jax.Array
    cost: ep.AbstractCost = ep.SquaredError()

    def initial_state(self, x):
        return jnp.zeros((x.shape[0], UNITS), x.dtype)

    def injection(self, x):
        return x @ self.inward + self.bias

    def force(self, state, injection, only=None):
        del only  # which blocks a solver asks for; here all units are one
        return self.activity(state) @ self.weight + injection - state

    def activity(self, state):
        return jnp.tanh(state)

    def output(self, activity):
        return activity[:, -OUTPUTS:]


a, b, c = jax.random.split(jax.random.key(0), 3)
system = Hopfield(
    weight=0.3 / UNITS**0.5 * jax.random.normal(a, (UNITS, UNITS)),
    inward=jax.random.normal(b, (2, UNITS)),
    bias=jax.random.normal(c, (UNITS,)),
)

x = np.random.default_rng(0).uniform(-1, 1, (600, 2))
y = 0.8 * np.sin(2 * x[:, :1]) * x[:, 1:]
result = ep.fit(
    system,
    (x[:500], y[:500]),
    validation=(x[500:], y[500:]),
    estimator=ep.Centered(nudge=0.05),
    homeostasis=ep.JacobianHomeostasis(0.1),
    optimizer=optax.adam(1e-2),
    metrics=["mse"],
    epochs=40,
    diagnostic_samples=50,  # compares the gradient with the exact one
)
last = result.history[-1]
print(f"mean squared error {last['validation_mse']:.5f}, of the targets' variance {y.var():.3f}")
print(
    f"cosine of the gradient to the exact one {last['cosine_to_adjoint']['total']:.3f}, symmetry {last['symmetry']:.2f}"
)
