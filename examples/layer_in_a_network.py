"""A relaxing block inside an ordinary network: reverse mode reads its gradient by equilibrium propagation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import equiprop as ep


class Model(eqx.Module):
    encoder: eqx.nn.Linear
    block: ep.Layer
    head: eqx.nn.Linear

    def __call__(self, x):
        return jax.vmap(self.head)(self.block(jnp.tanh(jax.vmap(self.encoder)(x))))


def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


digits = ep.data.load("digits")
x = jnp.asarray((digits.train.x.reshape(-1, 64) - digits.mean) / digits.scale, jnp.float32)
y = jnp.asarray(digits.train.y)

a, b, c, d = jax.random.split(jax.random.key(0), 4)
# With tied feedback weights the estimate is the exact gradient as the nudge vanishes; others need homeostasis (`ep.penalty`).
block = ep.mlp(32, (32,), 16, feedback="tied", key=b)
model = Model(eqx.nn.Linear(64, 32, key=a), ep.Layer(block, ep.Centered(nudge=0.05)), eqx.nn.Linear(16, 10, key=c))

# The same model with implicit differentiation in the place of equilibrium propagation, for comparison.
exact = eqx.tree_at(lambda m: m.block, model, ep.Layer(block, ep.Adjoint()))
ours, theirs = (jax.grad(lambda w, m=m: loss(eqx.tree_at(lambda n: n.encoder.weight, m, w), x[:100], y[:100]))(
    m.encoder.weight) for m in (model, exact))  # fmt: skip
cosine = jnp.sum(ours * theirs) / (jnp.linalg.norm(ours) * jnp.linalg.norm(theirs))
print(f"gradient of the encoder, through the block: cosine to the exact one {cosine:.4f}")

optimizer = optax.adam(3e-3)
memory = optimizer.init(eqx.filter(model, eqx.is_inexact_array))


@eqx.filter_jit
def step(model, memory, rows):
    value, gradient = eqx.filter_value_and_grad(loss)(model, x[rows], y[rows])
    updates, memory = optimizer.update(gradient, memory)
    return eqx.apply_updates(model, updates), memory, value


for n, key in enumerate(jax.random.split(d, 300)):
    model, memory, value = step(model, memory, jax.random.randint(key, (50,), 0, len(y)))
    if n % 100 == 99:
        print(f"step {n + 1}: loss {value:.3f}")
wrong = 100 * jnp.mean(jnp.argmax(model(x[:500]), axis=1) != y[:500])
print(f"training error {wrong:.1f} %")
