"""The installed command as a user calls it: a process of its own, default precision, every optimisation of the compiler."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

SCRIPT = Path(sys.executable).parent / "equiprop"
CACHE = Path(__file__).parents[2] / ".cache" / "user"
# Nothing here takes a tenth as long on two cores; what takes longer hangs.
_SECONDS = 600

SMALL = (
    "--dataset", "digits", "--training.limit", "200", "--training.batch-size", "20", "--epochs", "2", "--hidden", "8",
    "--training.diagnostic-samples", "20", "--training.audit-samples", "2",
)  # fmt: skip
# For what is not about them: they take most of the time.
UNDIAGNOSED = ("--training.diagnostic-samples", "0", "--training.audit-samples", "0", "--quiet")


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


class Started:
    """A command that is under way, on so many CPU devices, which may write no file of more than `file_bytes`, and whose output
    has the letters of an `encoding`.
    """

    def __init__(
        self, *arguments: object, devices: int = 1, file_bytes: int | None = None, encoding: str = "utf-8"
    ) -> None:
        # What the suite sets for its own process is no setting of a user's.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_"))}
        environment["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
        environment["PYTHONIOENCODING"] = encoding
        if devices > 1:
            environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
        command = [str(SCRIPT), *map(str, arguments)]
        if file_bytes is not None:
            # What is larger fails, as on a full disk; the signal that comes with it would end the process. So would that which
            # counts the lines that are run, for its own file.
            environment = {key: value for key, value in environment.items() if not key.startswith("COVERAGE_")}
            command = ["sh", "-c", f"trap '' XFSZ; ulimit -f {file_bytes // 512}; exec \"$@\"", "sh", *command]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding=encoding,
            env=environment,
        )

    def answer(self, seconds: float = _SECONDS) -> Answer:
        """Waits for its end. There is never a traceback, and one that hangs is killed and fails."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"hangs; it said {out[-2000:]} {err[-2000:]}") from None
        assert "Traceback" not in err, err
        return Answer(self.process.returncode, out, err)

    def signalled(self, number: signal.Signals) -> tuple[Answer, float]:
        """What it answers to a signal, and after how many seconds."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.answer(30), time.monotonic() - began


def equiprop(*arguments: object, devices: int = 1, encoding: str = "utf-8") -> str:
    """What a command prints, which ends well."""
    answer = Started(*arguments, devices=devices, encoding=encoding).answer()
    assert answer.code == 0, answer
    return answer.out


def until(condition: Callable[[], bool], command: Started) -> None:
    """Waits for what a command does."""
    end = time.monotonic() + _SECONDS
    while not condition():
        if command.process.poll() is not None or time.monotonic() > end:
            command.process.kill()
            raise AssertionError(f"it hangs, or has ended before: {command.answer()}")
        time.sleep(0.02)


def epochs(run: Path) -> int:
    """How many epochs of a run are told of, while it may be under way."""
    metrics = run / "metrics.jsonl"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0


def told(run: Path) -> list[dict[str, Any]]:
    """What a run that ended tells of each of its epochs."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def parameters(run: Path) -> dict[str, np.ndarray]:
    """By name, of the newest checkpoint."""
    newest = max((run / "checkpoints").glob("epoch-*.safetensors"))
    return {name: array for name, array in load_file(newest).items() if name.startswith("system.")}


def same(ours: Path, theirs: Path) -> bool:
    """Whether two runs have the same parameters, bit for bit."""
    a, b = parameters(ours), parameters(theirs)
    return a.keys() == b.keys() != set() and all(np.array_equal(a[name], b[name]) for name in a)
