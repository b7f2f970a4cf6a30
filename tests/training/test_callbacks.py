"""What callbacks are told, and that they stop a training: in one go or in two."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import equiprop as ep
import toy
from equiprop.errors import ExclusionWarning, GradientWarning, InputError
from equiprop.estimators import CAUSES
from equiprop.experiment import Trainer, resume, train
from equiprop.systems import mlp
from equiprop.training import Callback, EarlyStopping, Memory, Plan, as_callback, run
from equiprop.training.callbacks import Warnings

DATA = toy.dataset()
QUIET = {"diagnostic_samples": 0}
SYSTEM = mlp(2, (2,), 2, key=jax.random.key(0))


class Recorder(Callback):
    def __init__(self):
        self.told = []

    def on_start(self, plan):
        self.told.append(("start", plan.epoch, len(plan.history), plan.settings["estimator"]["kind"]))

    def on_steps(self, epoch, step, loss):
        assert np.isfinite(loss)

    def on_epoch(self, metrics, system):
        self.told.append(("epoch", metrics["epoch"]))

    def on_end(self, reason):
        self.told.append(("end", reason))


def seen(callback, values):
    callback.on_start(Plan(10, 1, 0, 0, (), {}))
    return [callback.on_epoch({"validation_loss": value}, SYSTEM) for value in values]


def test_patience():
    assert seen(EarlyStopping(patience=2), [3.0, 2.0, 2.5, 1.0, 1.0, 1.2])[-2:] == [
        None,
        "validation_loss has not improved for 2 epochs",
    ]
    assert seen(EarlyStopping(patience=1, least=0.5), [3.0, 2.4, 2.0])[1:] == [
        None,
        "validation_loss has not improved for 1 epoch",
    ]
    assert seen(EarlyStopping(patience=1, larger_is_better=True), [1.0, 2.0, 1.5])[1] is None
    assert seen(EarlyStopping(patience=2), [1.0, None, None])[-1] is not None
    with pytest.raises(InputError, match=r"monitor = 'validation_los': .*did you mean 'validation_loss'"):
        seen(EarlyStopping("validation_los"), [1.0])
    with pytest.raises(InputError, match="patience = 0: must be at least 1"):
        EarlyStopping(patience=0)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    out, recorder = tmp_path_factory.mktemp("runs") / "run", Recorder()
    never_better = EarlyStopping("train_loss", patience=1, least=100.0)
    settings = toy.config(training=QUIET | {"epochs": 5})
    return out, recorder, train(settings, out, dataset=DATA, callbacks=[recorder, never_better]), settings


@pytest.mark.slow
def test_a_stopped_run_is_finished(stopped):
    out, recorder, summary, _ = stopped
    # The first epoch is always better than nothing.
    assert summary["epochs"] == 2 and (out / "summary.json").is_file()
    assert recorder.told == [
        ("start", 0, 0, "centered"),
        ("epoch", 1),
        ("epoch", 2),
        ("end", "train_loss has not improved for 1 epoch"),
    ]


@pytest.mark.slow
def test_and_stays_so_where_it_is_resumed(stopped):
    """Whatever callbacks it is given then."""
    out, _, summary, _ = stopped
    again = resume(out, dataset=DATA)
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in summary.items() if k != "seconds"}


def test_a_function_of_the_metrics_is_a_callback_and_may_stop(stopped):
    _, _, _, settings = stopped
    trainer, epochs = Trainer(settings, DATA), []

    def function(metrics):
        epochs.append(metrics["epoch"])
        return "enough" if len(epochs) == 3 else None

    ending = run(trainer, Memory(), trainer.initial_train_state(), callbacks=[as_callback(function)])
    assert epochs == [1, 2, 3] and ending.stopped == ["enough"] and len(ending.histories[0]) == 3
    for wrong in ("early_stopping", EarlyStopping):
        with pytest.raises(InputError, match=r"callbacks = .*is no callback; give an object of a subclass"):
            as_callback(wrong)


@pytest.mark.slow
def test_an_averaged_system_is_evaluated():
    """The average by hand; a constant decay from the start would hold on to the first weights for a thousand steps."""
    trainer = Trainer(toy.config(training=QUIET), DATA)
    averaged = trainer.components.replace(average=jnp.asarray(0.9))
    object.__setattr__(trainer, "components", averaged)
    state = trainer.initial_train_state()
    expected = [np.asarray(a) for a in jax.tree.leaves(state.average)]
    for taken in range(4):
        state = trainer.advance(state, trainer.samples, 1)
        decay = min(0.9, (1 + taken) / (10 + taken))
        now = [np.asarray(a) for a in jax.tree.leaves(state.system) if jnp.issubdtype(a.dtype, jnp.inexact)]
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, now, strict=True)]
    found = jax.tree.leaves(state.average)
    assert all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(found, expected, strict=True))
    assert not np.allclose(found[0], jax.tree.leaves(state.system)[0], rtol=1e-5)
    ours, theirs = jax.tree.leaves(state.evaluated), found
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=False))


@pytest.mark.slow
def test_that_many_samples_are_excluded_is_said_once_and_why():
    """Three sweeps are enough for few, from the first epoch to the last; the others are kept where that was asked for."""
    hard = {"solver": {"max_steps": 3}, "training": QUIET}
    for policy, expected in (("drop", 1), ("keep", 0)):
        settings = toy.config(estimator={"unconverged": policy, "branch_switch": "keep"}, **hard)
        trainer = Trainer(settings, DATA)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            run(trainer, Memory(), trainer.initial_train_state())
        found = [str(each.message) for each in said if each.category is ExclusionWarning]
        assert len(found) == expected, found
        assert all(
            "samples of epoch 1 are excluded from the gradient (unconverged " in each
            and "clipped" not in each
            and "): shorter steps (damping, or relaxation of Anderson's solver) or more of them" in each
            for each in found
        )


def test_a_training_that_no_sample_is_in_says_that_it_learns_nothing():
    found = {"epoch": 3, "excluded_fraction": 1.0, "unconverged_fraction": 0.9, "clipped_fraction": 0.0}
    with pytest.warns(ExclusionWarning) as said:
        Warnings(ep.Centered()).on_epoch(found | {"branch_switch_fraction": 0.1, "inaccurate_fraction": 0.0}, SYSTEM)
    assert str(said[0].message).startswith(
        "none of the samples of epoch 3 is in the gradient (unconverged 90.0 %, branch_switch 10.0 %), so that nothing is "
        "learnt from the data: shorter steps (damping"
    )


def test_a_gradient_that_cannot_be_trusted_is_said_once_and_why():
    """One that may be off by more than it is long, or by any amount; of a training that goes on also what it said before."""
    causes = {"nudge": 0.2, "relaxation": 0.0, "rounding": 0.0, "noise": 0.0, "asymmetry": 1.3, "exclusion": None}

    def told(bars, history=()):
        warner = Warnings(ep.Centered())
        warner.on_start(Plan(10, 1, 0, 0, history, {}))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for epoch, bar in enumerate(bars, start=1):
                warner.on_epoch({"epoch": epoch, "gradient_bar": bar, "gradient_bar_causes": causes}, SYSTEM)
        assert all(each.category is GradientWarning for each in said)
        return [str(each.message) for each in said]

    (once,) = told([0.3, 1.4, 1.5])
    assert once == (
        "the gradient may be off the exact one by 140 % of that after epoch 2, most of it by asymmetry: homeostasis, or more of "
        "it, turns it towards the exact one; this is said once"
    )
    said = set()
    lanes = [Warnings(ep.Centered(), said) for _ in range(2)]
    with warnings.catch_warnings(record=True) as both:
        warnings.simplefilter("always")
        for lane, warner in enumerate(lanes):
            warner.on_start(Plan(10, 1, 0, 0, (), {}, lanes=2, lane=lane))
            warner.on_epoch({"epoch": 1, "gradient_bar": 1.4, "gradient_bar_causes": causes}, SYSTEM)
    assert [str(each.message).partition(":")[0] for each in both] == ["lane 1 of 2"]
    assert "off the exact one by any amount after epoch 1" in told([None])[0]
    assert (
        told([0.9, 1.0]) == [] and told([2.0], [{"epoch": 1, "gradient_bar": 3.0, "gradient_bar_causes": causes}]) == []
    )


@pytest.mark.slow
def test_the_bar_of_the_gradient_is_that_of_a_training_batch():
    """The response of tied weights is the exact one; that of untied ones, 90° from there, is not."""
    asymmetry = {}
    for feedback in ("tied", "untied"):
        settings = toy.config(
            system={"feedback": feedback}, homeostasis={"kind": "none"}, training=QUIET | {"epochs": 1}
        )
        trainer = Trainer(settings, DATA)
        (line,) = run(trainer, Memory(), trainer.initial_train_state()).histories[0]
        asymmetry[feedback] = line["gradient_bar_causes"]["asymmetry"]
        assert line["gradient_bar"] >= 0.9 * asymmetry[feedback]
        assert set(line["gradient_bar_causes"]) == set(CAUSES) and "input->hidden_1" in line["gradient_bar_of"]
    assert asymmetry["tied"] < 1e-3 and asymmetry["untied"] > 0.1
    trainer = Trainer(toy.config(training=QUIET | {"epochs": 1, "audit_samples": 0}), DATA)
    (line,) = run(trainer, Memory(), trainer.initial_train_state()).histories[0]
    assert "gradient_bar" not in line


def test_samples_that_are_left_over_are_told_once(capsys):
    """Also a single one; of batches as they come as well."""
    from equiprop.training import Progress

    def said(available, samples):
        Progress().on_start(Plan(2, 4, 0, 0, (), {}, samples_per_epoch=samples, available=available))
        return capsys.readouterr().out.splitlines()[0]

    assert said(60, 40) == "an epoch trains on 40 of 60 samples, those in whole batches"
    assert said(101, 100) == "an epoch trains on 100 of 101 samples, those in whole batches"
    assert said(40, 40).startswith("compiling") and said(None, 40).startswith("compiling")


@pytest.mark.slow
def test_how_many_samples_there_are_is_known_of_all_data(capsys):
    x, y = np.ones((25, 2), np.float32), np.zeros(25, int)
    batches = [(x[:10], y[:10]), (x[10:20], y[10:20]), (x[20:], y[20:])]
    seen = []

    class Recorder(Callback):
        def on_start(self, plan):
            seen.append((plan.samples_per_epoch, plan.available, plan.left_over))
            raise KeyboardInterrupt

    for data, more in (((x, y), {}), (batches, {"steps_per_epoch": 2}), (iter(batches), {"steps_per_epoch": 2})):
        with pytest.raises(KeyboardInterrupt):
            ep.fit(SYSTEM, data, batch_size=10, epochs=1, callbacks=[Recorder()], quiet=True, **more)
    assert seen == [(20, 25, 5), (20, 30, 10), (20, None, 0)]
    with pytest.raises(InputError, match="steps_per_epoch = 4: there are only 3 batches"):
        ep.fit(SYSTEM, batches, batch_size=10, steps_per_epoch=4, quiet=True)
    with pytest.raises(InputError, match="batch_size = 30: there are only 25 training samples; give at most 25"):
        ep.fit(SYSTEM, (x, y), batch_size=30, quiet=True)


def test_output_in_another_encoding_does_not_end_a_training(monkeypatch):
    import io

    from equiprop.training import Progress

    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    Progress().say("gradient ±3 % – β")
    assert written.getvalue() == b"gradient ?3 % ? ?\n"
