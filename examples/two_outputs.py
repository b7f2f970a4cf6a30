"""A cost of one's own, soft targets, and two outputs: which class, and how large."""

import jax
import jax.numpy as jnp
import numpy as np

import equiprop as ep


class Huber(ep.AbstractCost):
    """Squared up to one, absolute beyond: an outlier pulls no harder than anyone."""

    def __call__(self, output, target):
        error = output - target
        return jnp.sum(jnp.where(jnp.abs(error) < 1, 0.5 * error**2, jnp.abs(error) - 0.5), axis=-1)


def force(params, u, x):
    return jnp.tanh(u) @ params["recurrent"] + x @ params["input"] - u


a, b = jax.random.split(jax.random.key(0))
system = ep.from_force(
    force,
    {"recurrent": 0.05 * jax.random.normal(a, (30, 30)), "input": jax.random.normal(b, (5, 30))},
    initial_state=jnp.zeros(30),
    activity=jnp.tanh,
    leak=1.0,
    output=lambda r: {"class": 4 * r[:, :3], "size": 2 * r[:, 3:4]},
    cost=ep.SumOfCosts({"class": ep.SoftmaxCrossEntropy(), "size": Huber()}, {"size": 0.5}),
)

rng = np.random.default_rng(0)
x = rng.normal(size=(600, 5))
# Two annotators who do not always agree make soft targets.
opinions = np.argmax(x[:, None, :3] + 0.5 * rng.normal(size=(600, 2, 3)), axis=-1)
soft = np.eye(3)[opinions].mean(axis=1)
size = 0.8 * np.tanh(x[:, 3:4]) + 0.4 * (rng.uniform(size=(600, 1)) < 0.02)
y = {"class": soft, "size": size}


def agrees(prediction, target):
    """Of each sample: whether the likeliest class is one that an annotator named, in percent."""
    chosen = jnp.argmax(prediction["class"], axis=-1)
    return 100.0 * (jnp.take_along_axis(target["class"], chosen[:, None], axis=-1)[:, 0] > 0)


split = lambda part: jax.tree.map(lambda leaf: leaf[part], (x, y))  # noqa: E731
result = ep.fit(
    system,
    split(slice(0, 500)),
    validation=split(slice(500, None)),
    estimator=ep.Centered(nudge=0.1),
    homeostasis=ep.JacobianHomeostasis(0.1),
    optimizer=ep.AdamW(5e-3),
    metrics={"agrees_percent": agrees},
    epochs=10,
)
print(f"an annotator agrees with {result.history[-1]['validation_agrees_percent']:.0f} % of the predictions")
