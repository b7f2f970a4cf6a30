"""Times another library and equiprop on the same problem, in processes that take turns. README.md says how to set it up.

    python benchmarks/others/compare.py {step,deq,holo} --python VENV/bin/python [--theirs CLONE]

Prints a JSON line for each case: medians over rounds of the time, and over six batches of what came out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.linalg import norm
from problems import PROBLEMS, equations
from worker import load

WEIGHTS = {"step": ("theirs",), "deq": (), "holo": ("theirs", "ours")}
"""Who makes the weights that both have, one after the other."""


def ask(worker: subprocess.Popen[str], case: str, steps: int) -> float:
    """Milliseconds a step."""
    assert worker.stdin is not None
    worker.stdin.write(json.dumps([case, steps]) + "\n")
    worker.stdin.flush()
    return hear(worker)


def hear(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    return json.loads(line) if line else sys.exit(f"{worker.args} ended, see above")


def command(who: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The arguments of a process."""
    script = Path(__file__).absolute().with_name(f"{options.comparison}_{who}.py")
    # Threads that wait for work by spinning would slow down the other worker.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    if who == "ours":
        return {"args": [sys.executable, script], "cwd": folder, "env": environment}
    theirs = environment | {"PYTHONPATH": str(options.theirs.absolute())}
    return {"args": [options.python.absolute(), script], "cwd": folder, "env": theirs}


def take_turns(options: argparse.Namespace, folder: Path) -> dict[str, dict[str, float]]:
    """What each case takes."""
    workers, first_calls = {}, {}
    with ExitStack() as stack:
        for who in ("theirs", "ours"):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            worker = stack.enter_context(subprocess.Popen(**command(who, options, folder), **pipes))
            told = hear(worker)
            workers |= dict.fromkeys(told, worker)
            first_calls |= told
        steps = {case: max(1, round(1e3 * options.seconds / ask(workers[case], case, 3))) for case in workers}
        times = {case: [] for case in workers}
        for _ in range(options.rounds):
            for case, worker in workers.items():
                times[case].append(ask(worker, case, steps[case]))
    return {
        case: {
            "milliseconds": statistics.median(taken),
            "fastest": min(taken),
            "slowest": max(taken),
            "first_call_seconds": first_calls[case],
        }
        for case, taken in times.items()
    }


def judge(cases: Iterable[str], options: argparse.Namespace, folder: Path) -> Iterator[dict[str, float]]:
    """How far each is from the equilibrium and from its gradient."""
    arrays = load(folder / "data.npz") | (load(folder / "weights.npz") if WEIGHTS[options.comparison] else {})
    exact = equations(options.comparison, arrays)
    gradients = [equation.gradient() for equation in exact]
    for case in cases:
        came = load(folder / f"{case}.npz")
        residuals = [of.residual(state.astype(float)) for of, state in zip(exact, came["state"], strict=True)]
        errors = [norm(e - g) / norm(g) for e, g in zip(came["gradient"], gradients, strict=True)]
        yield {
            "largest_residual": float(np.median([np.abs(r).max() for r in residuals])),
            "residual_norm": float(np.median([norm(r, axis=1).max() for r in residuals])),
            "gradient_error": float(np.median(errors)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=PROBLEMS)
    parser.add_argument("--python", type=Path, required=True, help="the interpreter of the other library's environment")
    here = Path(__file__).parent
    parser.add_argument("--theirs", type=Path, default=here, help="the clone of a library that cannot be installed")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each case in each round, about")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "data.npz", **PROBLEMS[options.comparison][0]())
        for who in WEIGHTS[options.comparison]:
            maker = command(who, options, folder)
            maker["args"].append("weights")
            subprocess.run(**maker, check=True)
        taken = take_turns(options, folder)
        for (case, times), figures in zip(taken.items(), judge(taken, options, folder), strict=True):
            rounded = {key: float(f"{figure:.3g}") for key, figure in (times | figures).items()}
            print(json.dumps({"case": case} | rounded), flush=True)


if __name__ == "__main__":
    main()
