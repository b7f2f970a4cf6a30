"""The error bar of every nudged estimator: calibrated on random systems, used where it is large, honest where nothing helps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from at_rest import estimated
from equiprop.errors import InputError
from equiprop.estimators import (
    Adjoint,
    Centered,
    Corrected,
    ExactResponse,
    Holomorphic,
    OneSided,
    RecurrentBackprop,
)
from equiprop.solvers import GaussSeidel
from equiprop.systems import from_force, mlp
from networks import CLASSES, INPUTS, batch
from oracle import Dense
from random_systems import READ, SOLVER, SYSTEMS, exact, random_systems
from tiers import quick_where

CALIBRATED = {
    "one_sided": OneSided(nudge=0.2),
    "one_sided companion": OneSided(nudge=0.2, error_bar="companion"),
    "centered": Centered(nudge=0.3),
    "centered companion": Centered(nudge=0.3, error_bar="companion"),
    "three points": Holomorphic(nudge=0.3, points=3),
    "four points": Holomorphic(nudge=0.3, points=4),
    "six points": Holomorphic(nudge=0.4, points=6),
    "corrected": Corrected(nudge=0.3, points=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALIBRATED)
def test_calibration(name):
    """Of the converged samples, the error of 95 in 100 is below the bar, and the bar is within a factor of ten for 80 in 100."""
    system, x, y = random_systems()
    answer = estimated(system, x, y, CALIBRATED[name], solver=SOLVER)
    reference = exact(system, x, y, answer.equilibrium.state, transpose=name == "corrected")
    error = np.linalg.norm(np.asarray(answer.error_vector) - reference, axis=1) / np.linalg.norm(reference, axis=1)
    converged = ~np.asarray(answer.unconverged)
    assert converged.sum() >= 200
    ratio = (np.asarray(answer.error_bar) / error)[converged]
    assert np.mean(ratio >= 1) >= 0.95
    assert np.mean((ratio >= 0.1) & (ratio <= 10)) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("estimator", [ExactResponse(), Adjoint(), RecurrentBackprop()], ids=lambda e: type(e).__name__)
def test_calibration_of_linear_solves(estimator):
    """Iterative solvers stop where they happen to be; the bar must still cover."""
    system, x, y = random_systems()
    answer = estimated(system, x, y, estimator, solver=SOLVER)
    reference = exact(system, x, y, answer.equilibrium.state, transpose=not isinstance(estimator, ExactResponse))
    error = np.linalg.norm(np.asarray(answer.error_vector) - reference, axis=1) / np.linalg.norm(reference, axis=1)
    # Full GMRES in ten dimensions is exact; what remains is the rounding of both sides.
    ratio = ((np.asarray(answer.error_bar) + 1e-12) / error)[~np.asarray(answer.unconverged)]
    assert np.mean(ratio >= 1) >= 0.95


def test_aliasing_bar_extrapolates_a_geometric_series():
    from equiprop.estimators._nudging import aliasing_bar

    # a_m = 0.1^m: c_0 − r* = a_4, and the error of four points is a_5 = 1e-4·a_1.
    bar, ratio = aliasing_bar(jnp.asarray([[0.1**m] for m in (4, 1, 2, 3)]))
    assert np.allclose(ratio, 0.1) and np.allclose(bar, 4 * 1e-4)
    # Coefficients that do not fall: nothing is known.
    bar, ratio = aliasing_bar(jnp.ones((4, 1)))
    assert np.allclose(ratio, 1) and bar >= 1


def within_batch(answer, y):
    """The error bars as fractions of what a sample adds to the gradient, or samples on average, whichever is more."""
    u = np.asarray(answer.equilibrium.state)
    pull = (1 - np.tanh(2 * u - 1) ** 2)[:, :READ] * (0.5 + 0.5 * np.tanh(2 * u - 1)[:, :READ] - np.asarray(y))
    size = np.maximum(np.linalg.norm(answer.error_vector, axis=1), np.linalg.norm(pull, axis=1))
    return np.asarray(answer.error_bar) * np.minimum(1, size / size[np.asarray(answer.equilibrium.converged)].mean())


@pytest.mark.slow
def test_samples_above_the_tolerance_are_tried_again_and_only_those():
    system, x, y = random_systems()
    # The same program at a tolerance that every sample meets: what is not tried again is then equal to the last bit.
    once = estimated(system, x, y, Centered(nudge=0.3, tolerance=1e9, retries=1), solver=SOLVER)
    assert not once.retried.any()
    tolerance = float(np.median(within_batch(once, y)))
    answer = estimated(system, x, y, Centered(nudge=0.3, tolerance=tolerance, retries=1), solver=SOLVER)
    hopeful = np.asarray(once.equilibrium.converged)
    again = (within_batch(once, y) > tolerance) & hopeful
    assert 20 < again.sum() < SYSTEMS - 20
    assert np.array_equal(answer.retried, again)
    # The others were read at the full nudge and took no further step.
    assert (np.asarray(answer.nudge)[~again] == 0.3).all() and np.isclose(answer.nudge[again], 0.3 * 0.25).mean() > 0.9
    assert np.array_equal(answer.error_vector[~again], once.error_vector[~again])
    assert np.array_equal(answer.relaxation_steps[~again], once.relaxation_steps[~again])
    assert (np.asarray(answer.relaxation_steps)[again] > np.asarray(once.relaxation_steps)[again]).all()
    # What is still above is excluded, and counted.
    assert np.array_equal(answer.inaccurate, within_batch(answer, y) > tolerance)
    assert int(answer.counts["inaccurate"]) < again.sum() and int(answer.counts["retried"]) == again.sum()
    assert (np.asarray(answer.weight)[np.asarray(answer.inaccurate)] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", quick_where(lambda tolerance: tolerance < 1e-3, [1e-2, 1e-6]))
def test_automatic_radius_and_points_reach_the_tolerance_or_say_so(tolerance):
    system, x, y = random_systems()
    answer = estimated(system, x, y, Holomorphic(nudge="auto", points="auto", tolerance=tolerance), solver=SOLVER)
    reference = exact(system, x, y, answer.equilibrium.state, transpose=False)
    error = np.linalg.norm(np.asarray(answer.error_vector) - reference, axis=1) / np.linalg.norm(reference, axis=1)
    said = np.asarray(answer.inaccurate | answer.unconverged)
    assert said.mean() < 0.1
    assert np.mean(error[~said] <= tolerance) >= 0.95
    assert (np.asarray(answer.nudge) > 0).all() and len(np.unique(np.asarray(answer.nudge))) > SYSTEMS / 2


def shallow():
    """Two populations, for programs that compile fast."""
    return mlp(INPUTS, (7,), CLASSES, key=jax.random.key(3), gain=1.5, feedback_gain=1.0)


@pytest.mark.slow
def test_a_tolerance_below_rounding_is_refused_sample_by_sample():
    system = jax.tree.map(lambda a: a.astype(jnp.float32), shallow())
    x, y = batch()
    estimator = Holomorphic(nudge="auto", points="auto", tolerance=1e-9)
    answer = estimated(system, x.astype(jnp.float32), y, estimator, solver=GaussSeidel())
    assert answer.inaccurate.all() and (answer.weight == 0).all()


@pytest.mark.slow
def test_points_are_chosen_for_a_given_radius():
    """At a large radius N = 2 is not enough for the tolerance that N = 8 reaches."""
    system = shallow()
    dense, (x, y) = Dense.of(system), batch()
    exact_response = np.array(
        [dense.response(dense.equilibrium(np.asarray(a)), int(b)) for a, b in zip(x, y, strict=True)]
    )
    solver = GaussSeidel(tolerance=1e-12, max_steps=2000, nudged_max_steps=2000)
    answer = estimated(system, x, y, Holomorphic(nudge=0.3, points="auto", tolerance=1e-3), solver=solver)
    error = np.linalg.norm(dense.flat(answer.error_vector) - exact_response, axis=1)
    assert (error < 1e-3 * np.linalg.norm(exact_response, axis=1)).all() and not answer.inaccurate.any()
    assert np.allclose(answer.nudge, 0.3)
    other_side = Holomorphic(nudge=-0.3, points="auto", tolerance=1e-3)
    assert np.array_equal(estimated(system, x, y, other_side, solver=solver).relaxation_steps, answer.relaxation_steps)


@pytest.mark.slow
def test_kinks_and_singularities_are_named():
    """A kink at the free state: no radius helps. Poles at ±0.1i are crossed by a large radius, not by a small one."""
    kink = from_force(
        lambda p, u, x: p * x - u + jnp.where(u.real > 0, 0.5 * u, 0 * u),
        jnp.ones(()),
        initial_state=jnp.zeros(1),
        holomorphic=True,
    )
    x, y = jnp.zeros((1, 1)), jnp.ones((1, 1))
    for nudge in (0.4, 0.01):
        answer = estimated(kink, x, y, Holomorphic(nudge=nudge, points=8))
        assert bool(answer.non_analytic[0]) and float(answer.error_bar[0]) > 0.3
    pole = from_force(
        lambda p, u, x: 0.02 / (1 + (u / 0.1) ** 2) - u, jnp.ones(()), initial_state=jnp.zeros(1), holomorphic=True
    )
    far, near = (estimated(pole, x, y, Holomorphic(nudge=nudge, points=8)) for nudge in (0.2, 0.02))
    assert not bool(near.non_analytic[0]) and float(near.error_bar[0]) < 0.01
    assert bool(far.non_analytic[0]) and float(far.error_bar[0]) > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Centered(error_bar="aliasing_"), "error_bar = 'aliasing_': is not known"),
        (lambda: Centered(tolerance=0.0), "tolerance = 0.0: must be a finite number above 0"),
        (lambda: Centered(retries=-1), "retries = -1: must be at least 0"),
        (lambda: Centered(shrink=1.0), "shrink = 1.0: must be above 0 and below 1"),
        (lambda: Centered(inaccurate="hide"), "inaccurate = 'hide': is not known"),
        (lambda: Holomorphic(nudge="auto"), "tolerance = inf: an automatic nudge"),
        (
            lambda: Centered(retries=5),
            "retries = 5: has no effect without tolerance; set tolerance, or leave retries out",
        ),
        (lambda: Holomorphic(shrink=0.5), "shrink = 0.5: has no effect without tolerance"),
        (lambda: Centered(tolerance=0.1, retries=0, shrink=0.5), "shrink = 0.5: has no effect without retries"),
        (lambda: Adjoint(inaccurate="keep"), "inaccurate = 'keep': has no effect without tolerance"),
        (lambda: Adjoint(clip=np.inf, clipped="drop"), "clipped = 'drop': has no effect without clip"),
        (
            lambda: Centered(branch_switch="keep", branch_switch_threshold=np.inf),
            "branch_switch = 'keep': has no effect without branch_switch_threshold",
        ),
        (
            lambda: Holomorphic(points=1, branch_switch="keep"),
            "branch_switch: has no effect where points is 1: one nudge cannot tell a switch of branch; leave",
        ),
        (
            lambda: Corrected(points=1, branch_switch_threshold=0.2),
            "branch_switch_threshold: has no effect where points is 1",
        ),
        (lambda: Centered(10**400), "nudge = inf: must be a finite number other than 0"),
        (lambda: Holomorphic(nudge="many"), "nudge = 'many': must be a number or 'auto'"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_two_points_have_no_aliasing_to_look_at():
    with pytest.raises(InputError, match="error_bar = 'aliasing': needs points > 2, not 2"):
        Centered(error_bar="aliasing")


def test_a_kink_and_an_automatic_nudge_are_told_apart():
    system = from_force(lambda p, u, x: x - u, 0.0, initial_state=jnp.zeros(2), holomorphic=False)
    x = jnp.zeros((1, 2))
    with pytest.raises(InputError, match=r"nudge = 'auto': .* use a number for the nudge, and points <= 2"):
        Holomorphic(nudge="auto", points=2, tolerance=0.1).check(system, x)
    with pytest.raises(InputError, match=r"points = 4: .* use points <= 2"):
        Holomorphic(points=4).check(system, x)
