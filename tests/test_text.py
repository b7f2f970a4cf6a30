"""Text that others wrote: TOML and JSON in one place, whatever is in the file; and what is printed of it is one line."""

import os
import time
from pathlib import Path

import pytest

from equiprop import files
from equiprop.errors import InputError, printable
from equiprop.files import (
    expanded,
    parse_json,
    parse_toml,
    read_json,
    read_text,
    read_toml,
    toml_value,
    write_atomically,
)

DEEP = "tables or lists are nested more than 64 deep"
LONG = "a whole number has more than 64 bits"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a = " + "[" * 1000 + "]" * 1000, DEEP),
        ("a = " + "[" * 70 + "]" * 70, DEEP),
        ("x = " + "{a = " * 70 + "1" + "}" * 70, DEEP),
        (".".join("a" * 50_000) + " = 1", DEEP),
        ("[" + " . ".join(["'a'"] * 50_000) + "]", DEEP),
        ("a = " + "9" * 400, LONG),
        ("a = -" + "9" * 19, LONG),
        ("a = 0x" + "f" * 20, LONG),
        ("a = " + "9" * 5000, LONG),
        ("a\0 = 1", "Expected '=' after a key"),
        (b"a = '\xe9'", "byte 5 is not UTF-8"),
        ("a = 1\na = 2", "Cannot overwrite a value"),
    ],
    ids=range(12),
)
def test_toml_that_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path, began = tmp_path / "a.toml", time.perf_counter()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refused:
        read_toml(path, "mend it")
    assert str(refused.value).startswith(f"{path}: is not valid TOML ({message}")
    assert str(refused.value).endswith("; mend it")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", DEEP),
        ('{"a":' * 70 + "1" + "}" * 70, DEEP),
        ('{"a": ' + "9" * 400 + "}", LONG),
        ('{"a": [1, {"b": -' + "9" * 19 + "}]}", LONG),
        ('{"a": ' + "9" * 5000 + "}", LONG),
        ('{"a": 1, "b": 2, "a": 3}', "'a' is there twice"),
        ("[1]", "expected an object, got list"),
        ("", "Expecting value"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
    ],
    ids=range(9),
)
def test_json_that_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refused:
        read_json(path)
    assert str(refused.value).startswith(f"{path}: is not valid JSON ({message}")


def test_text_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\xff")
    with pytest.raises(InputError, match=r"a\.txt: is not valid text \(byte 7 is not UTF-8\); mend it$"):
        read_text(path, "mend it")
    path.write_bytes(path.read_bytes()[:-1])
    assert read_text(path) == "a\nb"


def test_what_is_read() -> None:
    """A mark at the beginning says that it is UTF-8, and Python writes numbers that are not finite into JSON."""
    assert parse_toml(b"\xef\xbb\xbfa = 1\r\nb = [" + b"[1]," * 500 + b"]") == {"a": 1, "b": [[1]] * 500}
    assert parse_toml("a." * 20 + f"b = {2**63 - 1}") != {}
    assert parse_json(b'\xef\xbb\xbf{"a": [Infinity, -Infinity], "b": 9223372036854775807}') == {
        "a": [float("inf"), float("-inf")],
        "b": 2**63 - 1,
    }
    assert toml_value("[1, 2.5]") == [1, 2.5]
    for text in ("1\nb = 2", "some words", "[" * 1000):
        with pytest.raises(ValueError):
            toml_value(text)


def test_what_is_no_file_is_refused_and_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text(" " * 101)
    monkeypatch.setattr(files, "LARGEST_TOML", 100)
    for name, message in {
        "pipe": "is a device or a pipe; give a file",
        ".": "is a folder; give a file",
        "none": "cannot be read (No such file or directory)",
        "nul\0": "cannot be read (no file can have this name)",
        "large": "has 101 bytes, more than the 100 that are read; is it the right file?",
    }.items():
        with pytest.raises(InputError) as refused:
            read_toml(tmp_path / name)
        assert str(refused.value) == f"{printable(str(tmp_path / name))}: {message}"


def test_text_is_written_as_utf_8_whatever_is_in_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "β\n" + os.fsdecode(b"\xff"))
    assert (tmp_path / "a").read_bytes() == "β\n".encode() + rb"\udcff"


def test_what_is_printed_is_one_line_without_commands_to_the_terminal() -> None:
    assert printable("a\nb\tc\x1b[31m\x00\x9b\u202e\u2028" + os.fsdecode(b"\xff")) == (
        r"a\nb\tc\x1b[31m\x00\x9b\u202e\u2028\udcff"
    )
    for plain in ("β° [bold] :smile: – Ω 日本", r"a\nb"):
        assert printable(plain) == plain
    error = InputError("one\n  two", path="a\nb", value="c\x1b", hint="d\r")
    assert str(error) == r"a\nb = 'c\x1b': one two; d\r"


def test_a_home_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^~nobody_of_that_name/x: there is no such home folder; give the whole path"):
        expanded("~nobody_of_that_name/x")
    assert expanded("a/~") == Path("a/~")
