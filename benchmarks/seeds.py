"""How many times as fast seeds side by side are as one after the other: steps of the network of `equiprop train`.

python benchmarks/seeds.py [SEEDS ...]

Both run the same steps from the same state, in turn, round after round; medians, without compiling.
"""

import statistics
import sys
import time
from dataclasses import replace

import jax

import equiprop as ep
from equiprop.experiment import Trainer
from equiprop.training import Lanes

ROUNDS, STEPS = 9, 60


def trainers(seeds: int) -> list[Trainer]:
    first = ep.Config()
    configs = [replace(first, training=first.training | {"seed": seed}) for seed in range(seeds)]
    shared = Trainer(configs[0])
    return [shared, *(Trainer(config, shared.dataset, beside=shared) for config in configs[1:])]


def seconds(run, lanes: list[Trainer]) -> float:
    states = [trainer.initial_train_state() for trainer in lanes]
    began = time.perf_counter()
    jax.block_until_ready(run(states))
    return time.perf_counter() - began


def ratio(count: int) -> tuple[float, float]:
    """Seconds side by side, and one after the other."""
    lanes = trainers(count)
    samples, together = lanes[0].samples, Lanes(lanes)

    def beside(states):
        return together.advance(range(count), states, samples, STEPS)

    def after(states):
        return [jax.block_until_ready(t.advance(s, samples, STEPS)) for t, s in zip(lanes, states, strict=True)]

    for run in (beside, after):
        seconds(run, lanes)
    rounds = [(seconds(beside, lanes), seconds(after, lanes)) for _ in range(ROUNDS)]
    return statistics.median(r[0] for r in rounds), statistics.median(r[1] for r in rounds)


def main(*counts: int) -> None:
    for count in counts:
        beside, after = ratio(count)
        print(
            f"{count} seeds: {beside:.2f} s side by side, {after:.2f} s one after the other: {after / beside:.2f} times"
        )


if __name__ == "__main__":
    main(*([int(a) for a in sys.argv[1:]] or [2, 4, 6]))
