"""NumPy's files, by whichever reader: every way to be damaged or hostile is refused, by name and before memory is taken."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equiprop.data import _room, load, read_inputs
from equiprop.data._imagenet import read_imagenet
from equiprop.errors import InputError

WHOLE = np.arange(6.0).reshape(2, 3)


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + data


def header(descr: str = "'<f8'", shape: str = "(2, 3)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"


def saved(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=True)
    return file.getvalue()


HOSTILE = {
    "a key that is none": npy("{{}: 1}"),
    "brackets": npy("(" * 5000),
    "signs": npy("-" * 9000 + "1"),
    "no Python": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (12, 3072"),
    "a long number": npy(header(shape=f"({'9' * 5000},)")),
    "279 TiB": npy(header(shape="(2, 19241453486080)"), WHOLE.tobytes()),
    "negative": npy(header(shape="(-2, -3)"), WHOLE.tobytes()),
    "negative alone": npy(header(shape="(-6,)"), WHOLE.tobytes()),
    "too short": npy(header(), WHOLE.tobytes()[:-1]),
    "too long": npy(header(), WHOLE.tobytes() + b"x"),
    "objects": saved(np.array([[{}]])),
    "a structure": saved(np.zeros((2, 3), [("a", "<f4"), ("b", "<f4")])),
    "arrays of arrays": npy(header("('<f8', (3,))", "(2,)"), WHOLE.tobytes()),
    "nothing each": npy(header("'|S0'", "(1000000000000000,)")),
    "another version": npy(header(), WHOLE.tobytes(), version=9),
    "nothing": b"",
    "something else": b"<html>sign in</html>",
}


def zipped(packed: int = zipfile.ZIP_DEFLATED, suffix: str = ".npy", **content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as archive:
        for name, each in content.items():
            archive.writestr(name + suffix, each)
    return file.getvalue()


def encrypted(archive: bytes) -> bytes:
    """As if its members were, by the flag in both of the places where each is described."""
    for sign, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        first, *parts = archive.split(sign)
        flags = place - len(sign)
        archive = sign.join([first, *(part[:flags] + bytes([part[flags] | 1]) + part[flags + 1 :] for part in parts)])
    return archive


def archives(*names: str) -> dict[str, bytes]:
    """Archives of arrays of these names, each with a fault."""
    whole = dict.fromkeys(names, saved(WHOLE))
    plain = zipped(**whole)
    return {
        **{how: zipped(**dict.fromkeys(names, content)) for how, content in HOSTILE.items()},
        "encrypted": encrypted(plain),
        "packed by LZMA": zipped(zipfile.ZIP_LZMA, **whole),
        "packed by bzip2": zipped(zipfile.ZIP_BZIP2, **whole),
        "cut": plain[:-30],
        "a flipped bit": plain[:60] + bytes([plain[60] ^ 16]) + plain[61:],
        "no archive": b"",
    }


def refusal(read: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("how", archives("x"))
def test_a_damaged_archive_is_refused_whoever_reads_it(how: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    fault = f"{path} is not a whole npz file ("
    path.write_bytes(archives("x", "y")[how])
    for read in (lambda: load(str(path)), lambda: read_inputs([path], (3,))):
        assert refusal(read).startswith(fault)
        assert "; save it anew with numpy.savez" in refusal(read)
    path.write_bytes(archives("data", "labels")[how])
    for train in (True, False):
        said = refusal(lambda train=train: read_imagenet((path, path), train=train))
        assert said.startswith(fault) and "; get the official file again" in said


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_npy_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    said = refusal(lambda: read_inputs([path], (3,)))
    assert said.startswith(f"{path} is not a whole npy file (") and "; save it anew with numpy.save" in said


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_whole_ones_are_read(version: tuple[int, int], order: Any, tmp_path: Path) -> None:
    values, file = np.asarray(WHOLE, order=order), io.BytesIO()
    np.lib.format.write_array(file, values, version)
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    (tmp_path / "x.npz").write_bytes(zipped(x=file.getvalue()))
    found, _ = read_inputs([tmp_path / "x.npy", tmp_path / "x.npz"], (3,))
    np.testing.assert_array_equal(found, np.concatenate([WHOLE, WHOLE]))


@pytest.mark.parametrize("order", "<>")
def test_words_are_read_in_either_order_of_their_bytes(order: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((20, 1)), y=np.array(["é", "a\U0001f642"] * 10).astype(f"{order}U2"))
    assert load(str(tmp_path / "d.npz")).classes == ("a\U0001f642", "é")


@pytest.mark.parametrize(("descr", "letter"), [("'<U1'", b"\xff" * 4), ("'>U1'", b"\0\0\xd8\0")])
def test_words_of_what_are_no_letters_are_refused(descr: str, letter: bytes, tmp_path: Path) -> None:
    """Python fails at some of these as at nothing that a file may do."""
    path = tmp_path / "d.npz"
    path.write_bytes(zipped(x=saved(np.zeros((20, 1))), y=npy(header(descr, "(20,)"), letter * 20)))
    assert f"{path} is not a whole npz file (its words are no text)" in refusal(lambda: load(str(path)))


def test_a_member_that_is_no_array_is_none(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(zipped(suffix="", x=saved(WHOLE), y=saved(WHOLE[:, 0])))
    assert "holds nothing: it must hold x and y" in refusal(lambda: load(str(path)))
    assert "holds nothing: it must hold x" in refusal(lambda: read_inputs([path], (3,)))


def test_arrays_that_there_is_no_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is packed is counted by what it becomes, and all that is read from a file together."""
    np.save(tmp_path / "x.npy", np.zeros((2**16, 1)))
    np.savez_compressed(tmp_path / "data.npz", x=np.zeros((2**16, 1)), y=np.zeros(2**16))
    monkeypatch.setattr(_room, "_room", lambda: 2**19 + 200)
    assert "takes 0.000977 GiB of memory" in refusal(lambda: load(str(tmp_path / "data.npz")))
    assert len(read_inputs([tmp_path / "x.npy"], (1,))[0]) == 2**16
    monkeypatch.setattr(_room, "_room", lambda: 2**18)
    for name in ("x.npy", "data.npz"):
        assert "of memory, and this machine has room for" in refusal(
            lambda name=name: read_inputs([tmp_path / name], (1,))
        )


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.array(1.0)}, "holds float64 of shape []"),
        ({"x": np.array(["a", "b"])}, "holds <U1 of shape [2]"),
        ({"x": np.zeros((0, 3))}, "holds no inputs"),
        ({"x": np.zeros((2, 4))}, "holds inputs of shape (4,): they must be (3,)"),
    ],
)
def test_inputs_that_are_none_are_refused(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    assert said in refusal(lambda: read_inputs([tmp_path / "data.npz"], () if "of shape []" in said else (3,)))


def test_parts_of_inputs_that_differ_in_length_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **{"x.a": np.zeros((2, 3)), "x.b": np.zeros(3)})
    said = refusal(lambda: read_inputs([tmp_path / "data.npz"], {"a": (3,), "b": ()}))
    assert "holds parts of inputs that differ in length" in said
