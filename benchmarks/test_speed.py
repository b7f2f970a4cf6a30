"""Every case that `equiprop bench` times, size by size, by pytest-benchmark.

pip install -e '.[bench]' && python -m pytest benchmarks -c benchmarks/pytest.ini

Peak memory of the compiled program stands beside the times (`extra_info` of the JSON file that `--benchmark-json` writes).
"""

from functools import cache

import jax
import pytest

import equiprop as ep
from equiprop.benchmarking import CASES, Case, cases, program_bytes
from networks import SIZES, trainer

STEPS = 5
NAMES = [
    "step, feedforward",
    "step, plain N = 2",
    "step, plain N = 6",
    "step, centered",
    "step, centered + homeostasis",
    "step, holomorphic N = 6",
    "step, holomorphic N = 6 + homeostasis",
    "epoch",
    "free phase",
    "estimate at equilibrium, centered",
    "homeostasis, 5 probes",
    *(f"estimate, {kind}" for kind in ep.ESTIMATORS.members()),
]


@cache
def all_cases(size: str) -> dict[str, Case]:
    chosen = trainer(SIZES[size])
    return {case.name: case for case in cases(chosen, chosen.system, CASES, STEPS)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", SIZES)
def test_speed(benchmark, size, name):
    found = all_cases(size)
    assert set(found) <= set(NAMES)
    if name not in found:
        pytest.skip("the estimator does not serve this network")
    case = found[name]
    program = jax.jit(case.function).lower(*case.arguments).compile()
    benchmark.group = size
    benchmark.extra_info |= {"repeats": case.repeats, "bytes": program_bytes(program)}
    benchmark.pedantic(lambda: jax.block_until_ready(program(*case.arguments)), rounds=5, warmup_rounds=1)
