"""A dataset in memory: what it refuses to be, and a checksum that sees every change."""

from typing import Any

import numpy as np
import pytest

from equiprop.data import Dataset, Split
from equiprop.data._dataset import checksum_of
from equiprop.errors import InputError


def split(n: int = 4, shape: tuple[int, ...] = (2, 3)) -> Split:
    return Split(
        np.arange(n * int(np.prod(shape)), dtype=np.uint8).reshape(n, *shape), np.arange(n, dtype=np.int32) % 2
    )


def dataset(**changes: Any) -> Dataset:
    fields: dict[str, Any] = {
        "name": "made_up",
        "train": split(6),
        "validation": split(2),
        "test": split(4),
        "classes": ("even", "odd"),
        "mean": 0.0,
        "scale": 255.0,
        "checksum": "",
    }
    return Dataset(**(fields | changes))


def test_its_properties() -> None:
    made = dataset()
    assert made.input_shape == (2, 3)
    assert made.n_classes == 2
    assert [len(made.split(name)) for name in ("train", "validation", "test")] == [6, 2, 4]


def test_an_unknown_split_is_an_input_error() -> None:
    with pytest.raises(
        InputError, match=r"split = 'tests': is not known; choose one of train, validation, test.*did you mean 'test'\?"
    ):
        dataset().split("tests")


X = np.zeros((3, 2, 2), np.uint8)


@pytest.mark.parametrize(
    ("x", "y", "fault"),
    [
        ([[1, 2]], np.zeros(3), "x: is list; give an array of numbers"),
        (np.zeros((3, 2), complex), np.zeros(3), r"x: is complex128 \[3, 2\]; give an array of numbers"),
        (X, np.array(["a", "b", "c"]), "y: is <U1"),
        (X, np.float64(1.0), "y: is float64"),
        (X, np.zeros(2, np.int32), "inputs and targets differ in length: x has 3, y has 2"),
        ({"left": X, "right": X[:2]}, np.zeros(3), r"x\.left has 3, x\.right has 2, y has 3"),
    ],
)
def test_a_split_of_other_types_or_lengths_is_refused(x: Any, y: Any, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        Split(x, y)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_labels_of_any_type_of_whole_numbers_become_int32(dtype: Any) -> None:
    assert Split(X, np.arange(3, dtype=dtype)).y.dtype == np.int32


def test_splits_of_different_images_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"dataset = 'made_up': the inputs of test are \[3, 2\], those of train \[2, 3\]"
    ):
        dataset(test=split(4, (3, 2)))


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    wrong = Split(np.zeros((1, 2, 3), np.uint8), np.array([label], np.int32))
    with pytest.raises(
        InputError, match=f"dataset = 'made_up': the labels of validation go from {label} to {label}; .* 0 to 1"
    ):
        dataset(validation=wrong)


def test_a_split_may_be_empty() -> None:
    assert len(dataset(validation=split(0)).validation) == 0


def test_the_checksum_sees_every_pixel_every_label_and_the_split() -> None:
    parts = (split(6), split(2), split(4))
    reference = checksum_of(*parts)
    assert checksum_of(*(Split(part.x.copy(), part.y.copy()) for part in parts)) == reference

    def swapped(place: int, other: Split) -> str:
        train, validation, test = (other if i == place else part for i, part in enumerate(parts))
        return checksum_of(train, validation, test)

    seen = {reference}
    for i, part in enumerate(parts):
        for place in np.ndindex(part.x.shape):
            images = part.x.copy()
            images[place] += 1
            seen.add(swapped(i, Split(images, part.y)))
        for place in range(len(part)):
            labels = part.y.copy()
            labels[place] += 1
            seen.add(swapped(i, Split(part.x, labels)))
    assert len(seen) == 1 + sum(part.x.size + part.y.size for part in parts)

    joined = Split(np.concatenate([parts[0].x, parts[1].x]), np.concatenate([parts[0].y, parts[1].y]))
    assert checksum_of(joined, split(0), parts[2]) != reference
    turned = tuple(Split(part.x.reshape(-1, 3, 2), part.y) for part in parts)
    assert checksum_of(*turned) != reference


def test_the_checksum_does_not_depend_on_how_memory_is_laid_out() -> None:
    part = split(4)
    laid_out = Split(np.asfortranarray(part.x), part.y.astype(">i4").astype(np.int32))
    assert checksum_of(part, part, part) == checksum_of(laid_out, laid_out, laid_out)
