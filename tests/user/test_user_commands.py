"""Every command, one after the other, on the same run."""

import json
import shutil

import numpy as np
import pytest
from commands import SMALL, UNDIAGNOSED, equiprop, same

pytestmark = pytest.mark.slow


# The schedule of a longer run is another, unless the learning rate stays as it is.
CONSTANT = (*SMALL, "--optimizer.schedule", "constant")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("user") / "run"
    said = equiprop("train", *CONSTANT, "--out", out)
    assert "epoch 2/2" in said and f"run directory: {out}" in said
    return out


def test_evaluate_and_report(run):
    assert "digits test" in equiprop("evaluate", run)
    assert "report.html" in equiprop("report", run)
    assert json.loads(equiprop("runs", run.parent, "--json"))["runs"][0]["state"] == "finished"


def test_resume_for_more_epochs_is_the_longer_run(run, tmp_path):
    shutil.copytree(run, tmp_path / "short")
    equiprop("train", "--resume", tmp_path / "short", "--epochs", 3, "--quiet")
    equiprop("train", *CONSTANT, *UNDIAGNOSED, "--epochs", 3, "--out", tmp_path / "long")
    assert same(tmp_path / "short", tmp_path / "long")


def test_predict_and_export(run, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((3, 8, 8), np.uint8))
    equiprop("predict", run, tmp_path / "images.npy", "--out", tmp_path / "found.npz")
    assert len(np.load(tmp_path / "found.npz")["label"]) == 3
    equiprop("export", run, "--out", tmp_path / "weights.safetensors")
    assert (tmp_path / "weights.safetensors").stat().st_size > 1000


def test_doctor():
    said = {each["part"]: each for each in json.loads(equiprop("doctor", "--json"))["findings"]}
    assert said["gradient"]["holds"].startswith("as by linear algebra, to ")
    assert said["two devices"]["holds"] == "a training on two is that on one"
    assert not any(each["fault"] for each in said.values())


def test_several_seeds(tmp_path):
    equiprop("train", *SMALL, *UNDIAGNOSED, "--seeds", 2, "--out", tmp_path / "run")
    assert "2 seeds: error" in equiprop("evaluate", tmp_path / "run")


def test_output_of_every_command_in_another_encoding(run):
    """What it has not becomes a question mark: an epoch's bar, a table's rule, the symbols of a sentence."""
    assert "adjoint" in equiprop("compare", run, "--samples", 10, encoding="ascii")
    assert "10 validation samples" in equiprop("diagnose", run, "--samples", 10, encoding="ascii")
    for command in (("evaluate", run), ("report", run), ("runs", run.parent), ("verify", run), ("train", "--help")):
        assert equiprop(*command, encoding="ascii").strip(), command
    for encoding in ("cp1252", "latin-1"):
        assert equiprop("runs", run.parent, encoding=encoding).strip()
