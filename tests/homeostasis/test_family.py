"""Every other homeostasis: what it must do to ‖A‖ or to the angle between weights, and that its formula is the one it states."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import symmetry, weight_angle
from equiprop.errors import InputError
from equiprop.homeostasis import (
    HOMEOSTASES,
    AntisymmetricHomeostasis,
    Batch,
    Controlled,
    JacobianHomeostasis,
    KolenPollack,
    LocalHomeostasis,
    RotationHomeostasis,
    WeightMirror,
)
from equiprop.numerics import Schedule
from equiprop.solvers import GaussSeidel, relax
from equiprop.systems import LayeredNetwork, Stage, convolutional, from_force, mlp
from networks import CLASSES, INPUTS, batch, network
from oracle import Dense, shifted_sigmoid_slope
from tiers import quick_where

X, _ = batch()
KEY = jax.random.key(5)
OF_JACOBIAN = (JacobianHomeostasis, AntisymmetricHomeostasis, RotationHomeostasis, LocalHomeostasis)
PAIR = ("hidden_1->hidden_2", "hidden_2->hidden_1")
# At strength one on every sample, and every weight moved by itself.
PLAIN = {"strength": 1.0, "samples": 0, "shared_updates": False, "feedback_only": False}


def everyone(x, state):
    return Batch(x, state, jnp.ones(len(x), bool))


@pytest.fixture(scope="module")
def case():
    system = network("untied")
    state = eqx.filter_jit(relax)(system, X, GaussSeidel(tolerance=1e-10, max_steps=2000)).state
    return system, state, Dense.of(system)


def rotations(system, state, dense):
    """‖K̃‖²_F of every sample, by NumPy."""
    result = []
    for u in dense.flat(state):
        j = dense.matrix.T - np.diag(1 / shifted_sigmoid_slope(u))
        root = np.linalg.cholesky(-(j + j.T) / 2)
        result.append(np.sum(np.linalg.solve(root, np.linalg.solve(root, (j - j.T) / 2).T) ** 2))
    return np.array(result)


@pytest.mark.slow
def test_rotation_loss_is_the_rotation(case):
    system, state, dense = case
    homeostasis = RotationHomeostasis(**PLAIN, probes=2000)
    value, skipped = eqx.filter_jit(homeostasis.loss)(system, everyone(X, state), key=KEY)
    assert int(skipped) == 0
    assert float(value) == pytest.approx(rotations(system, state, dense).mean() / len(dense.matrix), rel=0.05)


@pytest.mark.slow
def test_rotation_gradient_by_finite_differences(case):
    """Through the solves with S, at fixed state and fixed probes."""
    system, state, _ = case
    homeostasis = RotationHomeostasis(**PLAIN | {"strength": 0.5}, probes=2)
    zero = jax.tree.map(jnp.zeros_like, system)
    answer = eqx.filter_jit(homeostasis.regularise)(zero, system, everyone(X, state), key=KEY)
    value = eqx.filter_jit(lambda s: homeostasis.loss(s, everyone(X, state), key=KEY)[0])
    for name, index in [(PAIR[0], (2, 3)), (PAIR[1], (1, 1))]:
        where = lambda s, n=name: s.weights[n]  # noqa: E731
        up, down = (value(eqx.tree_at(where, system, system.weights[name].at[index].add(h))) for h in (1e-3, -1e-3))
        assert answer.gradient.weights[name][index] == pytest.approx(0.5 * float(up - down) / 2e-3, rel=0.02)


@pytest.mark.slow
def test_rotation_skips_what_has_no_angle():
    """S = x·(p + pᵀ)/2 − 1 is negative definite for x = ½ and not for x = 3: skipped, counted, and no trace in the gradient."""
    p = jnp.asarray([[0.0, 1.0], [0.2, 0.0]])
    system = from_force(lambda w, u, x: x * (u @ w) - u, p, initial_state=jnp.zeros(2))
    x, u = jnp.asarray([[0.5], [3.0]]), jnp.zeros((2, 2))
    zero = jax.tree.map(jnp.zeros_like, system)
    homeostasis = RotationHomeostasis(**PLAIN, probes=20)
    regularise = eqx.filter_jit(homeostasis.regularise)
    both = regularise(zero, system, everyone(x, u), key=KEY)
    assert int(both.skipped) == 1
    one = regularise(zero, system, Batch(x, u, jnp.asarray([True, False])), key=KEY)
    assert int(one.skipped) == 0 and np.allclose(both.gradient.params, one.gradient.params)
    s, a = np.array([[-1, 0.3], [0.3, -1]]), np.array([[0, 0.2], [-0.2, 0]])
    k = np.linalg.solve(s, a)
    assert float(one.loss) == pytest.approx(-np.trace(k @ k) / 2, rel=0.5)


def test_local_homeostasis_is_unbiased(case):
    """The mean over batches of probes is the gradient 2γ(W − B)/n of L_homeo/n, within four standard errors, entry by entry."""
    _, state, dense = case
    system = mlp(INPUTS, (7, 5), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=0.5)
    one_probe = LocalHomeostasis(**PLAIN | {"samples": 1}, probes=1)
    zero = jax.tree.map(jnp.zeros_like, system)
    draw = eqx.filter_jit(
        lambda key: one_probe.regularise(zero, system, everyone(X, state), key=key).gradient.weights[PAIR[0]]
    )
    draws = np.asarray(jax.lax.map(draw, jax.random.split(KEY, 4000)))
    expected = 2 * 0.5 * np.asarray(system.weights[PAIR[0]] - system.weights[PAIR[1]]) / len(dense.matrix)
    error = np.abs(draws.mean(axis=0) - expected)
    assert (error < 4 * draws.std(axis=0, ddof=1) / 4000**0.5).mean() > 0.99
    assert np.linalg.norm(error) < 0.3 * np.linalg.norm(expected)


@pytest.mark.slow
def test_local_homeostasis_needs_no_derivative_and_serves_a_user_force():
    """The clamped force of a user's own system; its mean update against automatic differentiation of the exact loss."""
    rng = np.random.default_rng(0)
    matrix, u = jnp.asarray(rng.normal(size=(4, 4))), jnp.asarray(rng.normal(size=(3, 4)))
    system = from_force(lambda p, u, x: jnp.tanh(u) @ p - u, matrix, initial_state=jnp.zeros(4))
    zero = jax.tree.map(jnp.zeros_like, system)
    homeostasis = LocalHomeostasis(**PLAIN, probes=8000, step=1e-3)
    own = eqx.filter_jit(homeostasis.regularise)(zero, system, everyone(u, u), key=KEY)

    def loss(p):
        def one(v):
            j = jax.jacobian(lambda w: jnp.tanh(w) @ p - w)(v)
            return 2 * jnp.sum(((j - j.T) / 2) ** 2) / 4

        return jax.vmap(one)(u).mean()

    expected = jax.grad(loss)(matrix)
    assert np.linalg.norm(own.gradient.params - expected) < 0.1 * np.linalg.norm(expected)
    assert float(own.loss) == pytest.approx(float(loss(matrix)), rel=0.1)


def test_local_homeostasis_refuses_what_it_cannot_clamp():
    system = from_force(lambda p, u, x: jnp.tanh(u) @ p - u, jnp.eye(2), initial_state=jnp.zeros(2), activity=jnp.tanh)
    u = jnp.zeros((1, 2))
    with pytest.raises(InputError, match="FunctionSystem: does not say what force arrives"):
        LocalHomeostasis().regularise(system, system, everyone(u, u), key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize("homeostasis", quick_where(lambda kind: kind is not RotationHomeostasis, OF_JACOBIAN))
def test_shared_updates_are_those_of_a_tied_weight(case, homeostasis):
    """At strength zero both weights of a pair get the sum of the two, and nothing else changes."""
    system, state, _ = case
    gradient = jax.tree.map(lambda w: np.random.default_rng(0).normal(size=w.shape), system)
    quiet = homeostasis(strength=0.0, probes=1, samples=1, shared_updates=True, feedback_only=False)
    answer = eqx.filter_jit(quiet.regularise)(gradient, system, everyone(X, state), key=KEY).gradient
    total = gradient.weights[PAIR[0]] + gradient.weights[PAIR[1]]
    assert np.allclose(answer.weights[PAIR[0]], total) and np.allclose(answer.weights[PAIR[1]], total)
    assert np.allclose(answer.weights["input->hidden_1"], gradient.weights["input->hidden_1"])
    loop = network("loop")
    homeostasis(**PLAIN).check(loop)
    homeostasis().check(loop)
    with pytest.raises(InputError, match="no untied pair"):
        homeostasis(**PLAIN | {"shared_updates": True}).check(loop)


@pytest.mark.slow
@pytest.mark.parametrize("homeostasis", [JacobianHomeostasis, AntisymmetricHomeostasis, LocalHomeostasis])
def test_feedback_only_moves_feedback_alone(case, homeostasis):
    """As without it on the feedback weights; nothing of the homeostasis on all others."""
    system, state, _ = case
    gradient = jax.tree.map(lambda w: np.random.default_rng(0).normal(size=w.shape), system)
    both, alone = (
        eqx.filter_jit(homeostasis(**PLAIN | {"samples": 1, "feedback_only": only}).regularise)(
            gradient, system, everyone(X, state), key=KEY
        )
        for only in (False, True)
    )
    for name, weight in gradient.weights.items():
        moved = name in {feedback for _, feedback in system.pairs.values()}
        assert np.allclose(alone.gradient.weights[name], both.gradient.weights[name] if moved else weight), name
    assert np.array_equal(alone.gradient.biases["output"], gradient.biases["output"])
    with pytest.raises(InputError, match="no untied pair"):
        homeostasis(**PLAIN | {"feedback_only": True}).check(network("loop"))


def test_kolen_pollack_shrinks_the_difference_exactly(case):
    """Whatever the gradient, W − B shrinks by 1 − rate·decay a step, and both get the same update."""
    system, state, _ = case
    gradient = jax.tree.map(lambda a: jnp.asarray(np.random.default_rng(0).normal(size=a.shape)), system)
    answer = KolenPollack(decay=0.3).regularise(gradient, system, everyone(X, state), key=KEY)
    moved = jax.tree.map(lambda w, g: w - 0.1 * g, system, answer.gradient)
    before, after = (s.weights[PAIR[0]] - s.weights[PAIR[1]] for s in (system, moved))
    assert np.allclose(after, (1 - 0.1 * 0.3) * before)
    assert np.allclose(answer.gradient.weights["input->hidden_1"], gradient.weights["input->hidden_1"])
    mean = (gradient.weights[PAIR[0]] + gradient.weights[PAIR[1]]) / 2
    assert np.allclose(answer.gradient.weights[PAIR[0]], mean + 0.3 * system.weights[PAIR[0]])


def test_weight_mirror_draws_feedback_towards_forward(case):
    """Its mean is B − W, on the feedback alone."""
    system, state, _ = case
    zero = jax.tree.map(jnp.zeros_like, system)
    own = eqx.filter_jit(WeightMirror(probes=20000).regularise)(zero, system, everyone(X, state), key=KEY).gradient
    forward, feedback = (system.weights[n] for n in PAIR)
    assert np.linalg.norm(own.weights[PAIR[1]] - (feedback - forward)) < 0.05 * np.linalg.norm(feedback - forward)
    assert (own.weights[PAIR[0]] == 0).all() and (own.biases["hidden_1"] == 0).all()


@pytest.mark.parametrize("homeostasis", [KolenPollack(), WeightMirror()])
def test_pairs_are_needed(homeostasis):
    with pytest.raises(InputError, match="no untied pair of forward and feedback weights"):
        homeostasis.check(network("loop"))


STRONG = {
    "jacobian": JacobianHomeostasis(**PLAIN | {"strength": 5.0}),
    "antisymmetric": AntisymmetricHomeostasis(**PLAIN | {"strength": 5.0}, balanced=True),
    "rotation": RotationHomeostasis(**PLAIN | {"strength": 20.0}),
    "local": LocalHomeostasis(**PLAIN | {"strength": 5.0}),
    "kolen_pollack": KolenPollack(decay=1.0),
    "weight_mirror": WeightMirror(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", quick_where(lambda name: name not in ("rotation", "jacobian"), STRONG))
def test_descending_it_makes_the_jacobian_symmetric(case, name):
    """Two hundred steps: the weight angle falls from 90 degrees, the symmetry rises.

    Nothing but the homeostasis, except that Kolen-Pollack acts through what the weights learn: it gets a gradient of noise.
    """
    # "response" asks for symmetry on the responses alone: test_response.py has its own oracle.
    assert set(STRONG) == set(HOMEOSTASES.members()) - {"none", "auto", "response"}
    system, _, _ = case
    homeostasis = STRONG[name]
    solver = GaussSeidel()

    @eqx.filter_jit
    def descend(theta):
        def step(theta, key):
            free = relax(theta, X, solver)
            learnt = jax.tree.map(lambda w: 3 * jax.random.normal(key, w.shape) * (name == "kolen_pollack"), theta)
            own = homeostasis.regularise(learnt, theta, Batch(X, free.state, free.converged), key=key).gradient
            return jax.tree.map(lambda w, g: w - 0.05 * g, theta, own), None

        return jax.lax.scan(step, theta, jax.random.split(KEY, 200))[0]

    after = descend(system)

    def measure(theta):
        free = relax(theta, X, solver)
        return float(symmetry(theta, X, free.state).symmetry), float(weight_angle(theta)[PAIR[0]])

    (symmetry_before, angle_before), (symmetry_after, angle_after) = measure(system), measure(after)
    assert angle_before > 60 and angle_after < 0.6 * angle_before
    assert symmetry_after > symmetry_before + 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "start", "end", "expected"),
    [
        ("linear", 2.0, 0.0, {0.0: 2.0, 0.25: 1.5, 1.0: 0.0}),
        ("cosine", 2.0, 0.0, {0.0: 2.0, 0.5: 1.0, 1.0: 0.0}),
        ("warmup", 0.0, 2.0, {0.0: 0, 0.05: 1.0, 0.5: 2}),
    ],
)
def test_scheduled_strength(case, shape, start, end, expected):
    system, state, _ = case
    homeostasis = JacobianHomeostasis(**PLAIN | {"strength": Schedule(shape, start, end), "samples": 1}, probes=1)
    zero = jax.tree.map(jnp.zeros_like, system)
    for progress, value in expected.items():
        answer = homeostasis.regularise(zero, system, everyone(X, state), key=KEY, progress=progress)
        assert float(answer.strength) == pytest.approx(value, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("hold", "too_little", "too_much"), [("symmetry", 0.99, 0.1), ("angle", 1.0, 170.0)])
def test_controlled_strength_moves_towards_its_target(case, hold, too_little, too_much):
    """An untied network at the start: short of one target the strength grows, past the other it shrinks."""
    system, state, _ = case
    zero = jax.tree.map(jnp.zeros_like, system)
    for target, direction in ((too_little, 1), (too_much, -1)):
        strength = Controlled(hold, target, start=2.0, every=2, samples=2)
        homeostasis = JacobianHomeostasis(**PLAIN | {"strength": strength, "samples": 1}, probes=1)
        regularise = eqx.filter_jit(homeostasis.regularise)
        first = regularise(zero, system, everyone(X, state), key=KEY, memory=homeostasis.init(jnp.float64))
        assert direction * (float(first.strength) - 2.0) > 0.05
        # It is measured every other step, and remembered in between.
        second = regularise(zero, system, everyone(X, state), key=KEY, memory=first.memory)
        third = regularise(zero, system, everyone(X, state), key=KEY, memory=second.memory)
        assert float(second.strength) == float(first.strength)
        assert direction * float(third.strength - second.strength) > 0


@pytest.mark.slow
def test_controlled_strength_holds_the_symmetry_asked_for(case):
    """A cost gradient that keeps pulling the weights apart: the controller finds the strength that holds the target."""
    system, state, _ = case
    cost_gradient = jax.tree.map(jnp.zeros_like, system)
    apart = system.weights[PAIR[0]] - system.weights[PAIR[1]]
    cost_gradient = eqx.tree_at(
        lambda s: (s.weights[PAIR[0]], s.weights[PAIR[1]]), cost_gradient, (-0.3 * apart, 0.3 * apart)
    )
    homeostasis = JacobianHomeostasis(
        **PLAIN | {"strength": Controlled(target=0.8, start=0.1, every=1, samples=4)}, probes=20
    )

    @eqx.filter_jit
    def run(theta):
        def step(carry, key):
            theta, memory = carry
            answer = homeostasis.regularise(cost_gradient, theta, everyone(X, state), key=key, memory=memory)
            return (jax.tree.map(lambda w, g: w - 0.05 * g, theta, answer.gradient), answer.memory), answer.strength

        return jax.lax.scan(step, (theta, homeostasis.init(jnp.float64)), jax.random.split(KEY, 800))

    (after, _), strengths = run(system)
    assert float(symmetry(after, X, state).symmetry) == pytest.approx(0.8, abs=0.05)
    assert 0.1 < float(strengths[-1]) < 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RotationHomeostasis(probes=0), "probes = 0"),
        (lambda: LocalHomeostasis(step=0.0), "step = 0.0: must be a finite number above 0"),
        (lambda: KolenPollack(decay=-1.0), "decay = -1.0"),
        (lambda: WeightMirror(probes=0), "probes = 0"),
        (lambda: Schedule("steps", 1.0, 0.0), "schedule = 'steps': is not known"),
        (lambda: Controlled(target=1.5), "target = 1.5: must be"),
        (lambda: Controlled("norm", 0.5), "hold = 'norm': is not known"),
        (lambda: Controlled(target=0.5, start=0.0), "start = 0.0: must be a finite number above 0"),
        (lambda: Controlled(target=0.5, every=0), "every = 0"),
        (lambda: Controlled(target=0.5, gain=0.0), "gain = 0.0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("activation, gain", [("tanh", 3.0), ("tanh", 2.0), ("dsilu", 0.5)])
def test_rotation_leaves_no_trace_of_samples_without_an_angle(activation, gain):
    """At rest S of these tanh networks is indefinite; the second sample of the dsilu one has a unit whose activity falls."""
    system = mlp(6, (5,), 3, key=jax.random.key(0), activation=activation, gain=gain, feedback_gain=1.0)
    weight = system.weights["input->hidden_1"]
    x = jnp.stack([jnp.zeros(6), -6 * jnp.sign(weight[:, 0])])
    state = jax.tree.map(jnp.zeros_like, system.initial_state(x)) if activation == "tanh" else None
    if state is None:
        state = relax(system, x, GaussSeidel()).state
    else:
        j = Dense.of(system).matrix.T - np.eye(8)
        assert np.linalg.eigvalsh(j + j.T).max() > 0
    zero = jax.tree.map(jnp.zeros_like, system)
    answer = eqx.filter_jit(RotationHomeostasis(**PLAIN).regularise)(zero, system, everyone(x, state), key=KEY)
    assert int(answer.skipped) == (2 if activation == "tanh" else 1)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(answer.gradient))
    assert (largest == 0) if activation == "tanh" else (0 < largest < 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", quick_where(lambda kind: kind is not RotationHomeostasis, OF_JACOBIAN))
def test_unusable_samples_leave_no_trace(kind):
    """An input that is not a number, for a user's system whose coupling reads it; and a batch with nothing usable in it."""
    p = jnp.asarray([[0.0, 0.4], [0.1, 0.0]])
    system = from_force(lambda w, u, x: x * (u @ w) - u, p, initial_state=jnp.zeros(2))
    u, zero = jnp.zeros((2, 2)), jax.tree.map(jnp.zeros_like, system)
    regularise = eqx.filter_jit(kind(**PLAIN | {"strength": Controlled(target=0.9)}).regularise)
    usable = jnp.asarray([True, False])
    clean, spoilt = (
        regularise(zero, system, Batch(jnp.asarray([[0.5], [x]]), u, usable), key=KEY) for x in (0.5, jnp.nan)
    )
    assert float(jnp.abs(clean.gradient.params).max()) > 0
    for ours, theirs in zip(jax.tree.leaves(clean), jax.tree.leaves(spoilt), strict=True):
        assert np.array_equal(ours, theirs)
    nothing = regularise(zero, system, Batch(jnp.full((2, 1), jnp.nan), u, jnp.zeros(2, bool)), key=KEY)
    assert not nothing.gradient.params.any() and float(nothing.loss) == 0 and float(nothing.strength) == 1


@pytest.mark.slow
def test_weight_mirror_of_a_convolution_has_the_size_of_the_weights():
    """Every place of the image would add its own share otherwise."""
    stages = (Stage(2), Stage(3))
    system = LayeredNetwork.create(
        convolutional((6, 6, 1), stages, activation="tanh"), classes=3, key=jax.random.key(0)
    )
    mirror = WeightMirror(probes=4000)
    own = mirror.gradient(system, everyone(X, None), key=KEY)[0]
    ((forward, feedback),) = system.pairs.values()
    mirrored = system.weights[feedback] - own.weights[feedback]
    assert np.allclose(mirrored, system.weights[forward], atol=0.02)


def test_weight_mirror_refuses_pooling():
    stages = (Stage(2), Stage(3, pool=2))
    system = LayeredNetwork.create(
        convolutional((6, 6, 1), stages, activation="tanh"), classes=3, key=jax.random.key(0)
    )
    with pytest.raises(InputError, match=r"connection hidden_1->output: .* which pooling is not"):
        WeightMirror().check(system)
