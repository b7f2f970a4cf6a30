"""Runs of version 0.1 are read as those of today: other names of fractions, every setting of every kind, no labels."""

import json
import tomllib
from pathlib import Path

import pytest

from equiprop.reporting import charts, comparison_rows, html_report, in_todays_names, read_run

# Excerpts of what version 0.1 wrote, with numbers that tell the fractions from one another.
CONFIG = """\
dataset = "digits"

[system]
kind = "mlp"
hidden = [8]
activation = "shifted_sigmoid"
preset = "published"
feedback = "untied"
weight_angle = 90.0
topology = ""

[solver]
kind = "alternating"
coarse = "none"

[estimator]
kind = "centered"
nudge = 0.05
points = 6
terms = 20
max_gain = 2.0
unsettled = "drop"

[estimator.krylov]
restart = 20

[homeostasis]
kind = "none"
strength = "auto"
schedule = "constant"

[training]
epochs = 2
"""
MANIFEST = {"versions": {"equiprop": "0.1.0"}, "device": "cpu", "citations": ["Scellier & Bengio 2017"]}
FRACTIONS = {
    "settled_fraction": 0.9,
    "out_of_steps_fraction": 0.08,
    "unsettled_fraction": 0.1,
    "bounded_fraction": 0.03,
    "jumped_fraction": 0.02,
    "left_out_fraction": 0.12,
    "oscillating_fraction": 0.01,
    "inaccurate_fraction": 0.04,
    "retried_fraction": 0.05,
}
TODAY = {
    "converged_fraction": 0.9,
    "max_steps_fraction": 0.08,
    "unconverged_fraction": 0.1,
    "clipped_fraction": 0.03,
    "branch_switch_fraction": 0.02,
    "excluded_fraction": 0.12,
    "oscillating_fraction": 0.01,
    "inaccurate_fraction": 0.04,
    "retried_fraction": 0.05,
}


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.toml").write_text(CONFIG)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    lines = [json.dumps({"epoch": epoch, "train_loss": 1.0 / epoch, **FRACTIONS}) + "\n" for epoch in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    summary = {"test_error_percent": 10.0, "epochs": 2, "estimator": "centered", "homeostasis": "none", **FRACTIONS}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _with(folder: Path, *replaced: tuple[str, str]) -> Path:
    file = folder / "config.toml"
    text = file.read_text()
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    return folder


def test_fractions_of_samples_have_todays_names(old_run: Path) -> None:
    run = read_run(old_run)
    assert run.metrics == [{"epoch": epoch, "train_loss": 1.0 / epoch, **TODAY} for epoch in (1, 2)]
    assert run.summary is not None
    assert {key: run.summary[key] for key in TODAY} == TODAY
    assert not (set(FRACTIONS) - set(TODAY)) & set(run.summary)
    assert run.warnings == ()


def test_todays_names_stay_as_they_are() -> None:
    assert in_todays_names(TODAY) == TODAY


def test_the_table_and_the_figure_show_the_fractions(old_run: Path) -> None:
    run = read_run(old_run)
    values = comparison_rows([run])[0].values
    assert (values["converged_percent"], values["excluded_percent"]) == (90.0, 12.0)
    (chart,) = [chart for chart in charts([run]) if chart.name == "equilibrium"]
    told = " ".join([*chart.flat, *(panel.title for panel in chart.panels)])
    for title in ("converged", "max steps", "unconverged", "clipped", "branch switch", "excluded"):
        assert title in told


def test_an_old_run_is_described_by_the_settings_that_it_read(old_run: Path) -> None:
    page = html_report([read_run(old_run)])
    assert (
        "an mlp (8 hidden units, feedback weights started 90° from the forward ones) trained on digits by "
        "centered (|β|=0.05) without homeostasis: 10.00 % test error after 2 epochs, 90.0 % of samples converged, "
        "12.0 % excluded from the gradient."
    ) in page


def test_an_old_convolutional_run_is_described_by_its_preset(old_run: Path) -> None:
    page = html_report([read_run(_with(old_run, ('kind = "mlp"', 'kind = "cnn"')))])
    assert "a cnn (published, feedback weights started 90° from the forward ones)" in page


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("one_sided", "one sided (|β|=0.05)"),
        ("holomorphic", "holomorphic (N=6, |β|=0.05)"),
        ("continuous_time", "continuous time (N=6, |β|=0.05)"),
        ("corrected", "corrected (N=6, |β|=0.05)"),
        ("dyadic", "dyadic (|β|=0.05)"),
        ("adjoint", "adjoint"),
        ("neumann", "neumann"),
    ],
)
def test_the_table_shows_the_settings_that_an_old_estimator_read(old_run: Path, kind: str, shown: str) -> None:
    run = read_run(_with(old_run, ('kind = "centered"', f'kind = "{kind}"')))
    assert comparison_rows([run])[0].cells[1].text == shown


def test_the_configuration_is_shown_as_it_was_written(old_run: Path) -> None:
    assert read_run(old_run).config == tomllib.loads(CONFIG)
