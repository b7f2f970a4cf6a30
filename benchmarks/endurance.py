"""What `kill -9` does to a run: killed at random moments, again and again, then trained to its end and compared.

    python benchmarks/endurance.py [KILLS] [SEED]

A training on digits that writes a checkpoint after every epoch is killed at moments drawn from the whole of an epoch, its
checkpoint and its lines of text. After each kill `equiprop verify` says whether what is on the disk is whole. At the end the
parameters and the metrics are compared with those of a run that was never killed, bit for bit.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

COMMAND = str(Path(sys.executable).parent / "equiprop")
EPOCHS = 600
SETTINGS = (
    "--dataset", "digits", "--training.limit", "200", "--training.batch-size", "20", "--hidden", "8", "--epochs", str(EPOCHS),
    "--training.diagnostic-samples", "0", "--training.audit-samples", "0", "--quiet",
)  # fmt: skip


def main() -> None:
    kills, seed = (int(a) for a in (*sys.argv[1:], *("20", "0")[len(sys.argv) - 1 :]))
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        began = time.monotonic()
        _call("train", *SETTINGS, "--out", whole)
        print(f"{EPOCHS} epochs without a kill: {time.monotonic() - began:.0f} s", flush=True)
        unclean = 0
        for kill in range(kills):
            at = _killed(killed, draw)
            left = [path.name for path in killed.glob("checkpoints/.*")]
            verdict = subprocess.run([COMMAND, "verify", str(killed)], capture_output=True, text=True, check=False)
            unclean += verdict.returncode != 0
            print(f"kill {kill + 1:2d} in epoch {at:3d}, unfinished files {len(left)}: {_last(verdict)}", flush=True)
        _call("train", "--resume", killed, "--quiet")
        print(f"not whole after a kill: {unclean} of {kills}")
        print(
            f"parameters equal bit for bit: {_same_parameters(whole, killed)}; metrics: {_same_metrics(whole, killed)}"
        )


def _killed(run: Path, draw: random.Random) -> int:
    """Trains for an epoch or more, and kills in the midst of what comes then; says how many epochs there are."""
    before = _epochs(run)
    how = ("--resume", run, "--quiet") if run.exists() else (*SETTINGS, "--out", run)
    training = subprocess.Popen([COMMAND, "train", *map(str, how)], stderr=subprocess.PIPE, text=True)
    while _epochs(run) <= before:
        if training.poll() is not None:
            raise SystemExit(f"ended by itself: {training.communicate()[1]}")
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.3))
    training.send_signal(signal.SIGKILL)
    training.communicate()
    if training.returncode != -signal.SIGKILL:
        raise SystemExit("the training ended before it could be killed: more epochs, please")
    return _epochs(run)


def _epochs(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def _call(*arguments: object) -> None:
    subprocess.run([COMMAND, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def _last(ended: subprocess.CompletedProcess[str]) -> str:
    return (ended.stdout + ended.stderr).strip().splitlines()[-1]


def _same_parameters(ours: Path, theirs: Path) -> bool:
    named = []
    for run in (ours, theirs):
        file = run.with_suffix(".npz")
        _call("export", run, "--out", file)
        named.append(dict(np.load(file)))
    a, b = named
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def _same_metrics(ours: Path, theirs: Path) -> bool:
    def told(run: Path) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if not key.endswith("seconds")} for line in lines]

    return told(ours) == told(theirs)


if __name__ == "__main__":
    main()
