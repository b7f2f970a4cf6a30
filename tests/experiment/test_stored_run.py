"""A run directory written by version 0.2: whatever changes in the code, what keeps its names keeps it readable.

Made by `equiprop train --dataset digits --training.limit 400 --training.batch-size 20 --epochs 30 --hidden 4
--training.diagnostic-samples 0 --training.audit-samples 0 --optimizer.learning-rate 0.2`. Another format needs another folder
beside it, not another one in its place.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import equiprop as ep
from equiprop.errors import InputError, ScheduleWarning
from equiprop.experiment import check_run, resume
from equiprop.reporting import read_run

STORED = Path(__file__).parent / "stored_run"


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(STORED, tmp_path / "run"))


@pytest.mark.slow
def test_it_is_whole_and_evaluates_as_then(run):
    found = [*check_run(run, data=True)]
    assert len(found) == 11 and not any(finding.fault for finding in found)
    told = read_run(run).summary
    assert told is not None
    for checkpoint, name in (("last", "test_error_percent"), ("best", "best_test_error_percent")):
        loaded = ep.load(run, checkpoint=checkpoint)
        # One of 360 samples may be decided by rounding.
        assert abs(loaded.evaluate("test")["error_percent"] - told[name]) < 0.3, checkpoint


@pytest.mark.slow
def test_it_goes_on(run):
    before = read_run(run).metrics
    with pytest.warns(ScheduleWarning):
        ended = resume(run, changes={"training.epochs": 31})
    history = read_run(run).metrics
    assert history[:30] == before and history[30]["epoch"] == 31 and ended["epochs"] == 31
    assert history[30]["train_loss"] < 1.1 * before[-1]["train_loss"]


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": "x"}, {"epoch": "9" * 5000}, {"epoch": "-30"}, {"step": "1.5"}, {"seconds": "x"}, {"seconds": "nan"},
        {"config": "[1]"}, {"config": '{"training": 3}'}, {"config": '{"system": {"kind": ["mlp"]}}'}, {"config": "{"},
        {"digest": ""}, {"format": "2"},
    ],
)  # fmt: skip
def test_what_a_checkpoint_says_of_itself_in_another_type_is_refused(run, changes):
    for path in (run / "checkpoints").glob("*.safetensors"):
        with safe_open(path, "numpy") as file:
            said = file.metadata()
        save_file(load_file(path), path, said | changes)
    with pytest.raises(InputError, match=r"checkpoint .*(cannot be read|is damaged|belongs to another)") as stop:
        ep.load(run)
    assert "\n" not in str(stop.value)


def test_its_arrays_have_the_names_of_then():
    """Those of the system; other programs read them."""
    names = {
        name: array.shape
        for name, array in load_file(max((STORED / "checkpoints").glob("best-*"))).items()
        if name.startswith("system.")
    }
    loaded = ep.load(STORED, checkpoint="best").system
    assert names == {
        "system.biases.hidden_1": (4,), "system.biases.output": (10,), "system.cost.bias": (10,),
        "system.cost.weight": (10, 10), "system.weights.hidden_1->output": (4, 10),
        "system.weights.input->hidden_1": (64, 4), "system.weights.output->hidden_1": (4, 10),
    }  # fmt: skip
    assert np.isfinite(np.asarray(loaded.weights["input->hidden_1"])).all()
