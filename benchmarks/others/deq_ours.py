"""A deep equilibrium and its gradient by equiprop."""

import equinox as eqx
import jax
import jax.numpy as jnp
from worker import Step, load, serve

import equiprop as ep

DATA = load("data.npz")


def force(p, z, x):
    return jnp.tanh(z @ p["W"].T + x @ p["U"].T + p["b"]) - z


def case(estimator: ep.AbstractEstimator, tolerance: float) -> Step:
    parameters = {name: jnp.asarray(DATA[name]) for name in "WUb"}
    system = ep.from_force(force, parameters, initial_state=jnp.zeros(256), cost=ep.SquaredError())
    solver = ep.GaussSeidel(tolerance=tolerance)

    def cost(system, x, y):
        z = ep.Layer(system, estimator, solver)(x)
        return 0.5 * ((z - y) ** 2).sum(1).mean(), z

    gradient_of = eqx.filter_jit(eqx.filter_grad(cost, has_aux=True))

    def step(batch):
        gradient, z = jax.block_until_ready(gradient_of(system, DATA["x"][batch], DATA["y"][batch]))
        return z, [gradient.params[name] for name in "WUb"]

    return step


if __name__ == "__main__":
    exact = {f"equiprop, Adjoint, {t}": case(ep.Adjoint(linear_solver=ep.GMRES(tolerance=t)), t) for t in (1e-4, 1e-5)}
    serve(exact | {"equiprop, RecurrentBackprop, 1e-05": case(ep.RecurrentBackprop(), 1e-5)})
