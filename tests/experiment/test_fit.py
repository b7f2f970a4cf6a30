"""`fit`: the same loop as a run's, for any system and any data."""

import signal
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import equiprop as ep
import toy
from equiprop.errors import InputError
from equiprop.experiment import Trainer, load, train

DATA = toy.dataset()
RNG = np.random.default_rng(0)
FEATURES, TARGETS = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 2))


class Hopfield(ep.System):
    """u̇ = −u + W·tanh(u) + B·x, read at its last two units."""

    weight: jax.Array
    inward: jax.Array
    cost: ep.AbstractCost

    def force(self, state, injection, only=None):
        return jnp.tanh(state) @ self.weight + injection - state

    def injection(self, x):
        return x @ self.inward

    def initial_state(self, x):
        return jnp.zeros((x.shape[0], 6), x.dtype)

    def activity(self, state):
        return jnp.tanh(state)

    def output(self, activity):
        return activity[:, -2:]


def hopfield(dtype=jnp.float64, seed=0):
    rng = np.random.default_rng(seed)
    return Hopfield(
        jnp.asarray(0.2 * rng.normal(size=(6, 6)), dtype),
        jnp.asarray(0.5 * rng.normal(size=(3, 6)), dtype),
        ep.SquaredError(),
    )


class Squashed(Hopfield):
    """The same, whose activation is a field, and no array."""

    squash: Callable[[jax.Array], jax.Array] = jnp.tanh

    def force(self, state, injection, only=None):
        return self.squash(state) @ self.weight + injection - state

    def activity(self, state):
        return self.squash(state)


def arrays(split):
    return (split.x / 255.0).astype(np.float32), split.y


def test_arrays_are_trained_on_as_a_run_is_bit_for_bit(tmp_path):
    settings = toy.config(training={"diagnostic_samples": 0, "precision": "float32"})
    train(settings, tmp_path / "run", dataset=DATA)
    trainer = Trainer(settings, DATA)
    parts = trainer.components
    found = ep.fit(
        trainer.system, arrays(DATA.train), validation=arrays(DATA.validation), estimator=parts.estimator,
        homeostasis=parts.homeostasis, solver=parts.solver, optimizer=parts.optimizer, epochs=3, batch_size=20,
        key=trainer.key, quiet=True,
    )  # fmt: skip
    expected = load(tmp_path / "run", dataset=DATA).system
    leaves = zip(jax.tree.leaves(found.system), jax.tree.leaves(expected), strict=True)
    assert all(np.array_equal(a, b) for a, b in leaves)
    assert found.history[-1]["validation_error_percent"] < 60 and found.ended == ""


def test_a_system_may_hold_functions():
    """As modules of Equinox do: they are no parameters, and no state."""
    plain = hopfield()
    system = Squashed(plain.weight, plain.inward, plain.cost)
    options = {"validation": (FEATURES[:20], TARGETS[:20]), "epochs": 2, "batch_size": 20, "quiet": True}
    options |= {"homeostasis": ep.JacobianHomeostasis(0.3), "average": 0.9, "diagnostic_samples": 10}
    a, b = (ep.fit(each, (FEATURES, TARGETS), **options).system for each in (system, plain))
    assert b.weight is not plain.weight and np.array_equal(a.weight, b.weight)
    assert a.squash is jnp.tanh


@pytest.mark.slow
def test_a_regression_by_a_system_of_ones_own(capsys):
    """The teacher is another system of the same kind; the loss falls by ten, in float64, by an optimizer of Optax."""
    teacher, pupil = hopfield(seed=1), hopfield(seed=2)
    y = teacher.output(teacher.activity(ep.relax(teacher, jnp.asarray(FEATURES), ep.GaussSeidel()).state))
    found = ep.fit(
        pupil, (FEATURES, np.asarray(y)), validation=(FEATURES[:20], np.asarray(y)[:20]), estimator=ep.Centered(0.05),
        optimizer=optax.adam(0.02), homeostasis=ep.NoHomeostasis(), epochs=15, batch_size=20, metrics=["mse"],
    )  # fmt: skip
    first, last = found.history[0], found.history[-1]
    assert last["validation_loss"] < 0.1 * first["validation_loss"]
    assert last["validation_mse"] == pytest.approx(last["validation_loss"], rel=1e-9)
    assert "train_error_percent" not in last and found.system.weight.dtype == jnp.float64
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("compiling ... ") and told[2].startswith("compiling what tells") and len(told) == 18
    assert "  gradient ±" in told[3] and last["gradient_bar"] > 0
    assert "validation_loss" in repr(found) and repr(found).startswith("FitResult(Hopfield after 15 epochs")


@pytest.mark.slow
def test_samples_that_are_fitted_stay_in_the_gradient():
    """Digits in single precision with weak feedback: of these 96 % were left out at the end."""
    system = ep.mlp(64, (64, 64, 64), 10, key=jax.random.key(0), dtype=jnp.float32, feedback_gain=0.05)
    found = ep.fit(
        system, ep.data.load("digits"), estimator=ep.Holomorphic(nudge="auto", points="auto", tolerance=0.01), epochs=20,
        batch_size=20, optimizer=ep.SGD(0.04, momentum=0.9), audit_samples=0, quiet=True,
    )  # fmt: skip
    assert found.history[-1]["train_loss"] < 1
    assert all(line["excluded_fraction"] == 0 for line in found.history)


@pytest.mark.slow
def test_batches_as_they_come():
    batches = [(FEATURES[i : i + 20], TARGETS[i : i + 20]) for i in (0, 20, 40)]
    options = {"epochs": 2, "homeostasis": ep.NoHomeostasis(), "quiet": True, "batch_size": 20}
    system = hopfield()
    a, b = (
        ep.fit(system, data, steps_per_epoch=steps, **options)
        for data, steps in ((batches, None), (iter_of(batches), 3))
    )
    assert np.array_equal(a.system.weight, b.system.weight) and not np.array_equal(a.system.weight, system.weight)
    with pytest.raises(
        InputError, match="ended after 0 batches of epoch 2, there were to be 3; give steps_per_epoch, and an"
    ):
        ep.fit(system, iter(batches), steps_per_epoch=3, **options)


@pytest.mark.slow
def test_two_outputs_soft_targets_and_a_function_as_transform():
    """Classes by weights and a regression at once, each output with its own cost; inputs by name."""

    def force(params, u, x):
        return jnp.tanh(u) @ params + jnp.concatenate([x["a"], x["b"]], axis=1) @ jnp.eye(3, 6) - u

    system = ep.from_force(
        force,
        jnp.asarray(0.1 * RNG.normal(size=(6, 6))),
        initial_state=jnp.zeros(6),
        output=lambda r: {"class": r[:, :3], "value": r[:, 3:5]},
        cost=ep.SumOfCosts({"class": ep.SoftmaxCrossEntropy(), "value": ep.SquaredError()}, {"value": 0.5}),
    )
    labels = np.eye(3)[np.argmax(FEATURES, axis=1)]
    y = {"class": 0.9 * labels + 0.1 / 3, "value": FEATURES[:, :2]}
    x = {"a": FEATURES[:, :2], "b": FEATURES[:, 2:]}
    wrong = lambda p, t: 100.0 * (p["class"].argmax(axis=-1) != t["class"].argmax(axis=-1))  # noqa: E731
    seen = []

    def doubled(x, y, *, key):
        seen.append(key)
        return {"a": 2 * x["a"], "b": 2 * x["b"]}, y

    found = ep.fit(
        system, (x, y), validation=(x, y), optimizer=ep.SGD(0.2), homeostasis=ep.NoHomeostasis(), epochs=5, batch_size=20,
        metrics={"wrong": wrong}, transforms=[doubled], quiet=True,
    )  # fmt: skip
    first, last = found.history[0], found.history[-1]
    assert seen and last["validation_loss"] < first["validation_loss"] and last["validation_wrong"] < 67
    with pytest.raises(InputError, match=r"target is \['class'\]: must be a dictionary of \['class', 'value'\]"):
        ep.fit(system, (x, {"class": y["class"]}), batch_size=20, quiet=True)


@pytest.mark.slow
def test_labels_that_a_transform_makes_weights_of_have_no_right_class_for_every_cost():
    """A squared error takes weights for a regression: training then has no error rate; validation, which sees labels, has."""
    labels = np.arange(60) % 2
    options = {"homeostasis": ep.NoHomeostasis(), "epochs": 1, "batch_size": 20, "quiet": True}
    smoothing = [ep.LabelSmoothing(0.1, classes=2)]
    found = ep.fit(hopfield(), (FEATURES, labels), validation=(FEATURES, labels), transforms=smoothing, **options)
    assert "train_error_percent" not in found.history[0] and "validation_error_percent" in found.history[0]
    assert "train_error_percent" in ep.fit(hopfield(), (FEATURES, labels), **options).history[0]


def iter_of(batches):
    class Again:
        def __iter__(self):
            return iter(batches)

    return Again()


def with_nan():
    x = FEATURES.copy()
    x[7, 1] = x[9, 0] = np.nan
    return x


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"data": (FEATURES, TARGETS[:59])},
            "data: differs in length: x has 60, y has 59; give one target for each input",
        ),
        ({"data": (FEATURES[:0], TARGETS[:0])}, "data.x: the batch holds no sample"),
        ({"data": (FEATURES, 1j * TARGETS)}, "data.y: is complex"),
        ({"data": (FEATURES,)}, r"data: batch 1 of epoch 1 is ndarray: must be \(x, y\)"),
        ({"data": (None, TARGETS)}, "data.x: holds no arrays"),
        ({"data": (FEATURES.tolist(), TARGETS)}, "data.x.0.0: is a single number; give arrays of numbers"),
        ({"data": (with_nan(), TARGETS)}, r"data.x: 2 of 180 numbers are not finite, the first at \[7, 1\]"),
        (
            {"data": (FEATURES, TARGETS[:, :1])},
            r"data: target of type float64 and shape \[1, 1\]: must be of the shape of",
        ),
        ({"data": (FEATURES, np.arange(60) % 3)}, "data.y: labels go from 0 to 2; the cost tells 2 classes apart"),
        ({"data": (FEATURES, TARGETS.astype(str))}, "data.y: holds <U"),
        ({"data": 3}, "data = 'int': is neither"),
        ({"data": iter_of([(FEATURES, TARGETS)])}, "data: does not say how many batches it has; give steps_per_epoch"),
        (
            {"data": [(FEATURES, TARGETS)]},
            "data: batch 1 of epoch 1 has 60 samples; all batches must have batch_size = 20",
        ),
        ({"validation": FEATURES}, r"validation = 'ndarray': must be \(x, y\)"),
        ({"optimizer": "adam"}, "optimizer = 'adam': is no optimizer; give one of Optax"),
        ({"estimator": "centered"}, r"estimator: must be an object such as ep.Centered\(\), not 'centered'"),
        (
            {"homeostasis": ep.NoHomeostasis},
            r"homeostasis: must be an object such as ep.AutoHomeostasis\(\), not <class",
        ),
        ({"system": 3}, r"system: must be a system such as ep.mlp\(...\)"),
        ({"metrics": ["mes"]}, "metrics = 'mes': .*did you mean 'mse'"),
        ({"batch_size": 100}, "batch_size = 100: there are only 60 training samples"),
    ],
)
def test_refused(given, message):
    options = {"data": (FEATURES, TARGETS), "batch_size": 20, "epochs": 1, "quiet": True} | given
    with pytest.raises(InputError, match=message):
        ep.fit(**({"system": hopfield()} | options))


@pytest.mark.slow
def test_ctrl_c_ends_it_with_the_result_of_then():
    def pressed(metrics):
        if metrics["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    found = ep.fit(
        hopfield(), (FEATURES, TARGETS), homeostasis=ep.NoHomeostasis(), epochs=5, batch_size=20, callbacks=[pressed],
        quiet=True,
    )  # fmt: skip
    assert [line["epoch"] for line in found.history] == [1, 2] and "interrupted" in found.ended
