"""Downsampled ImageNet in small: file by file, never two at once, from npz and from pickles alike."""

import pickle
import re
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import image_of, some_rows

from equiprop import data
from equiprop.data import Dataset, Shards
from equiprop.data._imagenet import LAYOUTS
from equiprop.errors import InputError

COUNTS = (*range(12, 21), 40)
TEST_IMAGES = 15
FORMATS = ("npz", "pickle")


def contents(scale: int = 1) -> list[dict[str, Any]]:
    """Of the ten training files and the validation file; labels from 1."""
    return [
        {
            "data": some_rows(scale * n, seed),
            "labels": [1 + (seed + i) % 4 for i in range(scale * n - 2)] + [1, 1000],
            "mean": np.zeros(3072),
        }
        for seed, n in enumerate((*COUNTS, TEST_IMAGES))
    ]


def put(folder: Path, layout: tuple[str, ...], parts: list[dict[str, Any]]) -> list[Path]:
    paths = [folder / "imagenet32" / name for name in layout]
    for path, part in zip(paths, parts, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".npz":
            # Both are npz; compressing large ones takes long.
            (np.savez_compressed if len(part["data"]) < 100 else np.savez)(path, **part)
        else:
            path.write_bytes(pickle.dumps(part, protocol=3))
    return paths


def layout_of(kind: str) -> tuple[str, ...]:
    return next(layout for layout in LAYOUTS if layout[0].endswith(".npz") == (kind == "npz"))


@pytest.fixture(params=FORMATS)
def paths(request: pytest.FixtureRequest, data_folder: Path) -> list[Path]:
    return put(data_folder, layout_of(request.param), contents())


def shards_of(dataset: Dataset) -> Shards:
    assert isinstance(dataset.train, Shards)
    return dataset.train


def refusal() -> str:
    with pytest.raises(InputError) as caught:
        data.load("imagenet32")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sizes_and_types(paths: list[Path]) -> None:
    dataset = data.load("imagenet32")
    train = shards_of(dataset)
    assert train.counts == (*COUNTS[:-1], 36)
    assert len(train) == sum(COUNTS) - 4
    assert (len(dataset.validation), len(dataset.test)) == (4, TEST_IMAGES)
    assert dataset.input_shape == train.input_shape == (32, 32, 3)
    assert dataset.n_classes == 1000
    assert dataset.classes[0] == "class 1"
    assert dataset.split("train") is train
    for index, count in enumerate(train.counts):
        split = train.load(index)
        assert split.x.shape == (count, 32, 32, 3)
        assert (split.x.dtype, split.y.dtype) == (np.uint8, np.int32)
        assert not split.x.flags.writeable
        assert not split.y.flags.writeable


def test_every_image_comes_back(paths: list[Path]) -> None:
    dataset = data.load("imagenet32")
    train = shards_of(dataset)
    *parts, test = contents()
    for index, part in enumerate(parts[:-1]):
        split = train.load(index)
        np.testing.assert_array_equal(split.y, np.array(part["labels"]) - 1)
        np.testing.assert_array_equal(split.x[0], image_of(part["data"][0]))
        np.testing.assert_array_equal(split.x[-1], image_of(part["data"][-1]))
    np.testing.assert_array_equal(dataset.test.y, np.array(test["labels"]) - 1)
    np.testing.assert_array_equal(dataset.test.x[5], image_of(test["data"][5]))

    last = train.load(len(parts) - 1)
    pool = {
        image_of(row).tobytes(): label - 1 for row, label in zip(parts[-1]["data"], parts[-1]["labels"], strict=True)
    }
    found = [
        (image.tobytes(), int(label))
        for split in (last, dataset.validation)
        for image, label in zip(split.x, split.y, strict=True)
    ]
    assert sorted(found) == sorted(pool.items())
    # What is kept stays in the order of the file.
    order = [list(pool).index(image.tobytes()) for image in last.x]
    assert order == sorted(order)


def test_both_formats_hold_out_the_same_images(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for kind in FORMATS:
        folder = tmp_path / kind
        folder.mkdir()
        monkeypatch.setenv("EQUIPROP_DATA_DIR", str(folder))
        put(folder, layout_of(kind), contents())
        dataset = data.load("imagenet32")
        found.append((dataset.validation, shards_of(dataset).load(9)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.y, theirs.y)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout[0]}-{layout[-1]}")
def test_the_files_may_lie_in_each_of_these_ways(layout: tuple[str, ...], data_folder: Path) -> None:
    put(data_folder, layout, contents())
    assert [state.filename for state in data.verify("imagenet32")] == list(layout)
    assert {state.state for state in data.verify("imagenet32")} == {"present"}
    assert all(state.ok for state in data.verify("imagenet32"))
    assert data.fetch("imagenet32") == data_folder / "imagenet32"
    assert len(data.load("imagenet32").test) == TEST_IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
def test_one_file_at_a_time_is_in_memory(kind: str, data_folder: Path) -> None:
    put(data_folder, layout_of(kind), contents(scale=80))
    largest = 80 * max(COUNTS) * 3072
    buffers = 2**21  # less than the smallest file
    tracemalloc.start()
    try:
        dataset = data.load("imagenet32")
        train = shards_of(dataset)
        held = dataset.validation.x.nbytes + dataset.test.x.nbytes
        # The last file is read to hold images out; all ten together would be more than four times as large.
        assert tracemalloc.get_traced_memory()[1] < largest + held + buffers
        del dataset
        for index in range(len(train.counts)):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            split = train.load(index)
            current, peak = tracemalloc.get_traced_memory()
            file = 80 * COUNTS[index] * 3072
            assert current - before < file + buffers
            # Of a pickle, whose bytes cannot be changed in place, the part that is kept is a second array.
            copies = 1.92 if (kind, index) == ("pickle", 9) else 1
            assert peak - before < copies * file + buffers
            del split
            assert tracemalloc.get_traced_memory()[0] - before < buffers
    finally:
        tracemalloc.stop()


def test_each_load_is_a_fresh_one(paths: list[Path]) -> None:
    train = shards_of(data.load("imagenet32"))
    first, again = train.load(0), train.load(0)
    assert not np.shares_memory(first.x, again.x)
    np.testing.assert_array_equal(first.x, again.x)


def test_the_counts_of_npz_are_known_without_the_images(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(data_folder, layout_of("npz"), contents())
    read: list[tuple[int, ...]] = []
    original = np.lib.format.read_array

    def noted(*arguments: Any, **options: Any) -> np.ndarray:
        array = original(*arguments, **options)
        read.append(array.shape)
        return array

    monkeypatch.setattr(np.lib.format, "read_array", noted)
    data.load("imagenet32")
    # The images of the last training file, of which some are held out, and of the validation file; else only labels.
    assert [shape for shape in read if len(shape) == 2] == [(TEST_IMAGES, 3072), (COUNTS[-1], 3072)]


def test_the_checksum_sees_names_sizes_and_labels(data_folder: Path) -> None:
    def checksum(**changes: Any) -> str:
        parts = contents()
        parts[3] |= changes
        put(data_folder, layout_of("pickle"), parts)
        return data.load("imagenet32").checksum

    reference = checksum()
    assert checksum() == reference
    labels = contents()[3]["labels"]
    assert checksum(labels=[*labels[:-1], 999]) != reference
    assert checksum(more=[0]) != reference
    assert checksum() == reference


def test_a_missing_file_says_where_to_get_it(paths: list[Path]) -> None:
    paths[4].unlink()
    folder = paths[0].parents[1]
    message = refusal()
    assert f"imagenet32: {paths[4].relative_to(folder)} is not in {folder}: " in message
    assert 'get "Downsampled ImageNet 32x32"' in message
    assert "https://image-net.org/download-images" in message
    with pytest.raises(InputError, match=re.escape(message)):
        data.fetch("imagenet32")
    paths[4].mkdir()
    with pytest.raises(InputError, match=r"is corrupt: it is a folder, in .*: get "):
        data.fetch("imagenet32")


def test_without_any_file_it_says_so_too(data_folder: Path) -> None:
    assert f'is not in {data_folder / "imagenet32"}: get "Downsampled ImageNet 32x32"' in refusal()
    assert not (data_folder / "imagenet32").exists()


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 9, 10])
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"labels": [0] * 50}, "label 0 is 0; labels go from 1 to 1000"),
        ({"labels": [1, 1001] + [1] * 48}, "label 1 is 1001; labels go from 1 to 1000"),
        ({"data": np.zeros((50, 12288), np.uint8)}, "its images are uint8 [50, 12288]: they must be uint8 [n, 3072]"),
        ({"data": np.zeros((50, 3072), np.int16)}, "its images are int16 [50, 3072]"),
        ({"labels": [1] * 49}, "it has 49 labels and 50 images"),
    ],
)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_not_what_it_should_be_is_refused(
    kind: str, place: int, changes: dict[str, Any], fault: str, data_folder: Path
) -> None:
    parts = contents()
    parts[place] = {"data": some_rows(50, 0), "labels": [1] * 50} | changes
    paths = put(data_folder, layout_of(kind), parts)
    assert refusal().startswith(f"{paths[place]}: {fault}")


def test_a_file_without_labels_is_refused(data_folder: Path) -> None:
    for kind in FORMATS:
        parts = contents()
        del parts[2]["labels"]
        paths = put(data_folder, layout_of(kind), parts)
        message = refusal()
        assert f"{paths[2]} has no 'labels', only data, mean" in message
        for path in paths:
            path.unlink()


@pytest.mark.parametrize("place", [0, 9, 10])
def test_a_damaged_file_is_refused(place: int, paths: list[Path]) -> None:
    whole = paths[place].read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1], b"<html>sign in</html>"):
        paths[place].write_bytes(damaged)
        message = refusal()
        assert message.startswith(str(paths[place]))
        assert "get the official file again" in message


def test_a_flipped_bit_in_the_images_of_an_npz_is_seen(data_folder: Path) -> None:
    paths = put(data_folder, layout_of("npz"), contents())
    train = shards_of(data.load("imagenet32"))
    whole = bytearray(paths[1].read_bytes())
    whole[len(whole) // 2] ^= 1
    paths[1].write_bytes(whole)
    with pytest.raises(InputError, match=f"{paths[1]} is not a whole npz file"):
        train.load(1)


def test_an_npz_of_objects_is_not_unpickled(data_folder: Path) -> None:
    parts = contents()
    parts[0]["labels"] = np.array([None] * COUNTS[0], dtype=object)
    paths = put(data_folder, layout_of("npz"), parts)
    assert refusal().startswith(f"{paths[0]} is not a whole npz file")


def test_a_file_that_changes_after_loading_is_refused(paths: list[Path]) -> None:
    train = shards_of(data.load("imagenet32"))
    kind = "npz" if paths[0].suffix else "pickle"
    parts = contents()
    parts[0]["data"], parts[0]["labels"] = some_rows(5, 0), [1] * 5
    put(paths[0].parents[2], layout_of(kind), parts)
    with pytest.raises(InputError, match=r"shard 0 now has 5 inputs \[32, 32, 3\], and had 12.*load the dataset again"):
        train.load(0)
    paths[0].unlink()
    with pytest.raises(InputError, match=str(paths[0])):
        train.load(0)


@pytest.mark.parametrize("rows", [2, 50])
def test_a_last_file_that_changes_after_loading_is_refused(rows: int, data_folder: Path) -> None:
    """Of it only a part is kept, the rest being held out; what counts is the file."""
    put(data_folder, layout_of("npz"), contents())
    train = shards_of(data.load("imagenet32"))
    parts = contents()
    parts[9]["data"], parts[9]["labels"] = some_rows(rows, 0), [1] * rows
    put(data_folder, layout_of("npz"), parts)
    with pytest.raises(InputError, match=f"shard 9 now has {rows} inputs .*and had 40.*load the dataset again"):
        train.load(9)


def test_a_header_that_is_no_python_is_refused(data_folder: Path) -> None:
    paths = put(data_folder, layout_of("npz"), contents())
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (12, 3072"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(paths[0], "w") as archive:
        archive.writestr("data.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        archive.writestr("labels.npy", b"")
    assert refusal().startswith(f"{paths[0]} is not a whole npz file")


@pytest.mark.parametrize("index", [-1, 10])
def test_a_shard_that_is_not_there_is_an_input_error(index: int, paths: list[Path]) -> None:
    with pytest.raises(InputError, match=f"shard = {index}: does not exist; there are 10, from 0"):
        shards_of(data.load("imagenet32")).load(index)


def test_a_last_file_too_small_to_hold_out_from_is_refused(data_folder: Path) -> None:
    parts = contents()
    parts[9] |= {"data": some_rows(9, 0), "labels": [1] * 9}
    put(data_folder, layout_of("npz"), parts)
    assert "the last training file has 9 images: there must be at least 10" in refusal()
