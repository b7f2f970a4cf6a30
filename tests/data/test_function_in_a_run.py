"""A run on a user's own dataset is read, evaluated and continued from any folder, with the same source only."""

import dataclasses
import json
from pathlib import Path

import pytest

from equiprop.errors import InputError
from equiprop.experiment import Config, RunDirectory, load, resume, train
from equiprop.kinds import source_digest
from toy import config, dataset

SOURCE = """\
from toy import dataset


def make():
    return dataset(7)
"""
SYSTEM = """\
from equiprop.systems import mlp


def make(inputs, outputs, *, key):
    return mlp(16, [4], outputs, key=key)
"""
CONNECTION = """\
from dataclasses import dataclass

from equiprop.systems import AbstractOperation


@dataclass(frozen=True)
class Gains(AbstractOperation):
    weight_shape, fan_in = (1, 1), 1

    def apply(self, weight, r):
        return r[:, :3] * weight
"""
GRAPH = """\
populations = {input.size = 16, output.size = 3}
connections = [{source = "input", target = "output", feedback = "none", kind = "my_connection.py:Gains"}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the sources in it."""
    folder = tmp_path / "own work"
    folder.mkdir()
    (folder / "my_data.py").write_text(SOURCE)
    (folder / "my_net.py").write_text(SYSTEM)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(folder)
    return folder


def on_own_data(**sections) -> Config:
    training = {"epochs": 1, "diagnostic_samples": 0}
    return dataclasses.replace(config(training=training, **sections), dataset="my_data.py:make")


@pytest.mark.slow
def test_a_run_is_found_and_continued_from_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = train(on_own_data(), "run")
    monkeypatch.chdir(folder.parent / "elsewhere")
    restored = load(folder / "run")
    assert restored.epoch == 1
    assert restored.trainer.config.dataset == f"{folder}/my_data.py:make"
    assert (restored.trainer.dataset.test.x == dataset(7).test.x).all()
    again = resume(folder / "run")
    assert again["test_error_percent"] == summary["test_error_percent"]


def test_the_digest_of_the_source_is_recorded_and_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RunDirectory.create("run", on_own_data(), dataset(7).info, "").unlock()
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert manifest["sources"] == {f"{folder}/my_data.py:make": source_digest("my_data.py:make")}
    monkeypatch.chdir(folder.parent / "elsewhere")
    run = RunDirectory.open(folder / "run")
    assert run.resolved_config() == run.config
    (folder / "my_data.py").write_text(SOURCE + "\n")
    with pytest.raises(InputError, match=r"my_data\.py:make: its source has changed since the run in .* began"):
        run.resolved_config()


def test_a_system_of_the_users_own_is_found_from_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Config.from_mapping({"dataset": "my_data.py:make", "system": {"kind": "my_net.py:make"}})
    RunDirectory.create("run", own, dataset(7).info, "").unlock()
    monkeypatch.chdir(folder.parent / "elsewhere")
    assert RunDirectory.open(folder / "run").resolved_config().system.kind == f"{folder}/my_net.py:make"


def test_in_a_configuration_file_it_lies_beside_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own.toml").write_text('dataset = "my_data.py:make"\n')
    monkeypatch.chdir(folder.parent)
    assert Config.from_file("own work/own.toml").dataset == f"{folder}/my_data.py:make"


@pytest.mark.slow
def test_what_a_graph_names_lies_beside_it_and_is_recorded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph that the run keeps finds the class from anywhere, too."""
    (folder / "my_connection.py").write_text(CONNECTION)
    (folder / "graph.toml").write_text(GRAPH)
    monkeypatch.chdir(folder.parent)
    own = {"dataset": "own work/my_data.py:make", "training": {"epochs": 1, "diagnostic_samples": 0}}
    tables = own | {"system": {"kind": "network", "topology": "own work/graph.toml"}}
    train(Config.from_mapping(tables), "run")
    sources = json.loads((folder.parent / "run" / "manifest.json").read_text())["sources"]
    assert sources[f"{folder}/my_connection.py:Gains"] == source_digest(f"{folder}/my_connection.py:Gains")
    monkeypatch.chdir("elsewhere")
    (folder / "graph.toml").unlink()
    assert set(load(folder.parent / "run").system.weights) == {"input->output"}
    (folder / "my_connection.py").write_text(CONNECTION + "\n")
    with pytest.raises(InputError, match=r"my_connection\.py:Gains: its source has changed since the run in .* began"):
        load(folder.parent / "run")
