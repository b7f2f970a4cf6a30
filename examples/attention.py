"""An attention-like field: tokens that relax under softmax attention to each other, with queries and keys that are not tied.

No weight of it has a symmetric partner, so that the gradient of equilibrium propagation is not exact. Homeostasis, a loss on the
antisymmetric part of the Jacobian at equilibrium, is measured on the field itself and needs no pairs of weights.
"""

import jax
import jax.numpy as jnp
import numpy as np

import equiprop as ep

TOKENS, WIDTH, CLASSES = 6, 8, 3


def force(params, u, x):
    """Each token is drawn to a mixture of all, by their likeness to it, and to its input."""
    r = jnp.tanh(u)
    likeness = jnp.einsum("btq,bsq->bts", r @ params["query"], r @ params["key"]) / WIDTH**0.5
    mixture = jnp.einsum("bts,bsd->btd", jax.nn.softmax(likeness, axis=-1), r @ params["value"])
    return mixture + x @ params["input"] - u


def read(r):
    return r.mean(axis=1)[:, :CLASSES] * 4


def made(key):
    a, b, c, d = jax.random.split(key, 4)
    params = {
        "query": 0.8 * jax.random.normal(a, (WIDTH, WIDTH)),
        "key": 0.8 * jax.random.normal(b, (WIDTH, WIDTH)),
        "value": 0.25 * jax.random.normal(c, (WIDTH, WIDTH)),
        "input": 0.4 * jax.random.normal(d, (4, WIDTH)),
    }
    return ep.from_force(
        force, params, initial_state=jnp.zeros((TOKENS, WIDTH)), activity=jnp.tanh, leak=1.0, output=read,
        cost=ep.SoftmaxCrossEntropy(),
    )  # fmt: skip


# Which of three patterns do most tokens of a sequence belong to?
rng = np.random.default_rng(0)
patterns = rng.normal(size=(CLASSES, 4))
y = rng.integers(0, CLASSES, 600)
kinds = np.where(rng.uniform(size=(600, TOKENS)) < 0.6, y[:, None], rng.integers(0, CLASSES, (600, TOKENS)))
x = patterns[kinds] + 0.5 * rng.normal(size=(600, TOKENS, 4))

for name, homeostasis in (("none", ep.NoHomeostasis()), ("Jacobian", ep.JacobianHomeostasis(3.0))):
    result = ep.fit(
        made(jax.random.key(1)),
        (x[:480], y[:480]),
        validation=(x[480:], y[480:]),
        estimator=ep.Centered(nudge=0.1),
        homeostasis=homeostasis,
        optimizer=ep.AdamW(1e-2),
        epochs=15,
        diagnostic_samples=60,
        quiet=True,
    )
    last = result.history[-1]
    cosine = last["cosine_to_adjoint"]["total"]
    print(
        f"homeostasis {name:8s}  error {last['validation_error_percent']:5.1f} %  symmetry {last['symmetry']:.3f}  "
        f"cosine to the exact gradient {cosine:.3f}"
    )
