"""Holding images out: the right number of each class, nothing twice, and the same choice for ever."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equiprop.data._split import held_out


@settings(derandomize=True, deadline=None)
@given(labels=st.lists(st.integers(0, 5), max_size=80), fraction=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_a_split_is_disjoint_complete_and_stratified(labels: list[int], fraction: float, seed: int) -> None:
    array = np.array(labels, dtype=np.int32)
    size = round(fraction * len(array))
    kept, held = held_out(array, size, seed)
    assert len(held) == size
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held])), np.arange(len(array)))
    assert np.all(np.diff(kept) > 0)
    assert np.all(np.diff(held) > 0)
    for label in set(labels):
        exact = size * labels.count(label) / len(labels)
        assert abs(np.sum(array[held] == label) - exact) < 1


def test_the_choice_never_changes() -> None:
    kept, held = held_out(np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0], dtype=np.int32), 4, 7)
    assert held.tolist() == [2, 3, 4, 6]
    assert kept.tolist() == [0, 1, 5, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("counts", [(7, 7, 7), (1, 1, 19), (10, 6, 5)])
def test_what_rounding_leaves_over_goes_to_the_largest_remainders(counts: tuple[int, int, int]) -> None:
    labels = np.repeat(np.arange(3), counts)
    _, held = held_out(labels, 10, 0)
    expected = {(7, 7, 7): [4, 3, 3], (1, 1, 19): [1, 0, 9], (10, 6, 5): [5, 3, 2]}[counts]
    assert np.bincount(labels[held], minlength=3).tolist() == expected


def test_another_seed_is_another_choice() -> None:
    labels = np.zeros(100, dtype=np.int32)
    assert held_out(labels, 20, 0)[1].tolist() != held_out(labels, 20, 1)[1].tolist()
