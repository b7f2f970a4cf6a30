"""Reading idx: what was written comes back, and a file with any fault is refused with that fault's name."""

import gzip
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from data_helpers import CODES, idx_bytes, write_idx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from equiprop.data import _room, read_idx
from equiprop.errors import InputError

ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
)
VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def refusal(path: Path) -> str:
    """The message of the one error that reading this file may raise, checked for what every such message has."""
    with pytest.raises(InputError) as caught:
        read_idx(path)
    message = str(caught.value)
    assert str(path) in message
    assert "delete it and run `equiprop data fetch" in message
    assert "\n" not in message
    return message


@settings(derandomize=True, deadline=None)
@given(values=ARRAYS, name=st.sampled_from(["values.idx", "values.idx.gz"]))
def test_what_was_written_comes_back(values: np.ndarray, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read = read_idx(write_idx(Path(folder) / name, values))
    assert read.dtype == values.dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, values, strict=True)


@settings(derandomize=True, deadline=None)
@given(values=ARRAYS, data=st.data())
def test_no_proper_prefix_of_a_file_is_accepted(values: np.ndarray, data: st.DataObject) -> None:
    whole = idx_bytes(values)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "values.idx"
        path.write_bytes(whole[:cut])
        assert "is truncated" in refusal(path)
        path = Path(folder) / "values.idx.gz"
        path.write_bytes(gzip.compress(whole[:cut], mtime=0))
        assert "is truncated" in refusal(path)


def test_every_way_to_cut_a_compressed_file_is_seen(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(VALUES), mtime=0)
    path = tmp_path / "values.gz"
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert ("is truncated: its gzip stream does not end" if cut > 1 else "is truncated") in refusal(path)


def test_no_flipped_bit_gives_other_values(tmp_path: Path) -> None:
    whole = gzip.compress(idx_bytes(VALUES), mtime=0)
    path = tmp_path / "values.gz"
    accepted = 0
    for place in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            try:
                values = read_idx(path)
            except InputError:
                continue
            accepted += 1
            np.testing.assert_array_equal(values, VALUES, strict=True)
    # What may be flipped unseen: the header's flags, time and system (7 bytes), and the padding of the last block.
    assert accepted <= 7 * 8 + 7


def test_a_wrong_check_sum_of_gzip_is_named(tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(idx_bytes(VALUES), mtime=0))
    damaged[-8] ^= 1
    path = tmp_path / "values.gz"
    path.write_bytes(bytes(damaged))
    assert "is a corrupt gzip file" in refusal(path)
    assert "incorrect data check" in refusal(path)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"\x00\x01\x08\x01\x00\x00\x00\x01\x07", "magic number is 00 01 08 01"),
        (b"\x00\x00\x08\x00", "magic number is 00 00 08 00"),
        (b"\x00\x00\x0a\x01\x00\x00\x00\x01\x07", "has type byte 0a"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x01", "do not hold the header of 2 dimensions"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x01\x07\x07\x07", "has bytes after the end of its [1] uint8"),
        (b"\x00\x00\x08\x01\xff\xff\xff\xff\x07", "takes 4294967303 bytes and it holds 9"),
        (b"\x00\x00\x08\x03" + b"\x00" * 4 + b"\xff" * 8, "has dimensions that no array can have"),
        (b"\x00\x00\x08\xff" + b"\x00\x00\x00\x01" * 255 + b"\x07", "has dimensions that no array can have"),
        (b"", "0 bytes do not hold"),
    ],
)
def test_the_fault_of_a_wrong_content_is_named(data: bytes, fault: str, tmp_path: Path) -> None:
    for name in ("values.idx", "values.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        assert fault in refusal(path)


@pytest.mark.parametrize("extra", [b"\x00", b"extra"])
def test_bytes_after_the_gzip_stream_are_refused(extra: bytes, tmp_path: Path) -> None:
    path = write_idx(tmp_path / "values.gz", VALUES)
    path.write_bytes(path.read_bytes() + extra)
    assert f"has {len(extra)} trailing bytes after its gzip stream" in refusal(path)


def test_a_file_in_several_gzip_streams_is_read_as_one(tmp_path: Path) -> None:
    whole, path = idx_bytes(VALUES), tmp_path / "values.gz"
    path.write_bytes(gzip.compress(whole[:20]) + gzip.compress(whole[20:]))
    np.testing.assert_array_equal(read_idx(path), VALUES, strict=True)
    path.write_bytes(gzip.compress(whole) + gzip.compress(b"a second member", mtime=0))
    assert "has bytes after the end of its [2, 3, 4] int16" in refusal(path)


def test_no_more_is_decompressed_than_the_header_declares(tmp_path: Path) -> None:
    path = tmp_path / "values.gz"
    path.write_bytes(gzip.compress(idx_bytes(VALUES) + bytes(2**26)))
    tracemalloc.start()
    try:
        assert "has bytes after the end of its [2, 3, 4] int16" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_what_there_is_no_room_for_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "values.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(2**20, np.int16))))
    monkeypatch.setattr(_room, "_room", lambda: 2**20)
    with pytest.raises(InputError, match=r"takes 0\.00195 GiB of memory, and this machine has room for 0\.000977: "):
        read_idx(path)


@pytest.mark.parametrize(("name", "compressed"), [("values.gz", False), ("values.idx", True)])
def test_what_counts_is_the_content_and_not_the_name(name: str, compressed: bool, tmp_path: Path) -> None:
    whole, path = idx_bytes(VALUES), tmp_path / name
    path.write_bytes(gzip.compress(whole) if compressed else whole)
    np.testing.assert_array_equal(read_idx(path), VALUES, strict=True)


@pytest.mark.parametrize("data", [b"<html>sign in to the network</html>", b"x"])
def test_a_file_that_is_neither_gzip_nor_idx_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "values.gz"
    path.write_bytes(data)
    assert "is not an idx file" in refusal(path) or "is truncated" in refusal(path)


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.gz cannot be read \(No such file or directory\)"):
        read_idx(tmp_path / "nowhere.gz")
