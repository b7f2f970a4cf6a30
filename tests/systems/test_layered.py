"""Networks against dense NumPy matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.systems import (
    Connection,
    LayeredNetwork,
    Population,
    Stage,
    Topology,
    convolutional,
    correct,
    cost_gradient,
    coupling,
    jacobian,
    loop_network,
    mlp,
    population_names,
    predict,
    slope,
)
from networks import BATCH, CLASSES, IMAGE, INPUTS, KINDS, batch, network, nudged, skip_and_lateral
from oracle import Dense, shifted_sigmoid, shifted_sigmoid_slope

RNG = np.random.default_rng(5)


def random_state(system, dtype=float):
    def draw(size):
        real = RNG.normal(size=(BATCH, size))
        return jnp.asarray(real + 0.1j * RNG.normal(size=(BATCH, size)) if dtype is complex else real)

    return {name: draw(bias.shape[0]) for name, bias in system.biases.items()}


@pytest.fixture(params=KINDS)
def system(request):
    system = network(request.param)
    biases = {n: jnp.asarray(RNG.normal(size=b.shape)) for n, b in system.biases.items()}
    return LayeredNetwork(weights=system.weights, biases=biases, cost=system.cost, topology=system.topology)


def test_force(system):
    x, _ = batch()
    state, dense = random_state(system), Dense.of(system)
    ours = dense.flat(system.force(state, system.injection(x)))
    flat = dense.flat(state)
    assert np.allclose(ours, [dense.force(u, np.asarray(xi)) for u, xi in zip(flat, x, strict=True)])


def test_a_residual_connection_carries_the_activity_too():
    """Back as well, by as much less as the mobility is smaller."""
    sizes = {"input": 2, "a": 3, "output": 3}
    kinds = {"input": (), "a": ("tanh", 0.5), "output": ("tanh",)}
    populations = tuple(Population(n, k, *kinds[n]) for n, k in sizes.items())
    connections = (Connection("input", "a", "none"), Connection("a", "output", residual=True))
    system = LayeredNetwork.create(Topology(populations, connections), classes=3, key=jax.random.key(1))
    rng = np.random.default_rng(0)
    x, a, b = (rng.normal(size=(4, n)) for n in (2, 3, 3))
    w_in, w, v = (np.asarray(system.weights[n]) for n in ("input->a", "a->output", "output->a"))
    force = system.force({"a": jnp.asarray(a), "output": jnp.asarray(b)}, system.injection(jnp.asarray(x)))
    assert np.allclose(force["a"], x @ w_in + 0.5 * np.tanh(b) @ (v.T + np.eye(3)) - a)
    assert np.allclose(force["output"], np.tanh(a) @ (w + np.eye(3)) - b)


def test_force_on_complex_states(system):
    """The formula of the force holds for complex u: expit continues analytically in NumPy too."""
    x, _ = batch()
    state, dense = random_state(system, complex), Dense.of(system)
    ours = dense.flat(jax.jit(lambda u: system.force(u, system.injection(x)))(state))
    flat = dense.flat(state)
    r = 1 / (1 + np.exp(-4 * flat + 2))
    expected = r @ dense.matrix + np.array([dense.injection(np.asarray(xi)) for xi in x]) - flat
    assert np.allclose(ours, expected)


def test_force_on_one_block_is_part_of_the_force(system):
    x, _ = batch()
    state, injection = random_state(system), system.injection(x)
    whole = system.force(state, injection)
    for block in system.blocks:
        part = system.force(state, injection, block)
        assert set(part) == set(block)
        assert all(np.allclose(part[name], whole[name]) for name in block)


@pytest.mark.slow
def test_jacobian_and_coupling(system):
    """Column by column against the dense matrices; J is with respect to the activity."""
    x, _ = batch()
    state, dense = random_state(system), Dense.of(system)
    injection = system.injection(x)
    by_all, by_activity = jacobian(system, state, injection), coupling(system, state, injection)
    v = random_state(system)
    flat_v, flat = dense.flat(v), dense.flat(state)
    assert np.allclose(dense.flat(by_all(v)), [dense.jacobian(u) @ w for u, w in zip(flat, flat_v, strict=True)])
    assert np.allclose(dense.flat(by_activity(v)), flat_v @ dense.matrix)


def test_slope_and_activity(system):
    state, dense = random_state(system), Dense.of(system)
    assert np.allclose(dense.flat(system.activity(state)), shifted_sigmoid(dense.flat(state)))
    assert np.allclose(dense.flat(slope(system, state)), shifted_sigmoid_slope(dense.flat(state)))


def test_cost_gradient_and_nudge(system):
    x, y = batch()
    state, dense = random_state(system), Dense.of(system)
    flat = dense.flat(state)
    gradient = dense.flat(cost_gradient(system, system.activity(state), y))
    expected = np.array([dense.cost_gradient(u, int(yi)) for u, yi in zip(flat, y, strict=True)])
    assert np.allclose(gradient, expected)
    nudges = jnp.asarray(RNG.normal(size=BATCH) + 1j * RNG.normal(size=BATCH))
    injection = system.injection(x)
    pulled = dense.flat(nudged(system, injection, y, nudges).force(jax.tree.map(lambda a: a + 0j, state)))
    assert np.allclose(pulled, dense.flat(system.force(state, injection)) - np.asarray(nudges)[:, None] * expected)
    block = system.blocks[-1]
    part = nudged(system, injection, y, 0.3).force(state, block)
    assert set(part) == set(block)


def test_nudge_raises_for_negative_beta():
    """β > 0 lowers the cost: the force along −∇C."""
    system = network("untied")
    x, y = batch()
    state = system.initial_state(x)
    injection = system.injection(x)
    change = nudged(system, injection, y, 1.0).force(state)["output"] - system.force(state, injection)["output"]
    uphill = cost_gradient(system, system.activity(state), y)["output"]
    assert (jnp.sum(change * uphill, axis=1) < 0).all()


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0])
def test_initial_weight_angle(angle):
    system = mlp(10, (60, 60), 50, key=jax.random.key(0), weight_angle=angle)
    for forward, feedback in system.pairs.values():
        a, b = np.asarray(system.weights[forward]), np.asarray(system.weights[feedback])
        assert a.shape == b.shape
        measured = np.degrees(np.arccos(np.clip((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))
        assert measured == pytest.approx(angle, abs=2)
        assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=0.1)


def test_lateral_weights_start_at_their_angle():
    weight = np.asarray(
        LayeredNetwork.create(skip_and_lateral(), classes=CLASSES, key=jax.random.key(0)).weights["b->b"]
    )
    cosine = (weight * weight.T).sum() / (weight**2).sum()
    assert np.degrees(np.arccos(cosine)) == pytest.approx(40)


def test_symmetric_exactly_when_tied():
    tied, untied = Dense.of(network("tied")), Dense.of(network("untied"))
    for dense, symmetric in ((tied, True), (untied, False)):
        coupling = dense.in_metric(dense.matrix.T)
        assert np.allclose(coupling, coupling.T) == symmetric


def test_loop_has_no_reciprocal_pair():
    system = loop_network(INPUTS, (4, 4), CLASSES, key=jax.random.key(0))
    assert system.pairs == {}
    pairs = {(e.source, e.target) for e in system.edges}
    assert all((b, a) not in pairs for a, b in pairs)


def test_images_are_flattened_and_dtype_kept():
    system = mlp(12, (4,), 3, key=jax.random.key(0), dtype="float32")
    x = jnp.ones((2, 3, 4), jnp.float32)
    state = system.initial_state(x)
    force = system.force(state, system.injection(x))
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves((state, force, system)))


def test_prediction():
    system = network("untied")
    state, dense = random_state(system), Dense.of(system)
    scores = np.array([dense.scores(u) for u in dense.flat(state)])
    assert np.allclose(predict(system, state), scores)
    assert np.array_equal(correct(system, state, jnp.zeros(BATCH, int)), scores.argmax(axis=1) == 0)


@pytest.mark.slow
def test_singularity_distance():
    system = network("untied")
    state = {name: jnp.full((1, *b.shape), 0.5) for name, b in system.biases.items()}
    state["output"] = state["output"] + 0.5j
    assert np.allclose(system.singularity_distance(state), np.pi / 4 - 0.5)
    assert system.holomorphic
    assert not network("relu").holomorphic


def test_population_names():
    state = network("untied").initial_state(batch()[0])
    assert population_names(state) == ("hidden_1", "hidden_2", "output")
    assert population_names(jnp.ones(2)) == ("state",)


def test_bad_cost():
    with pytest.raises(InputError, match="cost = 'l2': is not known"):
        mlp(2, (2,), 2, key=jax.random.key(0), cost="l2")


@pytest.mark.slow
def test_tied_convolutions_and_pooling_have_a_symmetric_jacobian():
    """What leads back depends on the activity at which it arrives: at any other there is no energy."""
    topology = convolutional(IMAGE, (Stage(3), Stage(4, pool=2)), activation="tanh", feedback="tied")
    system = LayeredNetwork.create(topology, classes=CLASSES, key=jax.random.key(3), gain=2.0)
    x, _ = batch(shape=IMAGE)
    state = {p.name: jnp.asarray(RNG.normal(size=(BATCH, *p.shape))) for p in topology.relaxing}
    product = coupling(system, state, system.injection(x))
    a, b = ({name: jnp.asarray(RNG.normal(size=u.shape)) for name, u in state.items()} for _ in range(2))
    inner = lambda p, q: sum(np.sum(np.asarray(p[name] * q[name])) for name in p)  # noqa: E731
    forth, back = inner(a, product(b)), inner(b, product(a))
    assert np.isclose(forth, back) and abs(forth) > 0.1
