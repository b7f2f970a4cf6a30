"""The symmetry of some two hundred random systems of every kind against dense linear algebra, saturated units among them."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import symmetry
from equiprop.errors import InputError
from equiprop.solvers import relax
from equiprop.systems import from_energy, from_force, slope
from networks import IMAGE, batch, network

N, SYSTEMS, PROBES = 9, 25, 300
KEY = jax.random.key(2)
# How far the units of a system are driven into saturation: not at all, until slopes are 1e-8, and until they are 0.
SATURATIONS = (0.5, 2.0, 8.0, 40.0)


def rng(seed):
    return np.random.default_rng(seed)


def split(matrices):
    """‖S‖ and ‖A‖ of matrices without their diagonals."""
    off = matrices * (1 - np.eye(matrices.shape[-1]))
    turned = np.swapaxes(off, -1, -2)
    return [np.linalg.norm((off + sign * turned) / 2, axis=(-2, -1)) for sign in (1, -1)]


def ratio(matrices):
    """‖S‖/(‖S‖ + ‖A‖), and 1 without any coupling."""
    s, a = split(matrices)
    return np.where(s + a == 0, 1, s / np.where(s + a == 0, 1, s + a))


class Kind:
    """Many systems of one kind, each a single sample with parameters of its own, measured by one program.

    - `system`: of the parameters of one.
    - `params`, `inputs`, `states`: one for each.
    - `recurrent`: H(params, r, x) of F = H(φ(u)) − ℓ(u), without a batch, from which the dense matrices are made.
    """

    def __init__(self, system, params, inputs, states, recurrent, metric=None):
        self.system, self.params, self.inputs, self.states = system, params, inputs, states

        def matrix(p, x, u):
            here = system(p)
            single = jax.tree.map(lambda a: a[None], u)
            activity = jax.tree.map(lambda a: a[0], here.activity(single))
            flat, unravel = jax.flatten_util.ravel_pytree(activity)
            j = jax.jacobian(lambda r: jax.flatten_util.ravel_pytree(recurrent(p, unravel(r), x))[0])(flat)
            moves = jax.flatten_util.ravel_pytree(slope(here, single))[0] != 0
            # Nothing is known of what a unit does to others whose activity does not move.
            j = j * moves
            return j if metric is None else j * metric**0.5 / metric[:, None] ** 0.5

        self.dense = np.asarray(jax.jit(jax.vmap(matrix))(params, inputs, states))

    def measured(self, **options):
        def one(p, x, u, key):
            single = jax.tree.map(lambda a: a[None], (x, u))
            return symmetry(self.system(p), *single, key=key, **options)

        keys = jax.random.split(KEY, len(jax.tree.leaves(self.states)[0]))
        return jax.jit(jax.vmap(one))(self.params, self.inputs, self.states, keys)


def saturated(seed):
    """States of which many are far out, and weights of several sizes, from symmetric to independent.

    Below −10 the derivative of JAX's tanh loses digits, see `test_the_measure_is_exact_where_tanh_is_saturated_below`.
    """
    draw = rng(seed)
    random = draw.normal(size=(SYSTEMS, N, N)) * np.exp(draw.uniform(-2, 2, (SYSTEMS, 1, 1)))
    symmetric, share = (random + np.swapaxes(random, 1, 2)) / 2, draw.uniform(0, 1, (SYSTEMS, 1, 1)).round(1)
    size = np.resize(SATURATIONS, SYSTEMS)[:, None]
    return jnp.asarray(symmetric + share * (random - symmetric)), jnp.asarray(
        np.maximum(size * draw.normal(size=(SYSTEMS, N)), -10)
    )


def of_function(activity, leak, seed):
    """u̇ = W·φ(u) + x − ℓu."""
    weights, states = saturated(seed)
    shift = jnp.zeros((SYSTEMS, N))

    def system(p):
        return from_force(
            lambda p, u, x: activity(u) @ p.T + x - leak * u,
            p,
            initial_state=np.zeros(N),
            activity=activity,
            leak=leak,
        )

    return Kind(system, weights, shift, states, lambda p, r, x: p @ r)


def without_activity():
    """u̇ = W·u + x − 2u: r = u, by default."""
    weights, states = saturated(3)

    def system(p):
        return from_force(lambda p, u, x: u @ p.T + x - 2 * u, p, initial_state=np.zeros(N))

    return Kind(system, weights, jnp.zeros((SYSTEMS, N)), states, lambda p, r, x: p @ r)


def energy():
    """E = ½|u|² − ½φ(u)·W·φ(u) − ¼(u·v)⁴ on two leaves, with mobilities: symmetric in their metric."""
    draw = rng(4)
    params = {"w": jnp.asarray(draw.normal(size=(SYSTEMS, 5, 4))), "v": jnp.asarray(draw.normal(size=(SYSTEMS, 5)))}

    def value(p, u, x):
        pulled = jnp.einsum("bi,ij,bj->b", jnp.tanh(u["a"]), p["w"], jnp.tanh(u["b"]))
        squares = sum(jnp.sum(a**2, axis=1) for a in u.values())
        return squares / 2 - pulled - (u["a"] @ p["v"]) ** 4 / 4 - jnp.sum(x * u["a"], axis=1)

    mobility = {"a": 0.2, "b": 1.0}
    states = {"a": jnp.asarray(draw.normal(size=(SYSTEMS, 5))), "b": jnp.asarray(draw.normal(size=(SYSTEMS, 4)))}

    def system(p):
        start = {"a": np.zeros(5), "b": np.zeros(4)}
        return from_energy(value, p, initial_state=start, output=lambda r: r["b"], mobility=mobility)

    def recurrent(p, r, x):
        lifted = jax.tree.map(lambda a: a[None], r)
        forces = jax.grad(lambda u: -value(p, u, x[None])[0])(lifted)
        return {name: mobility[name] * forces[name][0] for name in r}

    metric = jnp.asarray([0.2] * 5 + [1.0] * 4)
    return Kind(system, params, jnp.zeros((SYSTEMS, 5)), states, recurrent, metric)


def gated():
    """u̇ = σ(G·r)·(W·r) + x − u, whose coupling depends on the state."""
    weights, states = saturated(5)
    params = {"w": weights, "g": weights[::-1]}

    def recurrent(p, r, x):
        return jax.nn.sigmoid(p["g"] @ r) * (p["w"] @ r) + x

    def system(p):
        def force(p, u, x):
            return jax.vmap(lambda v, y: recurrent(p, jnp.tanh(v), y))(u, x) - u

        return from_force(force, p, initial_state=np.zeros(N), activity=jnp.tanh)

    return Kind(system, params, jnp.zeros((SYSTEMS, N)), states / 8, recurrent)


def attention():
    """Three tokens of three units that attend to each other, r_i += Σ_j softmax(q_i·k_j)·V·r_j."""
    weights, states = saturated(6)
    params = {name: weights[:, 3 * i : 3 * i + 3, :3] for i, name in enumerate("qkv")}

    def recurrent(p, r, x):
        shares = jax.nn.softmax((r @ p["q"]) @ (r @ p["k"]).T, axis=1)
        return shares @ (r @ p["v"]) + x

    def system(p):
        def force(p, u, x):
            return jax.vmap(lambda v, y: recurrent(p, jnp.tanh(v), y))(u, x) - u

        return from_force(force, p, initial_state=np.zeros((3, 3)), activity=jnp.tanh)

    shaped = states.reshape(SYSTEMS, 3, 3) / 8
    return Kind(system, params, jnp.zeros((SYSTEMS, 3, 3)), shaped, recurrent)


def layered(kind, x):
    """Random weights in the structure of a network, at random states: laterals, skips and pooling among them."""
    network_ = network(kind)
    arrays, rest = eqx.partition(network_, eqx.is_inexact_array)
    keys = jax.random.split(KEY, SYSTEMS)

    def drawn(key, like):
        leaves, structure = jax.tree.flatten(like)
        each = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(structure, [jax.random.normal(k, a.shape) for k, a in zip(each, leaves, strict=True)])

    params = jax.vmap(lambda k: drawn(k, arrays))(keys)
    start = jax.tree.map(lambda a: a[0], network_.initial_state(x))
    states = jax.vmap(lambda k: drawn(jax.random.fold_in(k, 1), start))(keys)
    inputs = jnp.broadcast_to(x[:1], (SYSTEMS, *x.shape[1:]))

    def recurrent(p, r, y):
        here = eqx.combine(p, rest)
        lifted = jax.tree.map(lambda a: a[None], r)
        return jax.tree.map(lambda a: a[0], here.recurrent_input(lifted, here.injection(y[None])))

    mobility = jax.tree.map(lambda m, a: jnp.full(a.shape, m), network_.mobility, start)
    metric = jax.flatten_util.ravel_pytree(mobility)[0]
    return Kind(lambda p: eqx.combine(p, rest), params, inputs, states, recurrent, metric)


LEAKS = np.exp(np.linspace(np.log(0.3), np.log(3), N))
KINDS = {
    "tanh": lambda: of_function(jnp.tanh, 1.0, 0),
    "sigmoid": lambda: of_function(jax.nn.sigmoid, 0.3, 1),
    "leaks from 0.3 to 3": lambda: of_function(jnp.tanh, LEAKS, 2),
    "identity": without_activity,
    "energy": energy,
    "gated": gated,
    "attention": attention,
    "laterals": lambda: layered("general", batch()[0]),
    "pooling": lambda: layered("convolutional", batch(shape=IMAGE)[0]),
}


@functools.cache
def kind_of(name):
    return KINDS[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_measure_is_exact_for_a_hundred_units(name):
    kind = kind_of(name)
    found = kind.measured()
    s, a = split(kind.dense)
    assert np.allclose(found.symmetry, ratio(kind.dense), rtol=0, atol=1e-9)
    assert np.allclose(found.symmetric_norm, s, rtol=1e-9, atol=1e-12)
    assert np.allclose(found.antisymmetric_norm, a, rtol=1e-9, atol=1e-9 * s.max())
    assert not np.any(found.standard_error)
    if name == "energy":
        assert np.allclose(found.symmetry, 1, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_probes_are_within_their_own_standard_errors(name):
    kind = kind_of(name)
    found = kind.measured(probes=PROBES)
    # Besides rounding, which is all that there is of the energies, which are symmetric: ‖A‖² is a difference of numbers as large
    # as ‖S‖², so that of ‖A‖ the square root of what they are rounded to is left.
    rounding = np.sqrt(np.finfo(float).eps)
    off = np.abs(np.asarray(found.symmetry) - ratio(kind.dense)) / (np.asarray(found.standard_error) + rounding)
    assert np.mean(off < 3) >= 0.96 and off.max() < 5
    assert np.max(found.standard_error) < 0.1


def test_there_are_saturated_units_among_them():
    """Of slopes below a millionth, and of slope zero; and systems with hardly a unit that is neither."""
    for name in ("tanh", "leaks from 0.3 to 3"):
        kind = kind_of(name)
        slopes = 1 - np.tanh(np.asarray(kind.states)) ** 2
        assert (slopes == 0).any() and ((slopes > 0) & (slopes < 1e-6)).any()
        assert (np.mean(slopes < 1e-3, axis=1) > 0.7).any()


@pytest.mark.slow
@pytest.mark.parametrize(("saturation", "bound"), [(-10.0, 1e-9), (-18.0, 1e-2)])
@pytest.mark.parametrize("probes", [0, PROBES])
def test_the_measure_is_exact_where_tanh_is_saturated_below(saturation, bound, probes):
    """As it is above: (g + g·t)(1 − t), as JAX has it, cancels where t is near −1. At −18 slopes are three units of rounding."""
    weights = jnp.asarray(rng(8).normal(size=(N, N)))

    def system(sign):
        return from_force(
            lambda p, u, x: jnp.tanh(sign * u) @ p + x - u,
            weights,
            initial_state=np.zeros(N),
            activity=lambda u: jnp.tanh(sign * u),
        )

    u = jnp.asarray(saturation + 0.3 * rng(9).normal(size=(2, N)))
    below = symmetry(system(1.0), u, u, probes=probes, key=KEY)
    above = symmetry(system(-1.0), u, u, probes=probes, key=KEY)
    assert float(below.symmetry) == pytest.approx(float(above.symmetry), abs=bound)
    assert float(below.symmetric_norm) == pytest.approx(float(above.symmetric_norm), rel=bound)


@pytest.mark.parametrize("saturation", [0.0, 4.0])
def test_independent_weights_read_a_half_however_far_their_units_are_saturated(saturation):
    """Where the leak counted as a diagonal of 1/φ′ saturated systems would read 1."""
    weights = jnp.asarray(rng(8).normal(size=(40, 40)) / 40**0.5)
    system = from_force(lambda p, u, x: jnp.tanh(u) @ p + x - u, weights, initial_state=np.zeros(40), activity=jnp.tanh)
    u = jnp.asarray(saturation + rng(9).normal(size=(2, 40)))
    found = symmetry(system, u, u)
    assert float(found.symmetry) == pytest.approx(float(ratio(np.asarray(weights.T))), abs=1e-9)
    assert 0.45 < float(found.symmetry) < 0.55


@pytest.mark.slow
def test_a_batch_is_measured_by_root_mean_squares_over_its_samples():
    kind = kind_of("gated")
    params, s, a = jax.tree.map(lambda p: p[0], kind.params), [], []
    for u in kind.states[:4]:
        one = symmetry(kind.system(params), u[None], u[None])
        s.append(float(one.symmetric_norm))
        a.append(float(one.antisymmetric_norm))
    s, a = (np.sqrt(np.mean(np.square(norms))) for norms in (s, a))
    together = symmetry(kind.system(params), kind.states[:4], kind.states[:4])
    assert float(together.symmetry) == pytest.approx(s / (s + a), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("probes", [0, 16])
def test_weights_that_are_no_numbers_read_no_number(probes):
    weights = jnp.asarray(rng(1).normal(size=(N, N))).at[2, 3].set(jnp.nan)
    system = from_force(lambda p, u, x: jnp.tanh(u) @ p + x - u, weights, initial_state=np.zeros(N), activity=jnp.tanh)
    u = jnp.zeros((2, N))
    assert np.isnan(symmetry(system, u, u, probes=probes, key=KEY).symmetry)


def published(matrix):
    """Of ∂H/∂r − 1, its diagonal included."""
    j = matrix - np.eye(len(matrix))
    s, a = (np.linalg.norm(j + sign * j.T) / 2 for sign in (1, -1))
    return s / (s + a)


@pytest.mark.parametrize("activity", [jnp.tanh, jax.nn.sigmoid], ids=["tanh", "sigmoid"])
@pytest.mark.parametrize("leak", [0.5, 1.0])
def test_the_published_definition_counts_the_leak_as_minus_one(activity, leak):
    weights = jnp.asarray(rng(1).normal(size=(N, N)) / 2)
    system = from_force(
        lambda p, u, x: activity(u) @ p.T + x - leak * u,
        weights,
        initial_state=np.zeros(N),
        activity=activity,
        leak=leak,
    )
    u = jnp.asarray(rng(2).normal(size=(2, N)))
    found = symmetry(system, u, u, definition="published")
    assert float(found.symmetry) == pytest.approx(published(np.asarray(weights)), abs=1e-9)
    probed = symmetry(system, u, u, definition="published", probes=PROBES, key=KEY)
    assert abs(float(probed.symmetry) - float(found.symmetry)) < 4 * float(probed.standard_error)


@pytest.mark.slow
def test_the_published_definition_of_a_network_and_without_an_activity():
    kind = kind_of("laterals")
    params, x, u = (jax.tree.map(lambda a: a[:1], tree) for tree in (kind.params, kind.inputs, kind.states))
    system = kind.system(jax.tree.map(lambda a: a[0], params))
    found = symmetry(system, x, u, definition="published")
    assert float(found.symmetry) == pytest.approx(published(kind.dense[0]), abs=1e-9)


def test_the_published_definition_where_the_state_is_the_activity():
    """u̇ = W·u + x − u has ∂H/∂r − 1 = W − 1."""
    weights = jnp.asarray(rng(1).normal(size=(N, N)) / 2)
    system = from_force(lambda p, u, x: u @ p.T + x - u, weights, initial_state=np.zeros(N))
    u = jnp.asarray(rng(2).normal(size=(2, N)))
    found = symmetry(system, u, u, definition="published")
    assert float(found.symmetry) == pytest.approx(published(np.asarray(weights)), abs=1e-9)


def test_another_definition_is_refused():
    u = jnp.zeros((1, N))
    system = from_force(lambda p, u, x: -u, 0.0, initial_state=np.zeros(N))
    with pytest.raises(InputError, match="definition = 'publish': is not known; choose one of coupling, published"):
        symmetry(system, u, u, definition="publish")


@pytest.mark.slow
def test_above_128_units_probes_are_taken_and_need_a_key():
    weights = jnp.asarray(rng(1).normal(size=(129, 129)) / 12)
    system = from_force(lambda p, u, x: jnp.tanh(u) @ p + x - u, weights, initial_state=np.zeros(129))
    u = relax(system, jnp.zeros((1, 129))).state
    with pytest.raises(InputError, match="probes = 32: needs a key"):
        symmetry(system, u, u)
    found = symmetry(system, u, u, key=KEY)
    assert float(found.standard_error) > 0
    assert abs(float(found.symmetry) - float(symmetry(system, u, u, probes=0).symmetry)) < 4 * found.standard_error
