"""How long one waits before anything happens, every time in a fresh process; medians.

python benchmarks/start.py

A step is compiled for 784–256–256–10 and batches of 50, with an empty persistent cache and then with what that left there.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
EQUIPROP = str(Path(sys.executable).parent / "equiprop")
ROOMS = "import equiprop as e; [getattr(e, room) for room in e.__all__]; e.training.train"
COMPILE = """
import dataclasses, sys, time
import jax, jax.numpy as jnp, numpy as np
from equiprop.data import Dataset, Split
from equiprop.training.config import Config, HomeostasisConfig
from equiprop.training.loop import Trainer

images = np.random.default_rng(0).integers(0, 256, (100, 28, 28), dtype=np.uint8)
split = Split(images, np.arange(100, dtype=np.int32) % 10)
dataset = Dataset("random", split, split, split, tuple("abcdefghij"), 0.0, 255.0, "")
config = Config.from_file("experiments/fashion_homeostasis.toml")
if sys.argv[1] == "none":
    config = dataclasses.replace(config, homeostasis=HomeostasisConfig(kind="none"))
trainer = Trainer(config, dataset)
given = trainer.start(), trainer.images, jnp.asarray(1)
lowered = jax.jit(trainer.plan.advance, donate_argnums=0).lower(*given)
began = time.perf_counter()
lowered.compile()
print(time.perf_counter() - began)
"""


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def compile_seconds(treatment: str, cache: str) -> float:
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    answer = subprocess.run(
        [sys.executable, "-c", COMPILE, treatment], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return float(answer.stdout)


def main() -> None:
    rows: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, command in {
            "python -c pass": (sys.executable, "-c", "pass"),
            "import equiprop": (sys.executable, "-c", "import equiprop"),
            "import of every room": (sys.executable, "-c", ROOMS),
            "equiprop --help": (EQUIPROP, "--help"),
            "equiprop train --help": (EQUIPROP, "train", "--help"),
        }.items():
            rows.setdefault(name, []).append(seconds(*command))
        for treatment, words in (("none", ""), ("jacobian", " with homeostasis")):
            with tempfile.TemporaryDirectory() as cache:
                for when in ("empty cache", "from the cache"):
                    name = f"step of training{words}, {when}"
                    rows.setdefault(name, []).append(compile_seconds(treatment, cache))
    for name, times in rows.items():
        print(f"{name:48s} {statistics.median(times):6.2f} s  ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    main()
