"""Timing several compiled programs side by side: interleaved, in one process, medians."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache


@dataclass(frozen=True)
class Case:
    """A function of arrays to be compiled and timed.

    - `function`: of `arguments`; may be anything that `jax.jit` takes.
    - `repeats`: how many of what is counted one call does, as the steps of a loop.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    repeats: int = 1


@dataclass(frozen=True)
class Timing:
    """What a case costs.

    - `milliseconds`: median over the rounds, for one repeat; `fastest` and `slowest` likewise.
    - `trace_seconds`, `compile_seconds`: until it could run for the first time, without the persistent cache.
    - `bytes`: arguments, results and temporaries of the compiled program, buffers that share their place counted once; `None`
      where the device does not tell.
    """

    name: str
    milliseconds: float
    fastest: float
    slowest: float
    trace_seconds: float
    compile_seconds: float
    bytes: int | None


def measure(
    cases: Iterable[Case],
    *,
    rounds: int = 7,
    least_seconds: float = 0.1,
    on_case: Callable[[str], None] = lambda _: None,
    on_round: Callable[[int], None] = lambda _: None,
) -> list[Timing]:
    """Compiles every case, then runs them one after the other, round after round.

    A slow moment of the machine then falls on all of them, and ratios of medians can be trusted where single times cannot.

    **Arguments:**

    - `rounds`: how often each case is timed.
    - `least_seconds`: a case is called so often within a round that it takes about this long.
    - `on_case`, `on_round`: told the name of each case before it is compiled, and the number of rounds done.
    """
    compiled, built = [], []
    # What was compiled in an earlier process must not pass for the time that compiling takes.
    with _without_persistent_cache():
        for case in cases:
            on_case(case.name)
            started = time.perf_counter()
            lowered = jax.jit(case.function).lower(*case.arguments)
            traced = time.perf_counter()
            program = lowered.compile()
            done = time.perf_counter()
            compiled.append((case, program))
            built.append((traced - started, done - traced, program_bytes(program)))
    calls = [max(1, round(least_seconds / _seconds(program, case, 1))) for case, program in compiled]
    seconds: list[list[float]] = [[] for _ in compiled]
    for round_ in range(rounds):
        on_round(round_)
        for i, (case, program) in enumerate(compiled):
            seconds[i].append(_seconds(program, case, calls[i]) / case.repeats)
    return [
        Timing(
            case.name,
            1e3 * statistics.median(times),
            1e3 * min(times),
            1e3 * max(times),
            trace,
            compilation,
            size,
        )
        for (case, _), times, (trace, compilation, size) in zip(compiled, seconds, built, strict=True)
    ]


def _seconds(program: Any, case: Case, calls: int) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    for _ in range(calls):
        jax.block_until_ready(program(*case.arguments))
    return (time.perf_counter() - started) / calls


def program_bytes(program: Any) -> int | None:
    """Arguments, results and temporaries of a compiled program; `None` where the device does not tell."""
    told = program.memory_analysis()
    if told is None:
        return None
    return told.argument_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes + told.temp_size_in_bytes


@contextmanager
def _without_persistent_cache() -> Iterator[None]:
    name = "jax_enable_compilation_cache"
    before = bool(getattr(jax.config, name))
    jax.config.update(name, False)
    # JAX decides once in a process whether to use its cache, unless it is told to forget the decision.
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update(name, before)
        compilation_cache.reset_cache()
