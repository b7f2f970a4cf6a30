"""What is scheduled changes over the whole of training, not over an epoch."""

import json

import pytest

import toy
from equiprop.experiment import train


@pytest.mark.slow
def test_a_schedule_goes_on_from_epoch_to_epoch(tmp_path):
    strength = {"schedule": "linear", "from": 2.0, "to": 1.0}
    config = toy.config(homeostasis={"strength": strength}, training={"epochs": 3})
    train(config, tmp_path / "run", dataset=toy.dataset())
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    # 120 samples in batches of 20: six steps an epoch, eighteen in all.
    expected = [sum(2.0 - (6 * epoch + step) / 18 for step in range(6)) / 6 for epoch in range(3)]
    assert [line["homeostasis_strength"] for line in metrics] == pytest.approx(expected, rel=1e-5)
