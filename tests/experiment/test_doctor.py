"""What `equiprop doctor` finds, and finds wrong."""

import dataclasses
import importlib.metadata
import subprocess

import jax
import pytest

from equiprop.experiment import _doctor, examine


@pytest.fixture
def quick(monkeypatch):
    """Without the process in which two devices train, which `tests/user` has."""
    monkeypatch.setattr(_doctor, "_two_devices", lambda: "left out")


def found():
    return {each.part: each for each in examine()}


def faults():
    return {part: each.fault for part, each in found().items() if each.fault}


def test_nothing_is_wrong(quick):
    parts = found()
    assert not faults()
    assert {
        "Python",
        "jax",
        "equinox",
        "devices",
        "compiled programs",
        "data",
        "gradient",
        "two devices",
    } <= parts.keys()
    assert parts["jax"].holds == jax.__version__ and parts["extra sweep"].holds == "here"
    assert "digits" in parts["data"].holds


def test_a_gradient_that_is_off_by_a_thousandth(quick, monkeypatch):
    estimate = _doctor.estimate

    def off(*given, **options):
        answer = estimate(*given, **options)
        return dataclasses.replace(answer, gradient=jax.tree.map(lambda g: 1.001 * g, answer.gradient))

    monkeypatch.setattr(_doctor, "estimate", off)
    assert faults()["gradient"].endswith("is off that of linear algebra by 1.0e-03 of its length")


def test_what_is_not_installed(quick, monkeypatch):
    version = importlib.metadata.version

    def without(name):
        if name in ("optax", "optuna"):
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert faults() == {"optax": "is not installed"}
    assert found()["extra sweep"].holds == "not here: optuna (pip install 'equiprop[sweep]')"


def test_data_that_are_cut_short(quick, monkeypatch, tmp_path):
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/train-images-idx3-ubyte.gz").write_bytes(b"short")
    assert "train-images-idx3-ubyte.gz is corrupt: " in faults()["data"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (subprocess.TimeoutExpired("python", 300), "a training on two devices has not ended after 300 s"),
        (
            subprocess.CompletedProcess("python", 1, "", "Traceback\nAssertionError: 0.5"),
            "a training on two devices is not that on one: AssertionError: 0.5",
        ),
        (
            subprocess.CompletedProcess("python", -9, "", ""),
            "a training on two devices is not that on one: it said nothing",
        ),
    ],
)
def test_two_devices_that_differ_or_hang(monkeypatch, answer, told):
    def run(*_, **__):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(_doctor, "_gradient", lambda: "left out")
    assert faults() == {"two devices": told}
