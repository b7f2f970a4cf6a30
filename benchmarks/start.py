"""How long one waits before anything happens, every time in a fresh process; medians.

    python benchmarks/start.py [ROUNDS]

A step is compiled for 784–256–256–10 and batches of 50, with an empty persistent cache and then with what that left there.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EQUIPROP = str(Path(sys.executable).parent / "equiprop")
CONFIG = Path(__file__).resolve().parents[1] / "experiments" / "fashion_homeostasis.toml"
EVERY_PACKAGE = """
import importlib, pkgutil, equiprop
for module in pkgutil.iter_modules(equiprop.__path__, "equiprop."):
    importlib.import_module(module.name)
"""
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "import equiprop": (sys.executable, "-c", "import equiprop"),
    "import of every package": (sys.executable, "-c", EVERY_PACKAGE),
    "equiprop --help": (EQUIPROP, "--help"),
    "equiprop train --help": (EQUIPROP, "train", "--help"),
}


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def compile_seconds(homeostasis: str, cache: str) -> float:
    """`compile_here` in a process of its own."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    command = [sys.executable, __file__, "--compile", homeostasis]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(answer.stdout)


def compile_here(homeostasis: str) -> float:
    """Seconds until a training step is compiled, after it was traced."""
    import jax
    import jax.numpy as jnp

    import equiprop as ep
    from networks import images, steps

    config = ep.experiment.Config.from_file(CONFIG).changed({"homeostasis.kind": homeostasis})
    trainer = ep.experiment.Trainer(config, images(100))
    state = trainer.initial_train_state()
    given = trainer.job(trainer.samples, state), state, jnp.asarray(1)
    lowered = jax.jit(steps, donate_argnums=1).lower(*given)
    began = time.perf_counter()
    lowered.compile()
    return time.perf_counter() - began


def main(rounds: int = 5) -> None:
    rows: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            rows.setdefault(name, []).append(seconds(*command))
        for homeostasis, words in (("none", ""), ("jacobian", " with homeostasis")):
            with tempfile.TemporaryDirectory() as cache:
                for when in ("empty cache", "from the cache"):
                    name = f"step of training{words}, {when}"
                    rows.setdefault(name, []).append(compile_seconds(homeostasis, cache))
    for name, times in rows.items():
        print(f"{name:48s} {statistics.median(times):6.2f} s  ({min(times):.2f} to {max(times):.2f})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--compile"]:
        print(compile_here(sys.argv[2]))
    else:
        main(*map(int, sys.argv[1:2]))
