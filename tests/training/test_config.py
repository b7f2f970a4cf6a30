"""The configuration: TOML there and back, what is refused, and that every option reaches an object."""

import dataclasses
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equiprop.errors import InputError
from equiprop.training.config import Config, differences

finite = st.floats(allow_nan=False, allow_infinity=False)


def strategy_for(default):
    match default:
        case "auto":
            # Where a default is this word, it is also allowed where only numbers are beside it.
            return st.just("auto")
        case bool():
            return st.booleans()
        case int():
            return st.integers(-(2**31), 2**31)
        case float():
            return st.floats(allow_nan=False)
        case str():
            return st.text(max_size=8)
        case tuple():
            return st.lists(st.integers(0, 1000), max_size=3).map(tuple)
        case dict():
            return st.dictionaries(st.text(max_size=5), finite, max_size=2)
    return st.fixed_dictionaries({f.name: strategy_for(getattr(default, f.name)) for f in dataclasses.fields(default)})


@given(strategy_for(Config()))
def test_toml_round_trip(mapping):
    config = Config.from_mapping(mapping)
    assert config.to_mapping() == mapping
    assert Config.from_mapping(tomllib.loads(config.to_toml())) == config


def test_complete_defaults_are_written():
    written = tomllib.loads(Config().to_toml())
    assert set(written) == {"dataset", "system", "solver", "estimator", "homeostasis", "optimizer", "training"}
    assert written["estimator"]["krylov"]["restart"] == 20


def test_partial_file_keeps_defaults(tmp_path):
    (tmp_path / "c.toml").write_text('dataset = "mnist"\n[estimator]\nnudge = 1\n')
    config = Config.from_file(tmp_path / "c.toml")
    assert config.dataset == "mnist" and config.estimator.nudge == 1.0
    assert config.system == Config().system
    assert sorted(differences(config, Config())) == ["dataset", "estimator.nudge"]


def test_topology_path_is_relative_to_the_file(tmp_path):
    (tmp_path / "c.toml").write_text('[system]\ntopology = "graph.toml"\n')
    assert Config.from_file(tmp_path / "c.toml").system.topology == str(tmp_path / "graph.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datset = 'mnist'", "there is no key 'datset': the keys are.*did you mean 'dataset'"),
        ("[estimator]\nnudges = 1.0", r"there is no key 'estimator\.nudges'.*did you mean 'estimator.nudge'"),
        ("[estimator]\nnudge = '1'", r"estimator\.nudge = '1': must be a number"),
        ("[estimator]\npoints = 2.5", r"estimator\.points = 2\.5: must be a whole number"),
        ("[training]\nepochs = true", r"training\.epochs = True: must be a whole number"),
        ("[homeostasis]\nnorm_term = 1", r"homeostasis\.norm_term = 1: must be true or false"),
        ("[system]\nhidden = [1.5]", r"system\.hidden = \[1\.5\]: must be a list of whole numbers"),
        ("system = 3", r"system = 3: must be a table \[system\]"),
        ("[optimizer]\nlearning_rates = {a = 'x'}", "learning_rates.*must be a table of numbers"),
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


def test_configuration_does_not_wait_for_jax():
    code = "import sys; from equiprop.training.config import Config; Config(); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
