"""The training step of generalized-holo-ep, on its network of two hidden layers."""
# pyright: reportMissingImports=false

import json
import math
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.core.frozen_dict import freeze
from flax.training.train_state import TrainState
from models.vfs import mlp_discrete_vf
from utils import funcs
from worker import Step, load, serve

DATA = load("data.npz")
ARCHITECTURE = json.loads((Path(funcs.__file__).parents[1] / "arch/mlp_2-256.json").read_text())


class State(TrainState):
    last_steady: Any
    key: Any


def dynamics():
    # models.dyn imports two names that utils.funcs does not have, and uses neither.
    funcs.dalify = funcs.ff_exc_fb_inh = None
    from models.dyn import DiscreteDynamics

    shapes = {name: tuple(shape) for name, shape in ARCHITECTURE["shapes"].items()}
    vector_field = mlp_discrete_vf(
        shapes=shapes,
        sizes={name: math.prod(shape) for name, shape in shapes.items()},
        connections=ARCHITECTURE["connections"],
        loss="xent",
        act=funcs.get_activation("sigmoid"),
    )
    # As models/utils.py says for a network of fewer than 1,000 units.
    return DiscreteDynamics(vf=vector_field, seed=0, jac_safe=True)


def layers(parameters):
    """The arrays of each layer, to read or to replace; those of the readout are one level deeper."""
    return {name: of["Dense_0"] if name == "readout" else of for name, of in parameters["params"].items()}


def keep_gradient():
    """An optimizer that changes nothing and has the last gradient for its state."""

    def zeros(tree):
        return jax.tree_util.tree_map(jnp.zeros_like, tree)

    return optax.GradientTransformation(zeros, lambda gradient, *_: (zeros(gradient), gradient))


def fresh(model):
    """Parameters whose feedback is the transpose, as their --rotate does at an angle of 0."""
    return funcs.rotate(freeze(model.init_params(jnp.ones((1, 784)), jnp.zeros((1, 10)))), alpha=0.0)


def make_weights():
    arrays = {f"{name}/{kind}": array for name, of in layers(fresh(dynamics())).items() for kind, array in of.items()}
    np.savez("fresh.npz", **arrays)


def case() -> Step:
    model = dynamics()
    parameters = fresh(model).unfreeze()
    for name, array in load("weights.npz").items():
        layer, kind = name.split("/")
        layers(parameters)[layer][kind] = jnp.asarray(array)
    x, y = jnp.asarray(DATA["x"]), jax.nn.one_hot(DATA["y"], 10)
    state = State.create(
        apply_fn=model.fwd,
        params=freeze(parameters),
        tx=keep_gradient(),
        last_steady=model.batch_nrn(x[:50]),
        key=jax.random.PRNGKey(0),
    )

    def step(batch):
        after, _ = model.batch_train_step(state, (x[batch], y[batch]), (150, 20, 2), 0.05, "hep_vf")
        r = {name: model.vf.act(u) for name, u in jax.block_until_ready(after).last_steady.items()}
        kernels = [layers(after.opt_state)[name]["kernel"] for name in ARCHITECTURE["connections"]]
        return np.hstack([r["l1"], r["l2"], r["out"]]), kernels

    return step


if __name__ == "__main__":
    if sys.argv[1:] == ["weights"]:
        make_weights()
    else:
        serve({"generalized-holo-ep, batch_train_step": case()})
