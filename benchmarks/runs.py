"""How long `equiprop runs` takes over many run directories, every time in a fresh process; medians.

    python benchmarks/runs.py [RUNS [ROUNDS]]

The directories are as `equiprop train` leaves them, but for the checkpoints: every kind of estimator at several learning
rates, five seeds each. Seconds of the processor are those of the process itself, whatever else the machine does. From a cold
cache: the pages of the files have been dropped where the system lets one (Linux), the names of the folders have not.
"""

import copy
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tomli_w

from equiprop.data import load
from equiprop.estimators import ESTIMATORS
from equiprop.experiment import Config
from equiprop.experiment._run_directory import manifest_of

EQUIPROP = str(Path(sys.executable).parent / "equiprop")
SEEDS = 5
EPOCHS = 20
COMMANDS = {
    "the table": (),
    "--where, key=value": ("--where", "estimator.kind=holomorphic"),
    "--where, SQL": ("--where", "test_error_percent < 5 and estimator.kind = 'holomorphic'"),
    "--sort": ("--sort", "optimizer.learning_rate"),
    "--over-seeds": ("--over-seeds",),
    "--sql": ("--sql", "select estimator.kind, avg(test_error_percent) as error from runs group by all order by error"),
    "--sql, every column": ("--sql", "summarize runs"),
    "--json": ("--json",),
    "--out table.parquet": ("--out", "table.parquet"),
}


def write_runs(root: Path, count: int) -> None:
    fractions = (
        "converged",
        "unconverged",
        "clipped",
        "branch_switch",
        "inaccurate",
        "non_analytic",
        "retried",
        "excluded",
    )
    pairs = ("input->hidden_1", "hidden_1->hidden_2", "hidden_2->hidden_1", "hidden_2->output", "output->hidden_2")
    populations = ("hidden_1", "hidden_2", "output", "total")
    data = load("digits").info
    begun = []
    for kind in ESTIMATORS.members():
        config = Config.from_mapping({"estimator": {"kind": kind}})
        begun.append((config.to_mapping(), manifest_of(config, data)))
    rng = random.Random(0)
    for number in range(count):
        setting, seed = divmod(number, SEEDS)
        config, manifest = copy.deepcopy(begun[setting % len(begun)])
        config["training"]["seed"] = manifest["seed"] = seed
        config["optimizer"]["learning_rate"] = 0.001 * (1 + setting // len(begun))
        measured = {
            **{f"{name}_fraction": rng.random() for name in fractions},
            "relaxation_steps": rng.uniform(10, 40),
        }
        of_split = {
            f"{split}_{what}": rng.uniform(1, 9)
            for split in ("test", "validation", "train", "best_validation", "best_test")
            for what in ("error_percent", "loss")
        }
        summary = of_split | measured | {
            "best_epoch": rng.randrange(EPOCHS),
            "epochs": EPOCHS,
            "seconds": rng.uniform(10, 100),
            "dataset": "digits",
            "estimator": config["estimator"]["kind"],
            "homeostasis": config["homeostasis"]["kind"],
            "cosine_to_adjoint": {name: rng.random() for name in populations},
            "gradient_norm_ratio": {name: rng.random() for name in pairs},
            "symmetry": rng.random(),
            "error_bar": rng.random(),
            "certificate_angle_deg": rng.uniform(0, 90),
            "certificate_reason": None,
            "certificate_angle_median_deg": rng.uniform(0, 90),
            "certified_fraction": 1.0,
            "weight_angle_deg": {name: rng.uniform(0, 90) for name in pairs[1::2]},
        }  # fmt: skip
        folder = root / f"batch-{number // 100}" / f"run-{number}"
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.toml").write_text(tomli_w.dumps(config))
        (folder / "manifest.json").write_text(json.dumps(manifest | {"config": config}, indent=2) + "\n")
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        epoch = measured | {"train_loss": 1.0, "validation_loss": 1.0, "homeostasis_loss": 1.0}
        lines = [json.dumps({"epoch": 1 + i, **epoch}) + "\n" for i in range(EPOCHS)]
        (folder / "metrics.jsonl").write_text("".join(lines))


def seconds(root: Path, *options: str) -> tuple[float, float]:
    """On the clock, and of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run([EQUIPROP, "runs", "here", *options], check=True, cwd=root.parent, stdout=subprocess.DEVNULL)
    passed = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return passed, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def forget(root: Path) -> None:
    """Drops the pages of all files, so that they are read from the disk again."""
    for file in root.rglob("*.*"):
        if file.is_file():
            opened = os.open(file, os.O_RDONLY)
            os.fsync(opened)
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(opened)


def main(count: int = 10_000, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "here"
        write_runs(root, count)
        rows: dict[str, list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for name, options in COMMANDS.items():
                rows.setdefault(name, []).append(seconds(root, *options))
            if hasattr(os, "posix_fadvise"):
                forget(root)
                rows.setdefault("the table, from a cold cache", []).append(seconds(root))
    print(f"{count} runs")
    for name, times in rows.items():
        clock, processor = (statistics.median(each) for each in zip(*times, strict=True))
        print(f"{name:30s} {clock:6.2f} s ({min(t for t, _ in times):.2f} at best), of the processor {processor:.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
