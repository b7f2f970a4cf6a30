"""A relaxing block between the encoder and the head of an ordinary model: does the estimator that reads its gradient matter?

python studies/layer_on_digits.py [EPOCHS [SEED ...]]

Encoder 64–64, an asymmetric tanh network of 64 units at equilibrium, head 16–10; Adam, cross-entropy; scikit-learn's digits. The
gradient of all three is that of `eqx.filter_grad`; through the block it is what the estimator reads. Prints the test error of
each estimator and seed, and the means.
"""

import sys
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import equiprop as ep

UNITS, OUTPUTS, BATCH = 64, 16, 50
ESTIMATORS = {
    "Adjoint()": ep.Adjoint(),
    "RecurrentBackprop()": ep.RecurrentBackprop(),
    "Centered(0.05)": ep.Centered(0.05),
    "Holomorphic(0.1)": ep.Holomorphic(0.1),
}


def force(params, u, x):
    return jnp.tanh(u) @ params["recurrent"] + x @ params["input"] - u


class Model(eqx.Module):
    """`block` is the one part that relaxes."""

    encoder: eqx.nn.Linear
    block: ep.Layer
    head: eqx.nn.Linear

    def __init__(self, estimator, key):
        a, b, c, d = jax.random.split(key, 4)
        params = {
            "recurrent": 0.5 * jax.random.normal(a, (UNITS, UNITS)) / UNITS**0.5,
            "input": jax.random.normal(b, (64, UNITS)) / 8,
        }
        system = ep.from_force(
            force, params, initial_state=jnp.zeros(UNITS), activity=jnp.tanh, output=lambda r: r[:, :OUTPUTS]
        )
        self.encoder, self.head = eqx.nn.Linear(64, 64, key=c), eqx.nn.Linear(OUTPUTS, 10, key=d)
        self.block = ep.Layer(system, estimator)

    def __call__(self, x):
        return jax.vmap(self.head)(self.block(jax.nn.relu(jax.vmap(self.encoder)(x))))


def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


def trained(estimator, split, *, epochs, seed, homeostasis=0.0):
    """The model after `epochs`, by Adam."""
    x, y = split
    key = jax.random.key(seed)
    model = Model(estimator, key)
    optimizer = optax.adam(2e-3)
    memory = optimizer.init(eqx.filter(model, eqx.is_inexact_array))

    def regularised(model, x, y, key):
        weighted = homeostasis and homeostasis * ep.penalty(
            ep.JacobianHomeostasis(), model.block.system, jax.nn.relu(jax.vmap(model.encoder)(x)), key=key
        )
        return loss(model, x, y) + weighted

    @eqx.filter_jit
    def step(model, memory, x, y, key):
        gradient = eqx.filter_grad(regularised)(model, x, y, key)
        updates, memory = optimizer.update(gradient, memory)
        return eqx.apply_updates(model, updates), memory

    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(x))
        for first in range(0, len(x) - BATCH + 1, BATCH):
            rows = order[first : first + BATCH]
            key, now = jax.random.split(key)
            model, memory = step(model, memory, x[rows], y[rows], now)
    return model


def arrays(split):
    return jnp.asarray(split.x.reshape(len(split), 64), jnp.float32) / 16, jnp.asarray(split.y)


def main(epochs="20", *seeds):
    data = ep.data.load("digits")
    train, test = arrays(data.train), arrays(data.test)
    print(f"{'estimator':<22}{'seed':>5}{'test error %':>14}{'block unconverged %':>21}{'seconds':>9}")
    for name, estimator in ESTIMATORS.items():
        errors = []
        for seed in map(int, seeds or ("0", "1", "2")):
            begin = time.perf_counter()
            model = trained(estimator, train, epochs=int(epochs), seed=seed)
            errors.append(100 * float(jnp.mean(jnp.argmax(model(test[0]), axis=1) != test[1])))
            free = model.block.relax(jax.nn.relu(jax.vmap(model.encoder)(test[0])))
            lost = 100 * float(jnp.mean(~free.converged))
            print(f"{name:<22}{seed:>5}{errors[-1]:>14.2f}{lost:>21.2f}{time.perf_counter() - begin:>9.1f}", flush=True)
        print(f"{name:<22} mean{np.mean(errors):>14.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
