"""What the workers of compare.py share: the batches, and how a worker takes steps when it is asked.

It works in the folder in which compare.py puts the data. First it takes the steps that are judged, and writes what came of them.
Then it answers every `[case, steps]` by the milliseconds of a step.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

BATCHES = [slice(i, i + 50) for i in range(0, 1500, 50)]
JUDGED = BATCHES[:6]

Step = Callable[[slice], tuple[Any, Any]]
"""One step on a batch, to the free state and to the list of gradients, in the order of problems.py."""


def load(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def serve(cases: Mapping[str, Step]) -> None:
    # What packages print must not pass for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    first_calls = {}
    for name, step in cases.items():
        first_calls[name] = _seconds(step, [BATCHES[-1]])
        steps = [step(batch) for batch in JUDGED]
        gradient = [np.concatenate([np.ravel(part) for part in parts]) for _, parts in steps]
        np.savez(f"{name}.npz", state=[np.asarray(state) for state, _ in steps], gradient=gradient)
    print(json.dumps(first_calls), file=answers, flush=True)
    batches = cycle(BATCHES)
    for line in sys.stdin:
        name, count = json.loads(line)
        print(1e3 * _seconds(cases[name], list(islice(batches, count))) / count, file=answers, flush=True)


def _seconds(step: Step, batches: list[slice]) -> float:
    started = time.perf_counter()
    for batch in batches:
        step(batch)
    return time.perf_counter() - started
