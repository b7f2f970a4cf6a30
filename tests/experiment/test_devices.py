"""The same weights on one device, on several, and in pieces; and what is refused."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.experiment import Trainer
from equiprop.training import Placement
from toy import config, dataset

DATA = dataset()
STEPS = 3
# Some samples of a batch are excluded, so that its pieces do not count alike where the sum is divided by what is kept.
OPTIONS = {"training": {"batch_size": 16, "precision": "float64"}, "estimator": {"clip": 0.7, "clipped": "drop"}}

RUN = """
import sys
sys.path.insert(0, sys.argv[1])
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
import numpy as np
from test_devices import trained
from equiprop.errors import InputError
assert jax.device_count() == 4
np.savez(sys.argv[2], *trained(devices=0), *trained(devices=2, micro_batches=2))
try:
    trained(batch_size=18)
except InputError as error:
    print(error)
"""


def trained(divide_by="kept", **training):
    """The weights after a few steps."""
    estimator = OPTIONS["estimator"] | {"divide_by": divide_by}
    options = {"training": OPTIONS["training"] | training, "estimator": estimator}
    trainer = Trainer(config(**options), DATA)
    state = trainer.advance(trainer.initial_train_state(), trainer.samples, STEPS)
    assert 0 < int(state.totals.counts["excluded"]) < STEPS * trainer.settings.batch_size
    return [np.asarray(a) for a in jax.tree.leaves(state.system)]


@pytest.fixture(scope="module")
def alone():
    return trained()


def same(ours, theirs):
    return all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.slow
def test_in_pieces(alone):
    assert same(trained(micro_batches=4), alone)
    by_batch = trained("batch")
    assert same(trained("batch", micro_batches=4), by_batch) and not same(by_batch, alone)


@pytest.mark.slow
def test_four_devices_and_two_in_two_pieces(alone, tmp_path):
    here = Path(__file__).parent
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(here), os.environ.get("PYTHONPATH")])),
    }
    answer = subprocess.run(
        [sys.executable, "-c", RUN, str(here.parent), str(tmp_path / "weights.npz")],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert answer.returncode == 0, answer.stderr
    found = list(np.load(tmp_path / "weights.npz").values())
    assert same(found[: len(alone)], alone) and same(found[len(alone) :], alone)
    assert "training.batch_size: 18 samples at once do not divide among 4 devices" in answer.stdout


def test_a_process_without_a_device_is_refused(monkeypatch):
    devices = [SimpleNamespace(process_index=index) for index in (0, 0, 1, 1)]
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(InputError, match=r"^devices = 2: leaves 1 of 2 processes without a device"):
        Placement.over(2, 16)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"micro_batches": 3}, "training.micro_batches = 3: must divide training.batch_size = 16"),
        ({"micro_batches": 0}, "training.micro_batches = 0: must be at least 1"),
        ({"devices": 5}, "training.devices = 5: there are 1; write 0 for all of them"),
        ({"devices": -1}, "training.devices = -1: must be at least 0"),
    ],
)
def test_refused(training, message):
    with pytest.raises(InputError, match=message):
        trained(**training)
