"""The configuration: TOML there and back, what is refused, old names, and that every option reaches an object."""

import tomllib
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equiprop.errors import InputError, RenamedWarning
from equiprop.experiment import SECTIONS, Choice, Config, TrainingSettings, all_keys, differences, overlaid
from equiprop.experiment import _legacy as legacy
from equiprop.numerics.settings import build, defaults_of, settings_of

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
KINDS = [(section, kind) for section, (family, _) in SECTIONS.items() for kind in family.members()]


def value_of(setting):
    """Values that a setting may have in a file, allowed or not: what is allowed is the class's own matter."""
    match setting.type:
        case "number":
            found = st.floats(allow_nan=False)
        case "count":
            found = st.integers(-(2**31), 2**31)
        case "flag":
            found = st.booleans()
        case "counts":
            found = st.lists(st.integers(0, 1000), max_size=3).map(tuple)
        case "numbers":
            found = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=2)
        case "part":
            found = table_of(setting.part)
        case _:
            found = st.text(max_size=8)
    return st.just(setting.word) | found if isinstance(setting.word, str) else found


def table_of(member):
    return st.fixed_dictionaries({name: value_of(setting) for name, setting in settings_of(member).items()})


@st.composite
def configurations(draw):
    tables = {"dataset": draw(st.text(max_size=8)), "training": draw(table_of(TrainingSettings))}
    for section, (family, _) in SECTIONS.items():
        kind, member = draw(st.sampled_from(sorted(family.members().items())))
        tables[section] = {"kind": kind} | draw(table_of(member))
    return tables


@given(configurations())
def test_toml_round_trip(tables):
    config = Config.from_mapping(tables)
    assert config.to_mapping() == tables
    assert Config.from_mapping(tomllib.loads(config.to_toml())) == config


@pytest.mark.parametrize(("section", "kind"), KINDS)
def test_the_defaults_of_every_kind_are_those_of_its_class(section, kind):
    chosen = Choice.of(section, {"kind": kind})
    made = chosen.create()
    usual = {"clip": float("inf")} if section == "reference" else {}
    assert chosen.values == defaults_of(type(made)) | usual
    assert Choice.of_object(section, made).to_mapping() == chosen.to_mapping()


def test_complete_defaults_are_written():
    written = tomllib.loads(Config().to_toml())
    assert set(written) == {"dataset", *SECTIONS, "training"}
    assert written["reference"]["linear_solver"]["restart"] == 20
    assert "points" not in written["estimator"]


def test_a_partial_file_keeps_the_defaults(tmp_path):
    (tmp_path / "c.toml").write_text('dataset = "mnist"\n[estimator]\nnudge = 1\n')
    config = Config.from_file(tmp_path / "c.toml")
    assert config.dataset == "mnist" and config.estimator.values["nudge"] == 1.0
    assert config.system == Config().system
    assert sorted(differences(config, Config())) == ["dataset", "estimator.nudge"]


def test_files_are_found_relative_to_the_configuration(tmp_path):
    (tmp_path / "c.toml").write_text(
        '[system]\nkind = "network"\ntopology = "graph.toml"\n[estimator]\nkind = "mine.py:Mine"\n'
    )
    (tmp_path / "mine.py").write_text(
        "import equiprop as ep\n\nclass Mine(ep.AbstractEstimator):\n"
        "    size: ep.Number = ep.number(2.0)\n    def respond(self, problem): ...\n"
    )
    config = Config.from_file(tmp_path / "c.toml")
    assert config.system.values["topology"] == str(tmp_path / "graph.toml")
    assert config.estimator.kind == f"{tmp_path / 'mine.py'}:Mine"
    assert config.estimator.values["size"] == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datset = 'mnist'", "there is no key 'datset': the keys are.*did you mean 'dataset'"),
        ("[estimator]\nnudges = 1.0", r"estimator: there is no key 'nudges'.*did you mean 'nudge'"),
        ("[training]\nlearning_rate = 1.0", r"training: there is no key 'learning_rate'.*'optimizer.learning_rate'"),
        ("[estimator]\nnudge = '1'", r"estimator\.nudge = '1': must be a number"),
        (
            "[estimator]\nkind = 'holomorphic'\npoints = 2.5",
            r"estimator\.points = 2\.5: must be a whole number or 'auto'",
        ),
        ("[estimator]\npoints = 2", r"estimator\.points: is not used by estimator\.kind = 'centered', .*holomorphic"),
        ("[training]\nepochs = true", r"training\.epochs = true: must be a whole number"),
        ("[homeostasis]\nkind = 'jacobian'\nnorm_term = 1", r"homeostasis\.norm_term = 1: must be true or false"),
        ("[system]\nhidden = [1.5]", r"system\.hidden = \[1\.5\]: must be a list of whole numbers"),
        ("system = 3", r"system = 3: must be a table \[system\]"),
        ("[optimizer]\nlearning_rates = {a = 'x'}", "learning_rates.*must be a table of numbers"),
        ("[estimator]\nnudge = {schedule = 'cosine', from = 1}", r"estimator\.nudge: a schedule needs.*to is missing"),
        ("[estimator]\nnudge = {schedule = 'sine', from = 1, to = 0}", r"estimator\.nudge.*'sine': is not known"),
        ("[estimator]\nkind = 'no_module:Mine'", r"estimator\.kind = 'no_module:Mine'.*cannot be imported"),
        (
            "[estimator]\nkind = 'equiprop.solvers:Jacobi'",
            r"estimator\.kind = .*is not a subclass of AbstractEstimator",
        ),
        ("a = = b", "is not valid TOML"),
    ],
)
def test_refused(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        Config.from_file(tmp_path / "c.toml")
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read"):
        Config.from_file(tmp_path / "nowhere.toml")


def test_another_kind_keeps_the_settings_that_it_takes_and_leaves_the_others_behind():
    base = {"estimator": {"kind": "holomorphic", "points": 4, "nudge": "auto", "clip": 3.0, "tolerance": 0.1}}
    found = overlaid(base, {"estimator.kind": "centered"})["estimator"]
    assert found == {"kind": "centered", "clip": 3.0, "tolerance": 0.1}
    assert overlaid(base, {"estimator.kind": "adjoint"})["estimator"] == {
        "kind": "adjoint",
        "clip": 3.0,
        "tolerance": 0.1,
    }
    assert overlaid(base, {"estimator.nudge": 0.3})["estimator"]["nudge"] == 0.3
    # What is asked for beside the new kind is kept, to be refused.
    asked = overlaid(base, {"estimator.kind": "adjoint", "estimator.points": 8})
    with pytest.raises(InputError, match=r"estimator\.points: is not used by estimator\.kind = 'adjoint'"):
        Config.from_mapping(asked)


def test_what_a_file_says_stays_where_it_is_only_a_default_of_its_kind():
    """A run's own configuration holds every key: there a default is nobody's wish."""
    base = {"estimator": {"kind": "centered", "nudge": 0.05}}
    assert Config.from_mapping(overlaid(base, {"estimator.kind": "holomorphic"})).estimator.values["nudge"] == 0.05
    assert Config.from_mapping(base).changed({"estimator.kind": "holomorphic"}).estimator.values["nudge"] == 0.1
    own = {"estimator": {"kind": "centered", "nudge": 0.3}}
    assert Config.from_mapping(own).changed({"estimator.kind": "holomorphic"}).estimator.values["nudge"] == 0.3


@pytest.mark.slow
def test_every_estimator_stands_on_the_settings_of_every_experiment():
    """As `equiprop bench` and `compare` have them: no setting of one kind gets in the way of another."""
    for file in sorted(EXPERIMENTS.glob("*.toml")):
        config = Config.from_file(file)
        for kind in SECTIONS["estimator"][0].members():
            config.estimator.switched(kind).create()


OLD = """
[estimator]
kind = "holomorphic"
max_gain = 3.0
jumped = "keep"
krylov = {restart = 7}
[solver]
kind = "synchronous"
coarse = "bfloat16"
[homeostasis]
kind = "jacobian"
strength = 2.0
schedule = "hold_symmetry"
target = 0.9
"""


def test_old_names_are_read_and_the_new_ones_said_once(monkeypatch):
    monkeypatch.setattr(legacy, "_told", set())
    with pytest.warns(RenamedWarning) as told:
        config = Config.from_mapping(tomllib.loads(OLD))
    messages = [str(each.message) for each in told]
    assert "estimator.max_gain is now called estimator.clip" in messages and len(messages) == 6
    assert config.estimator.values["clip"] == 3.0 and config.estimator.values["branch_switch"] == "keep"
    assert config.solver.kind == "jacobi" and config.solver.values["low_precision_start"] == "bfloat16"
    assert config.reference.values["linear_solver"]["restart"] == 7
    strength = config.homeostasis.create().strength
    assert (strength.hold, float(strength.target), float(strength.start)) == ("symmetry", pytest.approx(0.9), 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Config.from_mapping(tomllib.loads(OLD))


@pytest.mark.parametrize(
    ("schedule", "values"), [("cosine", (2.0, 1.0, 0.0)), ("linear", (2.0, 1.0, 0.0)), ("warmup", (0.0, 2.0, 2.0))]
)
def test_old_schedules_are_tables_now(schedule, values):
    table = {"kind": "jacobian", "strength": 2.0, "schedule": schedule}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)
        strength = Config.from_mapping({"homeostasis": table}).homeostasis.create().strength
    assert [float(strength(at)) for at in (_at(0), _at(0.5), _at(1))] == pytest.approx(values, abs=1e-12)


def _at(progress):
    import jax.numpy as jnp

    return jnp.asarray(float(progress))


def test_the_complete_configuration_of_an_old_run_is_read():
    """It holds the settings of all kinds at their defaults; those that its kinds do not take fall away."""
    data = {
        "estimator": {"kind": "centered", "nudge": 0.05, "points": 6, "terms": 20, "max_gain": 2.0},
        "solver": {"kind": "fixed_step", "damping": "auto", "depth": 3, "coarse": "none"},
        "homeostasis": {"kind": "none", "strength": "auto", "schedule": "constant", "target": 0.95, "probes": 5},
        "system": {"kind": "mlp", "preset": "published", "topology": ""},
    }
    config = Config.from_mapping(data, complete=True)
    assert config.estimator.values["clip"] == 2.0 and config.solver.kind == "fixed_iterations"
    with pytest.raises(InputError, match="there is no key 'nonsense'"):
        Config.from_mapping({"estimator": {"nonsense": 1}}, complete=True)


def test_keys_are_told_over_all_sections():
    keys = all_keys()
    assert {"optimizer.learning_rate", "estimator.points", "training.seed", "solver.depth"} <= set(keys)
    assert {"hardware.mismatch.gain", "estimator.linear_solver.tolerance"} <= set(keys)


def test_what_had_no_effect_in_an_old_run_is_not_kept():
    """Today it is refused, by the name of what it needs."""
    data = {"estimator": {"kind": "centered", "shrink": 0.5, "retries": 7, "branch_switch": "keep"}}
    values = Config.from_mapping(data, complete=True).estimator.values
    assert (values["shrink"], values["retries"], values["branch_switch"]) == (0.25, 2, "keep")
    with pytest.raises(InputError, match=r"^estimator\.(retries|shrink) = .*: has no effect without tolerance"):
        Config.from_mapping(data).estimator.create()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 1000, r"is not valid TOML \(tables or lists are nested"),
        ("[training]\nseed = " + "9" * 400, r"is not valid TOML \(a whole number has more than 64 bits\)"),
        ("[training]\nepochs = 4294967296", r"epochs = 4294967296: must be below 2\^32"),
        (
            "[hardware.quantisation]\nbits = 8",
            r"hardware\.quantisation: is not used by hardware\.kind = 'perfect'.* or choose device",
        ),
        ("[system]\nhidden = [4294967296]", r"system\.hidden = .*: must be a list of whole numbers below 2\^32"),
        ('"a\\nb" = 1', r"there is no key 'a\\nb'"),
    ],
    ids=range(6),
)
def test_hostile_configurations_are_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        config = Config.from_file(tmp_path / "c.toml")
        build(TrainingSettings, config.training)
    assert "\n" not in str(refused.value)


def test_a_mark_at_the_beginning_says_only_that_it_is_utf_8(tmp_path):
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf[training]\r\nepochs = 3\r\n")
    assert Config.from_file(tmp_path / "c.toml").training["epochs"] == 3
