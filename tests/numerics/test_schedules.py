"""Schedules against their formulas, and what stands in their place at one step."""

import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.estimators import Centered
from equiprop.homeostasis import Controlled, JacobianHomeostasis
from equiprop.numerics import Schedule, resolve

FORMULAS = {
    "linear": lambda p, start, end: start + p * (end - start),
    "cosine": lambda p, start, end: end + (start - end) * (1 + np.cos(np.pi * p)) / 2,
    "warmup": lambda p, start, end: start + min(10 * p, 1) * (end - start),
}


@pytest.mark.parametrize(("start", "end"), [(2.0, 0.5), (0.1, 0.7), (1.0, 0.0)])
@pytest.mark.parametrize("shape", FORMULAS)
def test_a_schedule_leads_from_its_start_to_its_end(shape, start, end):
    schedule = Schedule(shape, start, end)
    for progress in (0.0, 0.03, 0.1, 0.4, 1.0):
        value = schedule(jnp.asarray(progress))
        assert float(value) == pytest.approx(FORMULAS[shape](progress, start, end), abs=1e-12)


def test_numbers_take_the_place_of_schedules_at_one_step():
    estimator = Centered(nudge=Schedule("linear", 0.5, 0.1), clip=3.0)
    halfway = resolve(estimator, 0.5)
    assert float(halfway.nudge) == pytest.approx(0.3) and float(halfway.clip) == 3.0
    assert isinstance(estimator.nudge, Schedule)


def test_a_controlled_strength_is_left_to_its_controller():
    homeostasis = JacobianHomeostasis(strength=Controlled(start=2.0))
    assert isinstance(resolve(homeostasis, 0.5).strength, Controlled)
