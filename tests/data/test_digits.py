"""The built-in digits: the sizes, the strata, no image in two splits, and the same split for ever."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from equiprop import data
from equiprop.data import Dataset


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits")


def test_types_and_sizes(digits: Dataset) -> None:
    entry = data.entry("digits")
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1257, 180, 360)
    assert (entry.train_images, entry.validation_images, entry.test_images) == (1257, 180, 360)
    assert digits.input_shape == entry.image_shape == (8, 8)
    assert digits.n_classes == 10
    for name in ("train", "validation", "test"):
        split = digits.split(name)
        assert split.x.dtype == np.uint8
        assert split.y.dtype == np.int32
        assert (split.x.min(), split.x.max()) == (0, 16)
        assert not split.x.flags.writeable
        assert not split.y.flags.writeable


def test_the_input_of_a_network_lies_between_0_and_1(digits: Dataset) -> None:
    x = (digits.train.x - digits.mean) / digits.scale
    assert (x.min(), x.max()) == (0.0, 1.0)


def test_the_splits_share_no_image_and_leave_none_out(digits: Dataset) -> None:
    source: Any = load_digits()
    splits = (digits.train, digits.validation, digits.test)
    found = Counter(
        (image.tobytes(), int(label)) for split in splits for image, label in zip(split.x, split.y, strict=True)
    )
    expected = Counter(
        (image.astype(np.uint8).tobytes(), int(label))
        for image, label in zip(source["images"], source["target"], strict=True)
    )
    assert len(expected) == 1797  # no image is there twice, so that equal counts mean disjoint splits
    assert found == expected


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_every_class_has_its_fraction_of_each_split(digits: Dataset, name: str) -> None:
    everything = np.concatenate([digits.split(split).y for split in ("train", "validation", "test")])
    counts = np.bincount(digits.split(name).y, minlength=10)
    exact = np.bincount(everything, minlength=10) * len(digits.split(name)) / 1797
    assert np.all(np.abs(counts - exact) < 2)


def test_the_split_never_changes(digits: Dataset) -> None:
    assert digits.checksum == "1cf8ed2c09493c45807c837dac71bf58cd5a2aa43411b6a6190e24e0b035128f"
    assert data.load("digits").checksum == digits.checksum


def test_nothing_has_to_be_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(tmp_path))
    assert data.verify("digits") == []
    assert data.find("digits") == ()
    assert data.fetch("digits") == tmp_path / "digits"
    assert list(tmp_path.iterdir()) == []


def test_it_does_not_ask_for_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(tmp_path / "nowhere"))
    assert data.load("digits").name == "digits"
