"""A few steps of every estimator, and of every kind of system, as trials of a sweep, and on two devices."""

import json

import numpy as np
import pytest
from commands import UNDIAGNOSED, equiprop

from equiprop.estimators import ESTIMATORS
from equiprop.systems import RECIPES

pytestmark = pytest.mark.slow

CLAMPING = {"clamped_response", "contrastive_hebbian", "coupled_learning"}

BASE = """
sampler = "grid"
out = {out}

[config]
dataset = "digits"

[config.system]
{system}

[config.training]
epochs = 1
limit = 40
batch_size = 20
diagnostic_samples = 0
audit_samples = 0

[parameters]
{key} = {values}
"""

MLP = 'kind = "mlp"\nhidden = [4]'


def trained(tmp_path, key, values, system=MLP):
    """A sweep over kinds: none fails, and each ends with a summary that can be read."""
    file = tmp_path / "sweep.toml"
    named = {"system": system, "key": json.dumps(key), "values": json.dumps(values)}
    file.write_text(BASE.format(out=json.dumps(str(tmp_path / "sweep")), **named))
    trials = json.loads(equiprop("sweep", file, "--json"))["trials"]
    assert {trial["values"][key]: trial["state"] for trial in trials} == dict.fromkeys(values, "complete"), trials


def test_every_estimator(tmp_path):
    trained(tmp_path, "estimator.kind", sorted(set(ESTIMATORS.members()) - CLAMPING))


def test_estimators_that_clamp(tmp_path):
    trained(tmp_path, "estimator.kind", sorted(CLAMPING), f'{MLP}\ncost = "squared_error"')


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
    "mlp": ("--system.hidden", "4"),
    "loop": ("--system.hidden", 4, 4),
    "cnn": ("--system.preset", "small"),
    "network": (),
}


@pytest.mark.parametrize("kind", RECIPES.members())
def test_every_kind_of_system_on_two_devices(tmp_path, kind):
    options = SYSTEMS[kind]
    if kind == "network":
        (tmp_path / "graph.toml").write_text(GRAPH)
        options = ("--system.topology", tmp_path / "graph.toml")
    dataset = "digits"
    if kind == "cnn":
        dataset, draw = tmp_path / "images.npz", np.random.default_rng(0)
        np.savez(dataset, x=draw.integers(0, 256, (60, 32, 32, 1), np.uint8), y=np.arange(60) % 10)
    few = ("--dataset", dataset, "--training.limit", 40, "--training.batch-size", 20, "--epochs", 1, *UNDIAGNOSED)
    equiprop(
        "train", "--system.kind", kind, *options, *few, "--training.devices", 2, "--out", tmp_path / "run", devices=2
    )
    assert (tmp_path / "run" / "summary.json").is_file()
