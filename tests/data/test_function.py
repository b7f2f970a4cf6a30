"""A function of the user's own as a dataset: found by file or module, checked, and each mistake in it named."""

import sys
from pathlib import Path

import numpy as np
import pytest

from equiprop import data
from equiprop.data._dataset import checksum_of
from equiprop.errors import EquipropError, InputError

SOURCE = """\
import numpy as np

from equiprop.data import Dataset, Split
from equiprop.errors import EquipropError


def split(n):
    rng = np.random.default_rng(n)
    return Split(rng.integers(0, 256, (n, 3, 2), dtype=np.uint8), rng.integers(0, 2, n).astype(np.int32))


def make(**changes):
    fields = dict(mean=np.array([1.0, 2.0]), scale=255.0) | changes
    return Dataset("mine", split(20), split(6), split(8), ("a", "b"), **fields)


def claims():
    return make(checksum="0" * 64)


def needs(argument):
    return make()


def fails():
    raise ValueError("there is no disk")


def refuses():
    raise EquipropError("the licence is not accepted")


def wrong():
    return Dataset("mine", split(20), split(6), Split(np.zeros((1, 2, 2), np.uint8), np.zeros(1, np.int32)), ("a",), 0.0, 1.0)


def nothing():
    pass


def arrays():
    return np.zeros(3), np.zeros(3)


number = 3
"""


@pytest.fixture(autouse=True)
def _search_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for a module adds the current folder to where Python looks."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "my data.py"
    path.write_text(SOURCE)
    return path


def refusal(name: str) -> str:
    with pytest.raises(InputError) as caught:
        data.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_is_the_dataset_that_the_function_makes(source: Path) -> None:
    dataset = data.load(f"{source}:make")
    assert dataset.name == "mine"
    assert [len(dataset.split(name)) for name in ("train", "validation", "test")] == [20, 6, 8]
    assert (dataset.classes, dataset.scale) == (("a", "b"), 255.0)
    np.testing.assert_array_equal(dataset.mean, [1.0, 2.0])
    expected = np.random.default_rng(8).integers(0, 256, (8, 3, 2), dtype=np.uint8)
    np.testing.assert_array_equal(dataset.test.x, expected)
    assert not dataset.test.x.flags.writeable


def test_its_checksum_is_that_of_its_content_whatever_the_function_says(source: Path) -> None:
    dataset = data.load(f"{source}:make")
    assert dataset.checksum == checksum_of(dataset.train, dataset.validation, dataset.test)
    assert data.load(f"{source}:claims").checksum == dataset.checksum


def test_a_file_may_be_given_relative_to_the_current_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = data.load(f"{source}:make").checksum
    monkeypatch.chdir(source.parent)
    assert data.load("my data.py:make").checksum == expected
    (source.parent / "below").mkdir()
    monkeypatch.chdir(source.parent / "below")
    assert data.load("../my data.py:make").checksum == expected


def test_a_module_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "equiprop_test_data").mkdir()
    (tmp_path / "equiprop_test_data" / "mine.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    assert data.load("equiprop_test_data.mine:make").name == "mine"


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        ("nothing", "gives a NoneType, which is no Dataset; return an equiprop.data.Dataset"),
        ("arrays", "gives a tuple, which is no Dataset; return an equiprop.data.Dataset"),
        ("fails", "raised ValueError: there is no disk"),
        ("needs", "raised TypeError: needs() missing 1 required positional argument: 'argument'"),
        ("number", "raised TypeError: 'int' object is not callable"),
    ],
)
def test_a_function_that_makes_no_dataset_is_refused(source: Path, function: str, fault: str) -> None:
    assert refusal(f"{source}:{function}") == f"dataset = '{source}:{function}': {fault}"


def test_an_error_in_one_line_stays_as_it_is(source: Path) -> None:
    with pytest.raises(EquipropError, match=r"^the licence is not accepted$"):
        data.load(f"{source}:refuses")
    assert refusal(f"{source}:wrong").startswith(
        "dataset = 'mine': the inputs of test are [2, 2], those of train [3, 2]"
    )


def test_what_is_not_there_is_an_input_error(source: Path) -> None:
    assert refusal(f"{source}:mkae") == f"dataset: {source} has no 'mkae'"
    absent = source.with_name("absent.py")
    assert refusal(f"{absent}:make") == f"dataset: {absent}: there is no such file"
    assert "ModuleNotFoundError: No module named 'equiprop_absent'" in refusal("equiprop_absent:make")


def test_a_file_without_a_function_is_answered_with_the_form(source: Path) -> None:
    assert refusal(str(source)) == f"dataset = '{source}': does not say which function; give {source}:FUNCTION"


def test_a_folder_whose_name_looks_like_a_function_is_given_as_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images:large").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "has no folder train" in refusal("./images:large")
