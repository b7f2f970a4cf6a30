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
    assert made.image_shape == (2, 3)
    assert made.n_classes == 2
    assert [len(made.split(name)) for name in ("train", "validation", "test")] == [6, 2, 4]


def test_an_unknown_split_is_an_input_error() -> None:
    with pytest.raises(
        InputError, match=r"split = 'tests': is not known; choose one of train, validation, test.*did you mean 'test'\?"
    ):
        dataset().split("tests")


@pytest.mark.parametrize(
    ("images", "labels", "fault"),
    [
        (np.zeros((3, 2, 2), np.float32), np.zeros(3, np.int32), r"images are float32 \[3, 2, 2\]"),
        (np.zeros(3, np.uint8), np.zeros(3, np.int32), r"images are uint8 \[3\]"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros(3, np.uint8), r"labels are uint8 \[3\].*must be int32 \[3\]"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros(2, np.int32), r"labels are int32 \[2\].*must be int32 \[3\]"),
        (np.zeros((3, 2, 2), np.uint8), np.zeros((3, 1), np.int32), r"labels are int32 \[3, 1\]"),
    ],
)
def test_a_split_of_other_types_or_shapes_is_refused(images: np.ndarray, labels: np.ndarray, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        Split(images, labels)


def test_splits_of_different_images_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"dataset = 'made_up': the images of test are \[3, 2\], those of train \[2, 3\]"
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
    assert checksum_of(*(Split(part.images.copy(), part.labels.copy()) for part in parts)) == reference

    def swapped(place: int, other: Split) -> str:
        train, validation, test = (other if i == place else part for i, part in enumerate(parts))
        return checksum_of(train, validation, test)

    seen = {reference}
    for i, part in enumerate(parts):
        for place in np.ndindex(part.images.shape):
            images = part.images.copy()
            images[place] += 1
            seen.add(swapped(i, Split(images, part.labels)))
        for place in range(len(part)):
            labels = part.labels.copy()
            labels[place] += 1
            seen.add(swapped(i, Split(part.images, labels)))
    assert len(seen) == 1 + sum(part.images.size + part.labels.size for part in parts)

    joined = Split(
        np.concatenate([parts[0].images, parts[1].images]), np.concatenate([parts[0].labels, parts[1].labels])
    )
    assert checksum_of(joined, split(0), parts[2]) != reference
    turned = tuple(Split(part.images.reshape(-1, 3, 2), part.labels) for part in parts)
    assert checksum_of(*turned) != reference


def test_the_checksum_does_not_depend_on_how_memory_is_laid_out() -> None:
    part = split(4)
    laid_out = Split(np.asfortranarray(part.images), part.labels.astype(">i4").astype(np.int32))
    assert checksum_of(part, part, part) == checksum_of(laid_out, laid_out, laid_out)
