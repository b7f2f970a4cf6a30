"""Small run directories, as training writes them."""

import json
from pathlib import Path
from typing import Any

from equiprop.reporting import Chart, Curve, Panel

CONFIG = """\
dataset = "digits"

[system]
kind = "mlp"
hidden = [16, 8]
weight_angle = 90.0

[estimator]
kind = "{estimator}"
{estimator_settings}

[homeostasis]
kind = "{homeostasis}"
{homeostasis_settings}

[training]
epochs = 3
seed = {seed}
"""
SETTINGS = {
    "holomorphic": "nudge = 0.5\npoints = 4",
    "centered": "nudge = 0.5",
    "adjoint": "",
    "jacobian": "strength = 0.1",
    "none": "",
}
"""A configuration holds what the chosen kinds take, and nothing else."""
LABELS = {
    "holomorphic": "holomorphic equilibrium propagation",
    "centered": "centred equilibrium propagation",
    "adjoint": "the exact adjoint gradient",
}


def epoch_line(epoch: int) -> dict[str, Any]:
    """One line of the metrics, with values that improve with the epoch."""
    return {
        "epoch": epoch,
        "epoch_seconds": 1.5,
        "train_loss": 1.0 / epoch,
        "train_error_percent": 20.0 / epoch,
        "validation_error_percent": 24.0 / epoch,
        "converged_fraction": 0.9996,
        "oscillating_fraction": 0.0004,
        "diverged_fraction": 0.0,
        "clipped_fraction": 0.03,
        "branch_switch_fraction": None,
        "cosine_to_adjoint": {"h1": 0.8 + 0.01 * epoch, "out": 0.99, "total": 0.9},
        "gradient_norm_ratio": {"in->h1": 0.7, "h1->out": 1.1},
        "symmetry": 0.5 + 0.1 * epoch,
        "weight_angle_deg": {"h1<->out": 90.0 / epoch},
        "error_bar": 0.01,
        "relaxation_steps": 30.0,
        "a_key_of_the_future": [1, 2],
    }


SUMMARY: dict[str, Any] = {
    "test_error_percent": 8.25,
    "validation_error_percent": 8.0,
    "train_error_percent": 6.67,
    "epochs": 3,
    "seconds": 4.5,
    "dataset": "digits",
    "estimator": "holomorphic",
    "homeostasis": "jacobian",
    "converged_fraction": 0.9996,
    "cosine_to_adjoint": {"h1": 0.83, "out": 0.99, "total": 0.905},
    "gradient_norm_ratio": {"in->h1": 0.7, "h1->out": 1.1},
    "symmetry": 0.8,
    "certificate_angle_deg": None,
    "certificate_reason": "S is not negative definite",
    "weight_angle_deg": {"h1<->out": 30.0, "in<->h1": 12.0},
    "best_epoch": 2,
    "best_test_error_percent": 8.1,
}

MANIFEST: dict[str, Any] = {
    "versions": {"equiprop": "0.1.0", "jax": "0.10.0"},
    "device": "cpu",
    "dataset_checksum": "sha256:abc",
    "seed": 0,
    "command": "equiprop train --config digits.toml",
    "citations": ["Laborieux & Zenke 2024, https://arxiv.org/abs/2309.02214"],
    "sources": {},
    "started": "2025-01-02T03:04:05+00:00",
}


def write_run_into(
    root: Path,
    name: str = "homeostasis",
    *,
    epochs: int = 3,
    estimator: str = "holomorphic",
    homeostasis: str = "jacobian",
    seed: int = 0,
    summary: dict[str, Any] | None = SUMMARY,
    manifest: dict[str, Any] | None = MANIFEST,
    tail: str = "",
) -> Path:
    """Writes a run directory under `root` and returns its path."""
    folder = root / name
    (folder / "checkpoints").mkdir(parents=True)
    config = CONFIG.format(
        estimator=estimator,
        estimator_settings=SETTINGS[estimator],
        homeostasis=homeostasis,
        homeostasis_settings=SETTINGS[homeostasis],
        seed=seed,
    )
    (folder / "config.toml").write_text(config)
    lines = [json.dumps(epoch_line(epoch)) + "\n" for epoch in range(1, epochs + 1)]
    (folder / "metrics.jsonl").write_text("".join(lines) + tail)
    if manifest is not None:
        labels = {"system": "mlp", "estimator": LABELS[estimator], "homeostasis": homeostasis}
        (folder / "manifest.json").write_text(json.dumps({"labels": labels} | manifest))
    if summary is not None:
        (folder / "summary.json").write_text(json.dumps(summary))
    return folder


WALK: dict[str, Any] = {
    "title": "a chain",
    "sizes": [0.1, 1.0],
    "units": [
        {
            "name": "unit[3]",
            "exact": 0.5,
            "real": [[0.05, 0.0, -0.05, 0.0], [0.4, 0.1, -0.5, None]],
            "imaginary": [[0.0, 0.05, 0.0, -0.05], [0.0, 0.5, 0.0, None]],
        },
        {
            "name": "out[0]",
            "exact": -1.0,
            "real": [[-0.1, 0.0, 0.1, 0.0]] * 2,
            "imaginary": [[0.0, -0.1, 0.0, 0.1]] * 2,
        },
    ],
    "rests": [[True, True, True, True], [True, True, True, False]],
    "errors": {"1": [0.1, 0.5], "2": [0.01, 0.25], "4": [0.02, None]},
    "bars": {"1": [0.2, 1.0], "2": [0.02, 0.5], "4": [0.04, None]},
}


def write_study_into(root: Path, name: str = "study") -> Path:
    """Writes the folder of a study under `root`, without what was trained for it, and returns its path."""
    chart = Chart("sizes", "Sizes", "By size.", [Panel("error", "%", [Curve(0, [1, 2], [3.0, 4.0])])], ["a chain"])
    found = {
        "study": "mine",
        "preset": "quick",
        "seeds": 2,
        "version": "0.2.0",
        "date": "2026-01-02T03:04:05+00:00",
        "question": "Does it work?",
        "verdict": ["It does.", "Not well."],
        "failed": {"arm": "it burned"},
        "printed": [{"title": "Trained", "columns": ["method", "error"], "cells": [["a chain", "0.5 ± 0.1"]]}],
        "charts": [chart.to_json()],
        "walks": [WALK],
        "trained": [{"arm": "gone"}],
    }
    folder = root / name
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps(found))
    return folder
