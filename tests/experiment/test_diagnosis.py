"""Advice: each complaint from a diagnosis that shows it, and none from one that does not."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.diagnostics import period
from equiprop.estimators import FLAGS
from equiprop.experiment import Trainer
from equiprop.solvers import Jacobi, relax
from equiprop.systems import from_force
from equiprop.training._advice import advice
from toy import config, dataset

GOOD = {
    **{f"{name}_fraction": 0.0 for name in (*FLAGS, "diverged", "oscillating", "max_steps", "excluded")},
    "inaccurate_by_rounding_fraction": 0.0,
    "period": None,
    "contraction_largest": 0.5,
    "analyticity": {"analytic": 1.0, "singularity": 0.0, "not_analytic": 0.0, "unconverged": 0.0},
    "error_bar": 0.01,
    "gradient_bar": 0.03,
    "gradient_bar_causes": {
        "nudge": 0.01,
        "relaxation": 0.0,
        "rounding": 0.0,
        "noise": 0.0,
        "asymmetry": 0.02,
        "exclusion": 0.0,
    },
    "certified_fraction": 1.0,
    "certificate_reason": None,
    "cosine_to_adjoint": {"hidden_1": 0.99, "output": 0.99, "total": 0.98},
}


def components(**sections):
    return Trainer(config(**sections), dataset()).components


def test_nothing_to_say_of_a_healthy_network():
    assert advice(GOOD, components()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("symptom", "sections", "words"),
    [
        ({"diverged_fraction": 0.02}, {}, "2.0 % of samples diverge.*, or damp them by damping"),
        (
            {"oscillating_fraction": 0.12, "period": 2},
            {"solver": {"kind": "jacobi"}},
            "12.0 % of samples oscillate with period 2: damp, or use Gauss-Seidel sweeps",
        ),
        ({"oscillating_fraction": 0.12}, {"solver": {"damping": 0.0}}, r"oscillate: damp them by damping = 0\.5"),
        ({"oscillating_fraction": 0.12}, {}, r"or take Anderson's method with short sweeps"),
        ({"oscillating_fraction": 0.12}, {"solver": {"kind": "anderson"}}, "or damped Gauss-Seidel ones"),
        ({"max_steps_fraction": 0.1}, {}, "raise max_steps of the solver above 200"),
        ({"contraction_largest": 0.99}, {}, r"contracts by 0\.990 a sweep, which takes about 917 sweeps"),
        ({"branch_switch_fraction": 0.05}, {}, r"lower the nudge below 0\.3"),
        (
            {"analyticity": {"singularity": 0.1}},
            {"estimator": {"kind": "holomorphic"}},
            r"crosses a singularity for 10\.0 %",
        ),
        ({"analyticity": {"not_analytic": 0.1}}, {}, "not analytic at any nudge"),
        ({"clipped_fraction": 0.05, "contraction_largest": None}, {}, "close to a bifurcation"),
        (
            {"clipped_fraction": 0.05, "contraction_largest": 0.4},
            {},
            r"far from a bifurcation, raise clip",
        ),
        (
            {"excluded_fraction": 1.0, "inaccurate_fraction": 0.009, "unconverged_fraction": 0.2},
            {},
            r"100\.0 % of samples are excluded from the gradient \(unconverged 20\.0 %, inaccurate 0\.9 %\)",
        ),
        ({"inaccurate_fraction": 0.05}, {}, r"of 5\.0 % of samples exceeds the tolerance: lower the nudge below 0\.3"),
        ({"inaccurate_fraction": 0.05}, {"estimator": {"kind": "adjoint"}}, "give what it solves a smaller tolerance"),
        (
            {"inaccurate_fraction": 0.9, "inaccurate_by_rounding_fraction": 0.8},
            {},
            r"bar of 80\.0 % of samples .* rounding, which a smaller nudge makes larger: double precision",
        ),
        (
            {"error_bar": 0.5},
            {},
            r"sample is 0\.50, but those samples add little.* right to ±3 %: nothing has to change",
        ),
        *(
            (
                {
                    "gradient_bar": 0.5,
                    "gradient_bar_causes": GOOD["gradient_bar_causes"] | {cause: 0.45},
                    "error_bar": 0.6,
                },
                {},
                f"off by 50 % of itself, most of it by {cause}: {mend}",
            )
            for cause, mend in (
                ("nudge", "a smaller nudge"),
                ("asymmetry", "homeostasis"),
                ("rounding", "double precision"),
                ("relaxation", r"a smaller solver\.tolerance"),
                ("exclusion", "mend what flags"),
            )
        ),
        ({"gradient_bar": None}, {}, "cannot be told"),
        (
            {"certified_fraction": 0.5, "certificate_reason": "S is not negative definite"},
            {},
            "S is not negative definite: nothing is guaranteed",
        ),
        ({"cosine_to_adjoint": {"output": 0.9, "total": 0.5}}, {}, "worse aligned"),
    ],
)
def test_each_symptom_has_its_advice(symptom, sections, words):
    lines = advice(GOOD | symptom, components(**sections))
    assert len(lines) == 1
    assert re.search(words, lines[0])


def test_an_exact_gradient_is_not_told_about_asymmetry():
    symptom = {"certified_fraction": 0.2}
    assert advice(GOOD | symptom, components(estimator={"kind": "adjoint"})) == []


@pytest.mark.slow
def test_period_of_an_oscillation():
    """u ← −a·tanh(u)·3 flips sign every sweep; a rotation by a third of a turn comes back after three; a fixed point stays."""
    turn = 2 * np.pi / 3
    rotation = jnp.asarray([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])

    def force(p, u, x):
        flip = jnp.tanh(-3 * u)
        turned = u @ p / jnp.maximum(jnp.linalg.norm(u, axis=1, keepdims=True), 1e-9)
        return jnp.select([x == 0, x == 1], [flip, turned], 0.5 + 0 * u) - u

    system = from_force(force, rotation, initial_state=jnp.asarray([0.3, 0.4]), holomorphic=False)
    x = jnp.arange(3.0)[:, None]
    solver = Jacobi(max_steps=60, damping=0.0)
    state = relax(system, x, solver).state
    assert period(system, x, state, solver).tolist() == [2, 3, 1]
