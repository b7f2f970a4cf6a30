"""A text of characters that a grammar makes, of which it is known how well the next character can be told."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from equiprop.data import Dataset

LETTERS = " .abcdefghijklmnopqrstuvwxyz"
_WINDOW = 16
_SAMPLES = {"train": 12_000, "validation": 2_000, "test": 2_000}

# Subject and verb agree, however far apart they are.
_ONE, _MANY = 0, 1
_DETERMINERS = (("the", "a", "this", "one"), ("the", "some", "these", "two"))
_NOUNS = ("dog", "cat", "bird", "child", "river", "machine", "teacher", "spring", "circuit", "neuron")
_PLURALS = ("dogs", "cats", "birds", "children", "rivers", "machines", "teachers", "springs", "circuits", "neurons")
_ADJECTIVES = ("small", "old", "bright", "slow", "quiet", "warm")
_VERBS = (("sees", "finds", "follows", "hears", "moves", "holds"), ("see", "find", "follow", "hear", "move", "hold"))
_ADVERBS = ("slowly", "again", "at night", "by chance")
_DESCRIBED, _NEAR, _ALONE, _QUALIFIED = 0.4, 0.25, 0.4, 0.3


def entropy() -> float:
    """Nats a character of the source, which no prediction beats in the mean, however long its context.

    A sentence tells every choice that made it, so that its entropy is theirs, shared by its mean number of characters.
    """
    phrases = 1 + _NEAR + (1 - _ALONE)
    described = _coin(_DESCRIBED) + _DESCRIBED * math.log(len(_ADJECTIVES))
    phrase = math.log(2) + math.log(4) + described + math.log(len(_NOUNS))
    adverb = _coin(_QUALIFIED) + _QUALIFIED * math.log(len(_ADVERBS))
    nats = phrases * phrase + _coin(_NEAR) + math.log(len(_VERBS[_ONE])) + _coin(_ALONE) + adverb
    letters = phrases * (_letters(*_DETERMINERS) + _DESCRIBED * _letters(_ADJECTIVES) + _letters(_NOUNS, _PLURALS))
    letters += _NEAR * len("near ") + _letters(*_VERBS) + _QUALIFIED * _letters(_ADVERBS) + len(".")
    return nats / letters


def _coin(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def _letters(*lists: Sequence[str]) -> float:
    """The mean length of a word of one of some lists, with the space behind it."""
    words = [word for each in lists for word in each]
    return sum(len(word) + 1 for word in words) / len(words)


def sentences() -> Dataset:
    """Windows of 16 characters, one-hot, and the character that follows each: the classes."""
    text = {split: _text(seed, size + _WINDOW) for seed, (split, size) in enumerate(_SAMPLES.items())}
    (x, y), *held = (_windows(each) for each in text.values())
    return Dataset.from_arrays(
        x, y, validation=held[0], test=held[1], classes=list(LETTERS), normalize=False, name="sentences"
    )


def _windows(text: str) -> tuple[np.ndarray, np.ndarray]:
    places = np.asarray([LETTERS.index(letter) for letter in text])
    windows = np.lib.stride_tricks.sliding_window_view(places, _WINDOW)[:-1]
    return np.eye(len(LETTERS), dtype=np.float32)[windows], places[_WINDOW:]


def _text(seed: int, letters: int) -> str:
    rng, made = np.random.default_rng(seed), ""
    while len(made) < letters:
        made += " ".join(_sentence(rng)) + ". "
    return made[:letters]


def _sentence(rng: np.random.Generator) -> Iterator[str]:
    number = int(rng.integers(2))
    yield from _phrase(rng, number)
    if rng.random() < _NEAR:
        yield "near"
        yield from _phrase(rng, int(rng.integers(2)))
    yield _VERBS[number][rng.integers(len(_VERBS[number]))]
    if rng.random() >= _ALONE:
        yield from _phrase(rng, int(rng.integers(2)))
    if rng.random() < _QUALIFIED:
        yield _ADVERBS[rng.integers(len(_ADVERBS))]


def _phrase(rng: np.random.Generator, number: int) -> Iterator[str]:
    yield _DETERMINERS[number][rng.integers(4)]
    if rng.random() < _DESCRIBED:
        yield _ADJECTIVES[rng.integers(len(_ADJECTIVES))]
    yield (_PLURALS if number else _NOUNS)[rng.integers(len(_NOUNS))]
