"""A folder of images as a dataset: sorted, split, scaled; and each mistake in it named."""

import errno
import os
import struct
import sys
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equiprop import data
from equiprop.data import _room
from equiprop.data._statistics import statistics
from equiprop.errors import InputError

COLOUR = (5, 4, 3)
GREY = (5, 4)


def put(path: Path, seed: int, shape: tuple[int, ...] = COLOUR) -> np.ndarray:
    """Writes random pixels as an image, without loss but for jpeg."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return pixels


def make(folder: Path, shape: tuple[int, ...] = COLOUR) -> dict[str, np.ndarray]:
    """Ten training images of each of two classes and three test images of each; returns the pixels by path."""
    return {
        f"{split}/{name}/{i}.png": put(folder / split / name / f"{i}.png", 100 * s + 10 * c + i, shape)
        for s, (split, n) in enumerate([("train", 10), ("test", 3)])
        for c, name in enumerate(["dog", "cat"])
        for i in range(n)
    }


def labelled(split: data.Split) -> set[tuple[int, bytes]]:
    return {(int(label), image.tobytes()) for label, image in zip(split.y, split.x, strict=True)}


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        data.load(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shape", [COLOUR, GREY])
def test_a_folder_is_a_dataset(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = make(tmp_path, shape)
    dataset = data.load(str(tmp_path))
    assert isinstance(dataset.train, data.Split)
    assert dataset.name == str(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.input_shape == shape
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (18, 2, 6)
    assert sorted(dataset.validation.y.tolist()) == [0, 1]
    expected = {
        (label, pixels[f"test/{n}/{i}.png"].tobytes()) for label, n in enumerate(("cat", "dog")) for i in range(3)
    }
    assert labelled(dataset.test) == expected
    found = sorted(image.tobytes() for split in (dataset.train, dataset.validation) for image in split.x)
    assert found == sorted(image.tobytes() for path, image in pixels.items() if path.startswith("train"))
    assert not dataset.train.x.flags.writeable
    assert data.load(str(tmp_path)).checksum == dataset.checksum


def test_mean_and_scale_are_those_of_the_training_images(tmp_path: Path) -> None:
    make(tmp_path)
    dataset = data.load(str(tmp_path))
    assert isinstance(dataset.train, data.Split)
    pixels = dataset.train.x.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(dataset.scale, 1.5 * pixels.std(axis=0))


@pytest.mark.parametrize("shape", [(30, 5, 4, 3), (2000, 5, 4), (1, 2, 2, 1)])
def test_the_statistics_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    mean, scale = statistics(images)
    axes = (0, 1, 2)
    np.testing.assert_allclose(mean, images.mean(axis=axes))
    np.testing.assert_allclose(scale, 1.5 * images.std(axis=axes))
    assert isinstance(mean, float if len(shape) == 3 else np.ndarray)


def test_a_channel_that_never_varies_has_scale_one() -> None:
    images = np.random.default_rng(1).integers(0, 256, (4, 3, 3, 2), dtype=np.uint8)
    images[..., 1] = 77
    mean, scale = statistics(images)
    assert isinstance(mean, np.ndarray) and isinstance(scale, np.ndarray)
    assert (mean[1], scale[1]) == (77.0, 1.0)
    assert statistics(images[..., 1]) == (77.0, 1.0)


def test_a_validation_folder_is_used_as_it_is(tmp_path: Path) -> None:
    make(tmp_path)
    own = put(tmp_path / "validation" / "dog" / "x.png", 7)
    dataset = data.load(str(tmp_path))
    assert (len(dataset.train), len(dataset.validation)) == (20, 1)
    assert dataset.validation.y.tolist() == [1]
    np.testing.assert_array_equal(dataset.validation.x[0], own)


def test_every_format_is_read(tmp_path: Path) -> None:
    make(tmp_path)
    extra = [put(tmp_path / "test" / "cat" / name, 50 + i) for i, name in enumerate(["a.bmp", "b.webp", "c.PNG"])]
    put(tmp_path / "test" / "cat" / "d.jpeg", 60)
    put(tmp_path / "test" / "cat" / "e.JPG", 61)
    dataset = data.load(str(tmp_path))
    assert np.bincount(dataset.test.y).tolist() == [8, 3]
    assert labelled(dataset.test) > {(0, image.tobytes()) for image in extra}


def test_the_first_images_are_of_all_classes(tmp_path: Path) -> None:
    """Those are what a limit keeps and what diagnostics look at; files are found class by class."""
    for split, n in (("train", 40), ("validation", 20), ("test", 20)):
        for c, name in enumerate(["ant", "bee", "cow", "dog"]):
            for i in range(n):
                put(tmp_path / split / name / f"{i}.png", 1000 * c + i, (2, 2))
    dataset = data.load(str(tmp_path))
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split, data.Split)
        assert np.bincount(split.y[:20], minlength=4).min() >= 2


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path)
    reference = data.load(str(tmp_path)).checksum
    (tmp_path / "train" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "train" / "cat" / ".thumbnails").mkdir()
    assert data.load(str(tmp_path)).checksum == reference


def test_a_folder_may_be_given_relative_to_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    checksums = {data.load(name).checksum for name in ("mine", "./mine", "mine/", "~/mine")}
    assert len(checksums) == 1


def test_a_name_of_the_catalogue_comes_before_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert data.load("digits").input_shape == (8, 8)
    assert data.load("./digits").input_shape == COLOUR


@pytest.mark.parametrize("name", ["", "minst"])
def test_a_name_that_is_neither_is_answered_with_the_catalogue(name: str) -> None:
    with pytest.raises(InputError, match=f"dataset = '{name}': is not known; choose one of digits"):
        data.load(name)


def test_a_path_that_is_no_folder_is_an_input_error(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith(
        f"dataset = '{tmp_path / 'nowhere'}': does not exist; give a folder"
    )
    file = tmp_path / "file.zip"
    file.write_bytes(b"")
    assert f"dataset = '{file}': is no folder, and no .npz, .csv or .parquet file; give a folder, a file" in refusal(
        file
    )


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path} has no folder train: it must hold train/CLASS/*.png" in refusal(tmp_path)
    put(tmp_path / "train" / "cat" / "0.png", 0)
    assert f"{tmp_path} has no folder test" in refusal(tmp_path)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_class_that_train_lacks_is_refused(tmp_path: Path, split: str) -> None:
    make(tmp_path)
    put(tmp_path / split / "bird" / "0.png", 0)
    assert f"{tmp_path / split / 'bird'}: the class 'bird' is not one of train, which has cat, dog" in refusal(tmp_path)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class_is_refused(tmp_path: Path, split: str) -> None:
    make(tmp_path)
    for path in (tmp_path / split / "cat").iterdir():
        path.unlink()
    assert f"{tmp_path / split / 'cat'} is empty: put images (.png, .jpg, .jpeg, .webp, .bmp) there" in refusal(
        tmp_path
    )


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "validation").mkdir()
    assert f"{tmp_path / 'validation'} is empty: put the images of each class" in refusal(tmp_path)


def test_an_image_of_another_size_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    wrong = tmp_path / "test" / "dog" / "1.png"
    put(wrong, 0, (6, 4, 3))
    first = tmp_path / "train" / "cat" / "0.png"
    assert f"{wrong} is 4 by 6 pixels and {first} is 4 by 5: all images must have one size" in refusal(tmp_path)


def test_an_image_of_another_mode_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    wrong = tmp_path / "train" / "dog" / "1.png"
    put(wrong, 0, GREY)
    first = tmp_path / "train" / "cat" / "0.png"
    assert f"{wrong} has mode L and {first} has RGB: all images must have one, convert them" in refusal(tmp_path)


def test_a_mode_other_than_colour_and_grey_is_refused(tmp_path: Path) -> None:
    make(tmp_path, (5, 4, 4))
    assert f"{tmp_path / 'train' / 'cat' / '0.png'} has mode RGBA: images must be RGB or grey (L)" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    make(tmp_path)
    wrong = tmp_path / "test" / "cat" / "2.png"
    wrong.write_bytes(content)
    assert f"{wrong} is no image that can be read (png, jpeg, webp or bmp): replace or remove it" in refusal(tmp_path)


@pytest.mark.parametrize("form", ["TIFF", "EPS", "PPM", "GIF", "DDS"])
def test_an_image_of_a_form_that_no_suffix_names_is_refused(tmp_path: Path, form: str) -> None:
    """Whatever else Pillow could read: of some it starts other programs."""
    make(tmp_path)
    wrong = tmp_path / "test" / "cat" / "2.png"
    Image.fromarray(np.zeros(COLOUR, np.uint8)).save(wrong, form)
    assert f"{wrong} is no image that can be read (png, jpeg, webp or bmp)" in refusal(tmp_path)


def png_of(width: int, height: int) -> bytes:
    """One that says it is of that size, with nothing in it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("size", [(10_000, 9000), (2**31 - 1, 2**31 - 1)])
def test_an_image_of_too_many_pixels_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    """Pillow warns of the first and refuses the second."""
    make(tmp_path)
    wrong = tmp_path / "train" / "cat" / "0.png"
    wrong.write_bytes(png_of(*size) + b"\0\0\0\0IDAT")
    assert f"{wrong} has more than 89478485 pixels: resize it" in refusal(tmp_path)


def test_a_length_that_an_image_does_not_have_takes_no_memory(tmp_path: Path) -> None:
    make(tmp_path)
    wrong = tmp_path / "train" / "cat" / "0.png"
    before, content = wrong.read_bytes().split(b"IDAT")
    wrong.write_bytes(before[:-4] + b"\x40\0\0\0IDAT" + content)
    tracemalloc.start()
    try:
        with suppress(InputError):
            data.load(str(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_more_images_than_there_is_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    monkeypatch.setattr(_room, "_room", lambda: 26 * 60)
    assert len(data.load(str(tmp_path)).test) == 6
    monkeypatch.setattr(_room, "_room", lambda: 26 * 60 - 1)
    assert refusal(tmp_path).startswith(f"{tmp_path} takes 1.45e-06 GiB of memory, and this machine has room for")


def test_links_are_followed(tmp_path: Path) -> None:
    make(tmp_path / "real")
    linked = tmp_path / "linked"
    for split in ("train", "test"):
        (linked / split / "dog").mkdir(parents=True)
        for image in (tmp_path / "real" / split / "dog").iterdir():
            (linked / split / "dog" / image.name).symlink_to(image)
        (linked / split / "cat").symlink_to(tmp_path / "real" / split / "cat")
    assert data.load(str(linked)).checksum == data.load(str(tmp_path / "real")).checksum
    broken = linked / "test" / "dog" / "0.png"
    broken.unlink()
    broken.symlink_to(broken)
    assert f"{broken} is not an image file" in refusal(linked)


def test_a_folder_that_may_not_be_read_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    listed = Path.iterdir

    def forbidden(folder: Path) -> Any:
        if folder.name == "dog":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert f"{tmp_path / 'train' / 'dog'} cannot be read (Permission denied)" in refusal(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_a_truncated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    make(tmp_path)
    wrong = tmp_path / "train" / "cat" / f"x.{suffix}"
    put(wrong, 3)
    whole = wrong.read_bytes()
    wrong.write_bytes(whole[: len(whole) * 3 // 4])
    assert str(wrong) in refusal(tmp_path)


@pytest.mark.parametrize("stray", ["train/cat/notes.txt", "train/cat/0.gif", "train/cat/deeper/0.png"])
def test_what_is_no_image_file_is_refused(tmp_path: Path, stray: str) -> None:
    make(tmp_path)
    path = tmp_path / stray
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    named = path if path.parent.name == "cat" else path.parent
    assert f"{named} is not an image file (.png, .jpg, .jpeg, .webp, .bmp): convert or remove it" in refusal(tmp_path)


def test_a_file_among_the_classes_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    put(tmp_path / "train" / "0.png", 0)
    assert f"{tmp_path / 'train' / '0.png'} is not a folder: put the images of each class" in refusal(tmp_path)


def test_too_few_images_to_hold_out_from_are_refused(tmp_path: Path) -> None:
    for i in range(9):
        put(tmp_path / "train" / "cat" / f"{i}.png", i)
    put(tmp_path / "test" / "cat" / "0.png", 20)
    assert f"dataset = '{tmp_path}': has 9 training samples; there must be at least 10" in refusal(tmp_path)


def test_without_pillow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path)
    absent: Any = None
    monkeypatch.setitem(sys.modules, "PIL", absent)
    assert refusal(tmp_path) == "reading images needs Pillow: install it with `pip install pillow`"
