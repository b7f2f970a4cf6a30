"""Classes that are their own configuration: numbers as leaves, ranges and words, files, schedules."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.estimators import ESTIMATORS, Adjoint, Centered, ContinuousTime
from equiprop.hardware import Device, Drift, Lines
from equiprop.numerics import (
    Number,
    Schedule,
    Settings,
    choice,
    constant,
    count,
    counts,
    flag,
    is_schedule,
    number,
    part,
    resolve,
    text,
)
from equiprop.numerics.schedules import FunctionSchedule
from equiprop.numerics.settings import build, decode, defaults_of, encode, settings_of
from equiprop.solvers import GMRES, ODE, SOLVERS, GaussSeidel
from equiprop.systems import RECIPES


class Inner(Settings):
    size: Number = number(0.5, "A size.", above=0)
    many: int = count(3, "How many.")


class Outer(Settings):
    """One field of each kind."""

    kind: ClassVar[str] = "outer"

    nudge: Number | None = number(0.1, "A nudge.", nonzero=True, word="auto")
    damping: Number = number(0.0, "A share.", at_least=0, below=1)
    clip: Number | None = number(100.0, "A bound.", above=0, word=math.inf)
    noise: Number | None = number(0.0, "A spread.", at_least=0, word=0)
    steps: int = count(20, "Steps.")
    samples: int | str = count(5, "Samples.", at_least=0, word="auto")
    policy: str = choice("keep", "What to do.", "keep", "drop")
    shared: bool | str = flag("auto", "Whether shared.", word="auto")
    name: str = text("", "A name.")
    hidden: tuple[int, ...] = counts((2, 3), "Sizes.")
    gain: float = constant(1.0, "A gain.", above=0)
    inner: Inner = part(Inner, "More.")


NUMBERS = ("nudge", "damping", "clip", "noise")


def test_numbers_are_leaves_and_everything_else_is_structure():
    a, b = Outer(), Outer(nudge=0.3, damping=0.5, clip=2.0, inner=Inner(0.7))
    assert jax.tree.structure(a) == jax.tree.structure(b) and len(jax.tree.leaves(a)) == 4
    assert all(leaf.shape == () and leaf.weak_type for leaf in jax.tree.leaves(b))
    for other in (
        Outer(steps=3),
        Outer(policy="drop"),
        Outer(gain=2.0),
        Outer(nudge="auto"),
        Outer(inner=Inner(many=4)),
    ):
        assert jax.tree.structure(other) != jax.tree.structure(a)


def test_a_new_number_compiles_nothing_and_a_new_count_does():
    traces = []

    @eqx.filter_jit
    def run(settings, x):
        traces.append(settings.steps)
        return settings.nudge * x + settings.inner.size

    assert np.isclose(run(Outer(nudge=0.1), jnp.ones(())), 0.6)
    assert np.isclose(run(Outer(nudge=0.2, inner=Inner(2.0)), jnp.ones(())), 2.2)
    assert np.isclose(run(Outer(nudge=0.25, damping=0.5), jnp.ones(())), 0.75)
    assert traces == [20]
    run(Outer(steps=7), jnp.ones(()))
    assert traces == [20, 7]


def test_a_number_takes_the_precision_of_what_it_meets():
    nudge: Any = Outer(nudge=0.1).nudge
    assert (nudge * jnp.ones(2, jnp.float32)).dtype == jnp.float32
    assert (nudge * jnp.ones(2, jnp.float64)).dtype == jnp.float64


def test_vmap_over_a_number_is_a_sweep():
    nudges = jnp.asarray([0.1, 0.2, 0.4])

    def squared(n: Any) -> Any:
        nudge: Any = Outer(nudge=n).nudge
        return nudge**2

    assert np.allclose(jax.vmap(squared)(nudges), nudges**2)
    swept = jax.vmap(lambda n: Outer(nudge=n))(nudges)
    assert np.array_equal(swept.nudge, nudges) and swept.steps == 20
    assert np.allclose(eqx.filter_vmap(lambda s: 2 * s.nudge)(swept), 2 * nudges)


def test_numbers_are_differentiated():
    gradient = eqx.filter_grad(lambda s: s.nudge**2 + 3 * s.inner.size)(Outer(nudge=0.5))
    assert np.isclose(gradient.nudge, 1.0) and np.isclose(gradient.inner.size, 3.0)


def test_numbers_are_checked_inside_of_compiled_functions_where_they_are_known():
    assert np.isclose(jax.jit(lambda x: x * Outer(nudge=0.2).nudge)(2.0), 0.4)
    with pytest.raises(InputError, match=r"^damping = 1\.0: must be"):
        jax.jit(lambda x: x * Outer(damping=1.0).damping)(2.0)
    # A number that is not known yet is taken as it is.
    assert np.isclose(jax.jit(lambda n: Outer(damping=n).damping)(7.0), 7.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nudge": 0.0}, "nudge = 0.0: must be a finite number other than 0, or 'auto'"),
        ({"nudge": math.nan}, "nudge = nan: must be a finite number other than 0, or 'auto'"),
        ({"nudge": math.inf}, "nudge = inf: must be a finite number"),
        ({"nudge": "automatic"}, "nudge = 'automatic': must be a number or 'auto'"),
        ({"nudge": True}, "nudge = True: must be a number or 'auto'"),
        ({"damping": 1.0}, "damping = 1.0: must be at least 0 and below 1"),
        ({"damping": -0.25}, "damping = -0.25: must be at least 0 and below 1"),
        ({"damping": "auto"}, "damping = 'auto': must be a number"),
        ({"damping": None}, "damping = None: must be a number"),
        ({"damping": [0.1]}, r"damping = \[0.1\]: must be a number"),
        (
            {"damping": jnp.zeros(2)},
            r"damping: is an array of shape \[2\]: must be a single number; use jax.vmap for several",
        ),
        ({"clip": 0}, "clip = 0.0: must be a finite number above 0, or inf"),
        ({"clip": -math.inf}, "clip = -inf: must be a finite number above 0, or inf"),
        ({"noise": -1}, "noise = -1.0: must be a finite number at least 0, or 0"),
        ({"steps": 0}, "steps = 0: must be at least 1"),
        ({"steps": 2.5}, "steps = 2.5: must be a whole number"),
        ({"steps": "many"}, "steps = 'many': must be a whole number"),
        ({"steps": True}, "steps = True: must be a whole number"),
        ({"samples": -1}, "samples = -1: must be at least 0, or 'auto'"),
        ({"samples": "some"}, "samples = 'some': must be a whole number or 'auto'"),
        ({"policy": "dorp"}, "policy = 'dorp': is not known; choose one of keep, drop; did you mean 'drop'?"),
        ({"shared": "yes"}, "shared = 'yes': must be true or false or 'auto'"),
        ({"shared": 1}, "shared = 1: must be true or false or 'auto'"),
        ({"name": 3}, "name = 3: must be text"),
        ({"hidden": (2, 0.5)}, r"hidden = \(2, 0.5\): must be a list of whole numbers"),
        ({"gain": 0.0}, "gain = 0.0: must be a finite number above 0"),
        ({"gain": "high"}, "gain = 'high': must be a number"),
        ({"gain": math.inf}, "gain = inf: must be a finite number above 0"),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused_by_the_name_of_its_field(monkeypatch, given, message):
    import jaxtyping

    # As users have it: no annotation is enforced.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match=f"^{message}") as error:
        Outer(**given)
    assert error.value.path == tuple(given) and "\n" not in str(error.value)


def test_words_that_mean_off_or_automatic():
    assert Outer(nudge="auto").nudge is None and encode(Outer(nudge="auto"))["nudge"] == "auto"
    assert Outer(clip=math.inf).clip is None and encode(Outer(clip=math.inf))["clip"] == math.inf
    assert Outer(noise=0).noise is None and Outer(noise=0.0).noise is None and Outer(noise=0.1).noise is not None
    assert encode(Outer(noise=0.0))["noise"] == 0
    assert Outer(nudge=None).nudge is None
    assert Outer(samples="auto").samples == "auto" and Outer(shared=True).shared is True


def test_numbers_of_every_type_are_taken():
    for value in (1, 1.0, np.float64(1), np.float32(1), np.asarray(1.0), jnp.asarray(1.0)):
        assert float(Outer(clip=value).clip) == 1
    assert not jnp.issubdtype(jnp.asarray(Outer(clip=2).clip).dtype, jnp.integer)


FILE = {
    "nudge": 0.3,
    "damping": {"schedule": "linear", "from": 0.5, "to": 0.0},
    "clip": 2,
    "noise": 0.25,
    "steps": 7,
    "samples": "auto",
    "policy": "drop",
    "shared": False,
    "name": "mine",
    "hidden": [4, 5],
    "gain": 0.1,
    "inner": {"size": {"schedule": "cosine", "from": 1, "to": 0.1}, "many": 2},
}


def test_a_file_is_decoded_built_and_written_again():
    decoded = decode(Outer, FILE)
    assert decoded["clip"] == 2.0 and isinstance(decoded["clip"], float) and decoded["hidden"] == (4, 5)
    made = build(Outer, decoded)
    assert is_schedule(made.damping) and is_schedule(made.inner.size) and made.inner.many == 2
    written = encode(made)
    assert written == FILE | {"hidden": (4, 5)} and list(written) == list(FILE)
    again = build(Outer, decode(Outer, written))
    assert eqx.tree_equal(again, made)


def test_numbers_are_written_as_they_were_given():
    """0.1, not 0.10000000149, in single precision too."""
    for value in (0.1, 1e-4, 1 / 3, 1e10):
        assert encode(Outer(nudge=value))["nudge"] == value
        assert encode(Outer(nudge=jnp.asarray(value, jnp.float32)))["nudge"] == pytest.approx(value, rel=1e-7)
    assert encode(Outer(nudge=jnp.asarray(0.1, jnp.float32)))["nudge"] == 0.1


@pytest.mark.parametrize(
    "cls",
    [cls for family in (SOLVERS, ESTIMATORS, RECIPES) for cls in family.members().values()] + [Outer, Inner, GMRES],
    ids=lambda cls: cls.__name__,
)
def test_every_default_survives_a_file(cls):
    made = cls()
    assert encode(made) == defaults_of(cls)
    assert eqx.tree_equal(build(cls, decode(cls, encode(made))), made)
    assert all(setting.doc for setting in settings_of(cls).values())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"nudgee": 1}, "there is no key 'nudgee': the keys are nudge, .*; did you mean 'nudge'?"),
        ({"steps": 2.0}, "steps = 2.0: must be a whole number"),
        ({"steps": True}, "steps = True: must be a whole number"),
        ({"nudge": "automatic"}, "nudge = 'automatic': must be a number or 'auto'"),
        ({"nudge": True}, "nudge = True: must be a number or 'auto'"),
        ({"nudge": [0.1]}, r"nudge = \[0.1\]: must be a number or 'auto'"),
        ({"shared": "yes"}, "shared = 'yes': must be true or false or 'auto'"),
        ({"hidden": 4}, "hidden = 4: must be a list of whole numbers"),
        ({"name": 4}, "name = 4: must be text"),
        ({"inner": 4}, "inner = 4: must be a table"),
        ({"inner": {"size": "big"}}, "inner.size = 'big': must be a number"),
        ({"inner": {"siez": 1}}, "inner: there is no key 'siez': the keys are size, many; did you mean 'size'?"),
        (
            {"damping": {"schedule": "linaer", "from": 1, "to": 0}},
            "damping.schedule = 'linaer': is not known; choose one of linear, cosine, warmup; did you mean 'linear'?",
        ),
        (
            {"damping": {"schedule": "linear", "from": 1}},
            "damping: a schedule needs the keys schedule, from and to; to is missing",
        ),
        ({"damping": {"schedule": "linear", "from": "1", "to": 0}}, "damping.from = '1': must be a number"),
        ({"damping": {"shape": "linear"}}, "damping: there is no key 'shape': the keys are schedule, from, to"),
    ],
    ids=str,
)
def test_what_is_wrong_in_a_file_is_refused_by_its_place(data, message):
    with pytest.raises(InputError, match=f"^{message}"):
        decode(Outer, data)


def test_a_key_of_another_place_is_pointed_out():
    with pytest.raises(InputError, match=r"did you mean 'optimizer\.learning_rate'\?"):
        decode(Outer, {"learning_rate": 1}, elsewhere=["optimizer.learning_rate"])


def test_what_is_out_of_range_in_a_part_is_refused_by_its_place():
    with pytest.raises(InputError, match=r"^inner\.size = 0\.0: must be a finite number above 0$"):
        build(Outer, decode(Outer, {"inner": {"size": 0}}))


@pytest.mark.parametrize("given", [8, None, {"size": 1.0}, Inner])
def test_a_part_of_another_class_is_refused(given):
    with pytest.raises(InputError, match=r"^inner = .*: must be an object such as Inner\(\)$"):
        Outer(inner=given)


def test_a_class_of_plain_annotated_fields():
    """A user's own needs none of the functions that make fields."""

    @dataclass(frozen=True)
    class Plain:
        width: float = 1.5
        many: int = 3
        on: bool = True
        word: str = "a"
        sizes: tuple[int, ...] = (1, 2)
        rates: dict[str, float] | None = None
        other: object = None

    assert {name: s.type for name, s in settings_of(Plain).items()} == {
        "width": "number",
        "many": "count",
        "on": "flag",
        "word": "text",
        "sizes": "counts",
    }
    assert defaults_of(Plain) == {"width": 1.5, "many": 3, "on": True, "word": "a", "sizes": (1, 2)}
    made = build(Plain, decode(Plain, {"width": 2, "sizes": [3], "on": False}))
    assert made == Plain(2.0, 3, False, "a", (3,)) and isinstance(made.width, float)
    with pytest.raises(InputError, match=r"^many = 1\.5: must be a whole number$"):
        decode(Plain, {"many": 1.5})
    with pytest.raises(InputError, match="there is no key 'other': the keys are width, many, on, word, sizes"):
        decode(Plain, {"other": 1})


def test_a_solver_of_plain_annotated_fields_is_its_own_configuration():
    class Mine(GaussSeidel):
        patience: float = 2.0
        rounds: int = eqx.field(default=4, static=True)

    made = build(Mine, decode(Mine, {"patience": 3, "rounds": 5, "tolerance": 1e-6}))
    assert made.patience == 3.0 and made.rounds == 5 and np.isclose(made.tolerance, 1e-6)
    written = encode(made)
    assert written["patience"] == 3.0 and written["rounds"] == 5 and written["tolerance"] == 1e-6
    with pytest.raises(InputError, match=r"^rounds = 'many': must be a whole number$"):
        decode(Mine, {"rounds": "many"})


def test_the_keyword_parameters_of_a_function_are_its_settings():
    def make(inputs, outputs, *, key, width: int = 3, gain=1.5, tied=False, activation="tanh", sizes=(1,)):
        raise AssertionError

    types = {"width": "count", "gain": "number", "tied": "flag", "activation": "text", "sizes": "counts"}
    assert {name: s.type for name, s in settings_of(make).items()} == types
    assert defaults_of(make) == {"width": 3, "gain": 1.5, "tied": False, "activation": "tanh", "sizes": (1,)}
    assert decode(make, {"width": 5, "gain": 2}) == {"width": 5, "gain": 2.0}
    with pytest.raises(InputError, match="there is no key 'key'"):
        decode(make, {"key": 1})


def test_settings_are_shown_as_they_would_be_written():
    assert repr(Inner(0.25)) == "Inner(size=0.25, many=3)"
    assert repr(GaussSeidel(tolerance=1e-4)).startswith("GaussSeidel(damping='auto', low_precision_start='none')")
    assert "tolerance=1e-06" in repr(GaussSeidel(tolerance=1e-6))
    assert "clip=inf" in repr(Centered(clip=math.inf)) and repr(Adjoint())
    assert "damping={'schedule': 'linear'" in repr(Outer(damping=Schedule("linear", 0.5, 0.0)))


PROGRESS = np.linspace(0, 1, 41)


@pytest.mark.parametrize(
    ("shape", "share"),
    [
        ("linear", lambda p: p),
        ("cosine", lambda p: (1 - np.cos(np.pi * p)) / 2),
        ("warmup", lambda p: np.minimum(10 * p, 1)),
    ],
)
@pytest.mark.parametrize(("start", "end"), [(0.5, 0.05), (0.0, 2.0), (-1.0, 1.0), (3.0, 3.0)])
def test_schedules_are_their_closed_form(shape, share, start, end):
    schedule = Schedule(shape, start, end)
    expected = start + (end - start) * share(PROGRESS)
    assert np.allclose(jax.vmap(schedule)(jnp.asarray(PROGRESS)), expected, atol=1e-12)
    assert np.allclose([float(schedule(jnp.asarray(p))) for p in PROGRESS[::10]], expected[::10], atol=1e-12)
    assert schedule.table() == {"schedule": shape, "from": start, "to": end}


def test_a_schedule_ends_where_it_is_to_end_and_stays_there():
    for shape in ("linear", "cosine", "warmup"):
        schedule = Schedule(shape, 0.5, 0.05)
        assert np.isclose(schedule(jnp.asarray(0.0)), 0.5) and np.isclose(schedule(jnp.asarray(1.0)), 0.05)
        assert np.isclose(schedule(jnp.asarray(1.5)), 0.05)
        assert schedule(jnp.asarray(0.3, jnp.float32)).dtype == jnp.float32


def test_an_unknown_shape_is_refused():
    with pytest.raises(
        InputError, match=r"^schedule = 'cosin': is not known; choose one of .*; did you mean 'cosine'\?$"
    ):
        Schedule("cosin", 1.0, 0.0)


def test_schedules_are_resolved_to_the_numbers_of_their_moment():
    made = Outer(nudge=Schedule("linear", 0.4, 0.2), inner=Inner(lambda p: 1 + p))
    assert is_schedule(made.nudge) and isinstance(made.inner.size, FunctionSchedule)
    here: Any = resolve(made, 0.5)
    assert np.isclose(here.nudge, 0.3) and np.isclose(here.inner.size, 1.5)
    assert not any(map(is_schedule, jax.tree.leaves(here, is_leaf=is_schedule)))
    assert np.isclose(here.damping, 0.0) and here.steps == made.steps
    assert eqx.tree_equal(resolve(Outer(), 0.5), Outer())
    tree = {"a": [Schedule("cosine", 1.0, 0.0), 3], "b": jnp.ones(2)}
    found = resolve(tree, 0.5)
    assert np.isclose(found["a"][0], 0.5) and found["a"][1] == 3 and found["b"] is tree["b"]


def test_a_schedule_is_followed_inside_of_one_compiled_function():
    traces = []

    @eqx.filter_jit
    def run(settings, progress):
        traces.append(1)
        return resolve(settings, progress).nudge

    made = Outer(nudge=Schedule("linear", 0.4, 0.2))
    found = [float(run(made, jnp.asarray(p))) for p in (0.0, 0.5, 1.0)]
    other = float(run(Outer(nudge=Schedule("linear", 1.0, 0.0)), jnp.asarray(0.5)))
    assert np.allclose(found, [0.4, 0.3, 0.2]) and np.isclose(other, 0.5) and traces == [1]


def test_a_schedule_that_depends_on_more_than_progress_is_left():
    class Stateful(Schedule):
        stateful: ClassVar[bool] = True

    made = Outer(nudge=Stateful("linear", 1.0, 0.0))
    assert resolve(made, 0.5).nudge is made.nudge


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ContinuousTime(largest_lag=0.125),
            "largest_lag = 0.125: has no effect without drive=oscillating; set drive = oscillating, or leave largest_lag out",
        ),
        (lambda: ODE(steps=5, accuracy=0.5), "accuracy = 0.5: has no effect without steps=auto"),
        (lambda: Lines(tile=32), "tile = 32: has no effect without resistance"),
        (lambda: Drift(time=60.0), "time = 60.0: has no effect without exponent or spread"),
        (lambda: Device(full_scale=1.0, headroom=3.0), "headroom = 3.0: has no effect without full_scale=auto"),
    ],
)
def test_what_would_have_no_effect_is_refused(make, message):
    with pytest.raises(InputError, match=f"^{message}"):
        make()


def test_what_one_of_two_settings_makes_effective_is_taken():
    assert Drift(time=60.0, spread=0.1).time == 60 and Drift(time=60.0, exponent=0.1).time == 60
    assert float(ContinuousTime(drive="oscillating", largest_lag=0.125).largest_lag) == 0.125
