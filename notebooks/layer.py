"""Equilibrium propagation inside a network of JAX: a relaxing block between layers that learn by backpropagation.

marimo edit notebooks/layer.py
"""

import marimo

app = marimo.App(app_title="A relaxing block in your network")


@app.cell
def _():
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import marimo as mo
    import optax

    import equiprop as ep

    return ep, eqx, jax, jnp, mo, optax


@app.cell
def _(mo):
    mo.md("""
    # A relaxing block in your network

    `ep.Layer` is an Equinox module. Calling it relaxes a system; reverse mode reads the gradient off its response
    to a nudge, or solves
    for it. Here it sits between a linear encoder and a linear head.
    """)
    return


@app.cell
def _(mo):
    kind = mo.ui.dropdown(
        ["Centered(0.05)", "Holomorphic(0.3, 6)", "Adjoint()"], value="Centered(0.05)", label="gradient of the block by"
    )
    kind
    return (kind,)


@app.cell
def _(ep, eqx, jax, kind):
    estimators = {
        "Centered(0.05)": ep.Centered(0.05),
        "Holomorphic(0.3, 6)": ep.Holomorphic(0.3, 6),
        "Adjoint()": ep.Adjoint(),
    }

    class Model(eqx.Module):
        encoder: eqx.nn.Linear
        block: ep.Layer
        head: eqx.nn.Linear

        def __call__(self, x):
            return jax.vmap(self.head)(self.block(jax.vmap(self.encoder)(x)))

    def model_with(estimator):
        a, b, c = jax.random.split(jax.random.key(0), 3)
        block = ep.Layer(ep.mlp(32, (32,), 16, feedback="tied", feedback_gain=0.5, key=b), estimator)
        return Model(eqx.nn.Linear(64, 32, key=a), block, eqx.nn.Linear(16, 10, key=c))

    model = model_with(estimators[kind.value])
    return model, model_with


@app.cell
def _(ep, eqx, jax, jnp, model, model_with, optax):
    digits = ep.data.load("digits")
    x = jnp.asarray((digits.train.x.reshape(-1, 64) - digits.mean) / digits.scale, jnp.float32)
    y = jnp.asarray(digits.train.y)

    def loss(model, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

    def flat(tree):
        return jnp.concatenate([jnp.ravel(a) for a in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))])

    gradient = eqx.filter_jit(eqx.filter_grad(loss))
    ours, exact = flat(gradient(model, x[:50], y[:50])), flat(gradient(model_with(ep.Adjoint()), x[:50], y[:50]))
    cosine = float(ours @ exact / jnp.linalg.norm(ours) / jnp.linalg.norm(exact))
    return cosine, loss, x, y


@app.cell
def _(cosine, kind, mo):
    mo.md(
        f"The gradient of the whole network by `{kind.value}` has a cosine of **{cosine:.5f}** to the one by implicit "
        "differentiation."
    )
    return


@app.cell
def _(eqx, jax, loss, model, optax, x, y):
    optimizer = optax.adam(3e-3)

    @eqx.filter_jit
    def step(model, memory, x, y):
        value, gradient = eqx.filter_value_and_grad(loss)(model, x, y)
        updates, memory = optimizer.update(gradient, memory)
        return eqx.apply_updates(model, updates), memory, value

    learnt, memory, losses = model, optimizer.init(eqx.filter(model, eqx.is_inexact_array)), []
    for _key in jax.random.split(jax.random.key(1), 200):
        _rows = jax.random.randint(_key, (50,), 0, len(y))
        learnt, memory, _value = step(learnt, memory, x[_rows], y[_rows])
        losses.append(float(_value))
    return learnt, losses


@app.cell
def _(jax, learnt, losses, mo, x, y):
    error = 100 * float((learnt(x[:500]).argmax(1) != y[:500]).mean())
    mo.md(f"""
    After 200 steps of Adam the loss has gone from {losses[0]:.2f} to **{losses[-1]:.2f}**; {error:.1f} % of 500
    training images are wrong.

    How the block came to rest, sample by sample: `{learnt.block.relax(jax.vmap(learnt.encoder)(x[:100]))}`
    """)
    return (error,)


if __name__ == "__main__":
    app.run()
