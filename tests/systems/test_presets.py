"""Named convolutional networks: their shapes, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.solvers import GaussSeidel, relax
from equiprop.systems import Stage, cnn, convolutional
from equiprop.systems.recipes._cnn import PRESETS


def test_the_published_network():
    """Four convolutions of 3 by 3, each pooled: arXiv 2309.02214, appendix. Shapes only, nothing is computed."""
    system = jax.eval_shape(lambda: cnn((32, 32, 3), 10, key=jax.random.key(0)))
    shapes = {name: weight.shape for name, weight in system.weights.items()}
    assert shapes == {
        "input->hidden_1": (3, 3, 3, 128),
        "hidden_1->hidden_2": (3, 3, 128, 256),
        "hidden_2->hidden_1": (3, 3, 128, 256),
        "hidden_2->hidden_3": (3, 3, 256, 512),
        "hidden_3->hidden_2": (3, 3, 256, 512),
        "hidden_3->output": (3, 3, 512, 512),
        "output->hidden_3": (3, 3, 512, 512),
    }
    assert [p.shape for p in system.topology.relaxing] == [(16, 16, 128), (8, 8, 256), (4, 4, 512), (1, 1, 512)]
    assert {b.shape for b in system.biases.values()} == {(128,), (256,), (512,)}
    assert system.cost.weight.shape == (512, 10)
    settings = [dict(c.settings) for c in system.topology.connections]
    assert [s["padding"] for s in settings] == ["same", "same", "same", "valid"]
    assert {s["pool"] for s in settings} == {2}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_takes_images_of_32_by_32_and_the_tiny_one_of_8_by_8(preset):
    pixels = 8 if preset == "tiny" else 32
    family, _, number = preset.partition("_")
    system = jax.eval_shape(lambda: cnn((pixels, pixels, 3), 10, key=jax.random.key(0), preset=preset))
    layers = int(number) if family == "deep" else {"tiny": 2, "residual": 13}.get(family, 4)
    side = 8 if family == "deep" else 1
    assert len(system.topology.relaxing) == layers
    assert system.topology.population("output").shape[:2] == (side, side)


@pytest.mark.slow
def test_every_layer_of_thirteen_sees_the_image_and_they_converge_from_the_start():
    system = cnn((32, 32, 3), 10, key=jax.random.key(0), preset="residual_13_small")
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 32, 32, 3)))
    free = relax(system, x, GaussSeidel(max_steps=30))
    assert free.converged.all()
    varies = {name: float(jnp.std(u, axis=0).mean()) for name, u in free.state.items()}
    assert len(varies) == 13 and all(0.1 < v < 1 for v in varies.values()), varies
    shapes = [p.shape for p in system.topology.relaxing]
    assert shapes[::3] == [(32, 32, 8), (16, 16, 16), (8, 8, 32), (4, 4, 64), (1, 1, 64)]
    assert [c.residual for c in system.topology.connections] == [False, True, True] * 4 + [False]


@pytest.mark.slow
def test_a_deep_chain_converges_from_the_start():
    """Each sweep of a contraction by 0.95 would leave 3e-5 of the distance after 200."""
    system = cnn((32, 32, 3), 10, key=jax.random.key(0), preset="deep_10")
    assert system.topology.population("hidden_1").activation == "tanh"
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)))
    assert relax(system, x, GaussSeidel(tolerance=1e-9, max_steps=200)).converged.all()


def test_strides_and_padding_decide_the_shapes():
    stages = (Stage(4, kernel=5, stride=2), Stage(5, kernel=1, pool=2))
    topology = convolutional((16, 12, 1), stages, activation="dsilu")
    assert [p.shape for p in topology.populations] == [(16, 12, 1), (8, 6, 4), (4, 3, 5)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: cnn((32, 32, 3), 10, key=jax.random.key(0), preset="smal"),
            "preset = 'smal': is not known.*did you mean 'small'",
        ),
        (
            lambda: cnn((28, 28, 1), 10, key=jax.random.key(0)),
            r"preset: layer 3 would pool \[7, 7\] .*for images of \[28, 28, 1\]",
        ),
        (
            lambda: convolutional((2, 2, 1), [Stage(3, padding="valid")], activation="tanh"),
            r"layer 1 would pool \[0, 0\] .*for images of \[2, 2, 1\]",
        ),
    ],
)
def test_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
