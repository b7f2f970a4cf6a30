"""Pickles of images: what Python 2 and 3 wrote comes back, and nothing that a pickle asks for is ever run."""

import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equiprop.data import _pickles
from equiprop.data._pickles import read_pickle, read_pickle_file
from equiprop.errors import InputError

DATA = np.arange(24, dtype=np.uint8).reshape(4, 6)
LABELS = [3, 1, 2, 0]


def read(content: bytes) -> dict[str, Any]:
    return read_pickle(io.BytesIO(content), "batch")


def refusal(content: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith("batch ")
    assert "get the official file again" in message
    assert "\n" not in message
    return message


def of_python_2(data: np.ndarray, labels: list[int]) -> bytes:
    """What Python 2 pickled: text as bytes, and NumPy under its old names."""
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = (
        b"(K\x01" + b"(K%cK%ct" % data.shape + dtype + b"\x89T" + struct.pack("<I", data.size) + data.tobytes() + b"tb"
    )
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR" + state
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels](" + b"".join(b"K%c" % label for label in labels) + b"eu."


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("text", [str, str.encode])
def test_what_python_3_wrote_comes_back(protocol: int, text: Any) -> None:
    content = {
        text("data"): DATA,
        text("labels"): LABELS,
        text("mean"): DATA.mean(axis=0),
        text("wide"): DATA.astype(">i4"),
    }
    found = read(pickle.dumps(content, protocol=protocol))
    assert list(found) == ["data", "labels", "mean", "wide"]
    np.testing.assert_array_equal(found["data"], DATA, strict=True)
    np.testing.assert_array_equal(found["mean"], DATA.mean(axis=0), strict=True)
    np.testing.assert_array_equal(found["wide"], DATA)
    assert found["labels"] == LABELS


@pytest.mark.parametrize("protocol", [2, 5])
def test_an_array_stored_by_columns_comes_back(protocol: int) -> None:
    found = read(pickle.dumps({"data": np.asfortranarray(DATA)}, protocol=protocol))
    np.testing.assert_array_equal(found["data"], DATA, strict=True)


def test_what_python_2_wrote_comes_back() -> None:
    found = read(of_python_2(DATA, LABELS))
    np.testing.assert_array_equal(found["data"], DATA, strict=True)
    assert found["labels"] == LABELS


@pytest.mark.parametrize("core", ["core", "_core"])
def test_numpy_may_have_either_of_its_names(core: str) -> None:
    content = of_python_2(DATA, LABELS).replace(b"numpy.core.", f"numpy.{core}.".encode())
    np.testing.assert_array_equal(read(content)["data"], DATA)


class Runs:
    """Pickles as a call."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        function, *arguments = self.call
        return function, tuple(arguments)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("where", ["data", "labels", "elsewhere"])
def test_nothing_is_run(protocol: int, where: str, tmp_path: Path) -> None:
    made = tmp_path / "made"
    content = {"data": DATA, "labels": LABELS} | {where: [Runs(os.mkdir, str(made))]}
    assert f"it asks for '{os.mkdir.__module__}.mkdir'" in refusal(pickle.dumps(content, protocol=protocol))
    assert not made.exists()


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (b"c__builtin__\neval\n", "__builtin__.eval"),
        (b"cnumpy\nload\n", "numpy.load"),
        (b"cnumpy.core.multiarray\nscalar\n", "numpy.core.multiarray.scalar"),
        (b"\x8c\x05posix\x8c\x09sy\nstem.x\x93", "posix.sy\\nstem.x"),
    ],
)
def test_every_other_name_is_refused_before_it_is_called(name: bytes, asked: str) -> None:
    assert f"it asks for '{asked}'" in refusal(b"\x80\x04" + name + b"(tR.")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (np.array([None, "x"], dtype=object), "it has an array of type 'O8'"),
        (np.array(["text"]), "it has an array of type 'U4'"),
        (np.zeros(2, [("a", "u1")]), "it has an array of type 'V1'"),
        (1j, "it asks for"),
        ({1, 2}, "it asks for"),
    ],
)
def test_only_numbers_are_read(value: Any, fault: str) -> None:
    assert fault in refusal(pickle.dumps({"data": value}, protocol=2))


def test_no_codec_but_latin1_is_used() -> None:
    content = pickle.dumps({b"data": 1}, protocol=2)
    assert b"latin1" in content
    assert "it asks for the encoding 'rot_13'" in refusal(
        content.replace(b"\x06\x00\x00\x00latin1", b"\x06\x00\x00\x00rot_13")
    )


@pytest.mark.slow
@pytest.mark.parametrize("whole", [of_python_2(DATA, LABELS), *(pickle.dumps({"data": DATA}, p) for p in range(6))])
def test_no_proper_prefix_of_a_pickle_is_accepted(whole: bytes) -> None:
    for cut in range(len(whole)):
        assert "is not a pickle of images" in refusal(whole[:cut])


def test_fewer_bytes_than_the_shape_needs_are_refused() -> None:
    whole = of_python_2(DATA, LABELS)
    assert "cannot reshape" in refusal(whole.replace(b"K\x04K\x06", b"K\x05K\x06"))


@pytest.mark.parametrize("content", [b"<html>sign in to the network</html>", b"PK\x03\x04", b"\x1f\x8b\x08\x00"])
def test_another_format_is_refused(content: bytes) -> None:
    assert "is not a pickle of images" in refusal(content)


NESTED = b"".join([b"))", b"\x86)" * 2000])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        # Python's own machine makes room for every place of its memo up to this one: 8 GiB.
        (b"}r\x00\x00\x00\x20" + b"j\x01\x00\x00\x00.", "1"),
        (b"\x80\x02}(" + NESTED + b"K\x01u.", "it has tuples in tuples in tuples"),
        (b"}(K\x01K\x01u.", "it has keys that are no text"),
        (b"\x80\x02}X\x06\x00\x00\x00labels]q\x00h\x00as.", "it has a list in a list"),
        (b"}U\x04labl}s.", "it has a dict in a dict"),
        (b"}U\x04labl)s.", "it has a tuple in a dict"),
        (b"}B\xff\xff\xff\x7f", "it ends early"),
        (b"\x8e" + b"\xff" * 8, "it ends early"),
        (b"\x96" + b"\xff" * 8, "it ends early"),
        (b"\x8b\xff\xff\xff\xff", "it ends early"),
        (b"I" + b"9" * 5000 + b"\n.", "Exceeds the limit"),
        (b"(" * 2 + b"t" * 3, "pop from empty list"),
        (b"K\x01)R.", "it calls a int"),
        (b"}cnumpy\nndarray\n)Rb.", "it builds a dict"),
        (b"K\x01K\x02a.", "it appends to a int"),
        (b"\x82\x01.", "it has the instruction b'\\x82'"),
        (b"(cnumpy\nndarray\no.", "it has the instruction b'o'"),
    ],
)
def test_what_asks_for_memory_depth_or_itself_is_refused(content: bytes, fault: str) -> None:
    tracemalloc.start()
    try:
        assert f"({fault}" in refusal(content)
        assert tracemalloc.get_traced_memory()[1] < 40 * len(content) + 2**16
    finally:
        tracemalloc.stop()


def test_no_more_instructions_are_obeyed_than_images_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pickles, "_MOST_INSTRUCTIONS", 1000)
    assert "it has more than 1000 instructions" in refusal(b"]" * 1001)
    assert read(of_python_2(DATA, LABELS))["labels"] == LABELS


def test_something_other_than_a_dictionary_is_refused() -> None:
    assert "holds a list, not a dictionary" in refusal(pickle.dumps([1, 2]))


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is missing: put the official file there"):
        read_pickle_file(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe", "a device or a pipe")):
        with pytest.raises(InputError, match=f"{path} is {what}: put"):
            read_pickle_file(path)
