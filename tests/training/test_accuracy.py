"""A gradient as accurate as asked for: what is changed on the way, and what is said of it."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
from equiprop.errors import InputError
from equiprop.estimators import CAUSES
from equiprop.experiment import RunDirectory, Trainer, load, resume, train
from equiprop.training import Adjustment, Callback
from equiprop.training._advice import MENDS
from toy import config, dataset

DATA = dataset()


def components(**sections):
    return Trainer(config(**sections), DATA).components


def said(nudge=0.0, relaxation=0.0, rounding=0.0, asymmetry=0.0, limit=None):
    causes = {
        "nudge": nudge,
        "relaxation": relaxation,
        "rounding": rounding,
        "asymmetry": asymmetry,
        "exclusion": 0.0,
        "noise": 0.0,
        "lag": 0.0,
    }
    return {
        "gradient_bar_limit": math.hypot(nudge, relaxation, rounding) if limit is None else limit,
        "gradient_bar_causes": causes,
    }


@pytest.mark.parametrize(
    ("estimator", "order"),
    [
        ({"kind": "centered", "nudge": 0.4}, 2),
        ({"kind": "one_sided", "nudge": 0.4}, 1),
        ({"kind": "holomorphic", "nudge": 0.4, "points": 4}, 4),
    ],
)
def test_the_nudge_shrinks_as_its_error_falls(estimator, order):
    """By the root of what is wanted of the error that its power leaves, at most by ten in one epoch."""
    made = components(estimator=estimator)
    after, told = Adjustment.none(jnp.float64).after(said(nudge=0.08, asymmetry=3.0), 0.02, made)
    factor = min((0.7 * 0.02 / 0.08) ** (1 / order), 0.7)
    assert math.isclose(float(after.nudge), factor) and float(after.tolerance) == 1
    assert told == f"the nudge is {0.4 * factor:.2g} from now on"
    assert math.isclose(float(after.of(made).estimator.nudge), 0.4 * factor)
    once_more, _ = after.after(said(nudge=1e9), 0.02, after.of(made))
    assert float(once_more.nudge) >= 0.1 * factor


def test_the_solver_goes_further_where_relaxation_is_what_errs():
    made = components(solver={"tolerance": 1e-3})
    after, told = Adjustment.none(jnp.float64).after(said(nudge=0.01, relaxation=0.1), 0.02, made)
    assert math.isclose(float(after.tolerance), 0.7 * 0.02 / math.hypot(0.01, 0.1)) and float(after.nudge) == 1
    assert told == "the tolerance of the solver is 0.00014 from now on"
    assert math.isclose(float(after.of(made).solver.tolerance), 1e-3 * float(after.tolerance))


@pytest.mark.parametrize(
    ("metrics", "sections", "words"),
    [
        (said(nudge=0.01, asymmetry=5.0), {}, ""),
        (said(rounding=0.5), {}, "nothing is changed, because most of it is rounding: double precision"),
        (
            said(relaxation=0.5),
            {"solver": {"kind": "fixed_iterations"}},
            "nothing is changed, because most of it is relaxation: a smaller solver.tolerance, or more steps",
        ),
        (
            said(nudge=0.5),
            {"estimator": {"kind": "holomorphic", "nudge": "auto", "tolerance": 0.1}},
            "nothing is changed, because most of it is nudge: a smaller nudge or more points",
        ),
        (said(limit=math.nan) | {"gradient_bar_limit": None}, {}, "cannot be told, and nothing is changed"),
    ],
)
def test_what_no_number_mends_is_said_and_nothing_is_changed(metrics, sections, words):
    before = Adjustment.none(jnp.float64)
    after, told = before.after(metrics, 0.02, components(**sections))
    assert words in told and bool(told) == bool(words)
    assert float(after.nudge) == 1 and float(after.tolerance) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("accuracy") / "run"
    asked = config(estimator={"kind": "centered", "nudge": 0.9}, training={"epochs": 5, "gradient_tolerance": 0.03})
    return out, asked, train(asked, out, dataset=DATA)


def lines(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_training_ends_with_the_accuracy_asked_for(trained):
    out, _, _ = trained
    first, *_, last = lines(out)
    assert first["gradient_bar_limit"] > 0.03 and first["nudge_factor"] < 1 and "the nudge is" in first["adjusted"]
    assert (
        last["gradient_bar_limit"] <= 0.03
        and last["gradient_bar_causes"]["nudge"] < first["gradient_bar_causes"]["nudge"]
    )
    found = load(out, dataset=DATA)
    assert math.isclose(float(found.adjustment.nudge), last["nudge_factor"], rel_tol=1e-6)


@pytest.mark.slow
def test_a_run_that_is_interrupted_goes_on_with_what_had_been_changed(trained, tmp_path):
    """Bit for bit: what was changed is part of the checkpoint."""
    out, asked, summary = trained

    class Stop(Callback):
        def on_epoch(self, metrics, system):
            del system
            if metrics["epoch"] == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(asked, tmp_path / "run", dataset=DATA, callbacks=[Stop()])
    again = resume(tmp_path / "run", dataset=DATA)
    assert again | {"seconds": 0} == summary | {"seconds": 0}
    assert [line["nudge_factor"] for line in lines(tmp_path / "run")] == [line["nudge_factor"] for line in lines(out)]
    assert RunDirectory.open(out).checkpoints.about().epoch == 5


@pytest.mark.slow
def test_lanes_are_adjusted_each_by_itself():
    system = ep.from_force(lambda p, u, x: x @ p - u, jnp.eye(2), initial_state=jnp.zeros(2))
    x = np.random.default_rng(0).normal(size=(40, 2))
    told = []
    found = ep.fit_lanes(
        system, (x, 2 * x), estimator=[ep.Centered(0.9), ep.Centered(0.05)], epochs=2, batch_size=10, quiet=True,
        gradient_tolerance=0.05, solver=ep.GaussSeidel(tolerance=1e-9), callbacks=[told.append],
    )  # fmt: skip
    assert found[0].history[0]["nudge_factor"] < 1 and found[1].history[-1]["nudge_factor"] == 1


def test_what_cannot_be_asked_for():
    system = ep.from_force(lambda p, u, x: x @ p - u, jnp.eye(2), initial_state=jnp.zeros(2))
    x = jnp.ones((20, 2))
    for value, samples, words in ((0.0, 16, "must be above 0"), (0.1, 0, "needs samples to audit")):
        with pytest.raises(InputError, match=words):
            ep.fit(system, (x, x), batch_size=10, gradient_tolerance=value, audit_samples=samples, quiet=True)
    assert jax.process_count() == 1


def test_there_is_something_to_do_about_every_cause():
    assert set(MENDS) == set(CAUSES)
