"""A few steps of every kind of system but the one that the other files train, on two devices; and convolutions that learn."""

import json

import pytest
from commands import UNDIAGNOSED, equiprop

from equiprop.systems import RECIPES

pytestmark = pytest.mark.slow

GRAPH = """
[populations]
input = {size = 64}
hidden = {size = 4, activation = "shifted_sigmoid"}
output = {size = 10, activation = "shifted_sigmoid"}

[[connections]]
source = "input"
target = "hidden"
feedback = "none"

[[connections]]
source = "hidden"
target = "output"
"""
SYSTEMS = {
    "loop": ("--system.hidden", 4, 4),
    "cnn": ("--system.preset", "tiny"),
    "network": (),
    "resistive": ("--system.hidden", 4),
}


def test_every_kind_is_tried():
    assert set(RECIPES.members()) == {"mlp", *SYSTEMS}


@pytest.mark.parametrize("kind", SYSTEMS)
def test_every_kind_of_system_on_two_devices(tmp_path, kind):
    options = SYSTEMS[kind]
    if kind == "network":
        (tmp_path / "graph.toml").write_text(GRAPH)
        options = ("--system.topology", tmp_path / "graph.toml")
    few = ("--dataset", "digits", "--training.limit", 8, "--training.batch-size", 4, "--epochs", 1, *UNDIAGNOSED)
    out = ("--training.devices", 2, "--out", tmp_path / "run")
    equiprop("train", "--system.kind", kind, *options, *few, *out, devices=2)
    assert (tmp_path / "run" / "summary.json").is_file()


def test_the_smallest_convolutions_learn_with_nothing_else_said(tmp_path):
    few = ("--dataset", "digits", "--epochs", 15, *UNDIAGNOSED)
    equiprop("train", "--system.kind", "cnn", "--system.preset", "tiny", *few, "--out", tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["test_error_percent"] < 30
