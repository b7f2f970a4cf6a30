"""Damaged files of every kind are read or refused, by the same table as `make fuzz`; and what is neither is noticed."""

import itertools
from pathlib import Path
from typing import Any

import fuzz
import pytest
from fuzz import READERS, Reader

from equiprop.errors import InputError


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_or_refused(reader: Reader, tmp_path: Path) -> None:
    reader.read_damaged(tmp_path / "files", None)
    for number in range(3 + int(25 * reader.weight)):
        assert not reader.fault(tmp_path / "files", number), (
            f"python tools/fuzz.py {reader.name} --first {number} --count 1"
        )


def reader_of(read: Any) -> Reader:
    return Reader("made-up", lambda: {"a": b"content", "b": b"more"}, read)


def test_what_is_neither_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: BaseException) -> None:
        raise error

    assert reader_of(lambda _: fail(InputError("is damaged"))).fault(tmp_path, 0) == ""
    for error in (KeyError("a"), MemoryError(), RecursionError(), OSError()):
        assert type(error).__name__ in reader_of(lambda _, error=error: fail(error)).fault(tmp_path, 0)
    monkeypatch.setattr(fuzz, "_SECONDS", 0.01)
    assert "takes more than 0.01 s" in reader_of(lambda _: [0 for _ in itertools.count() if False]).fault(tmp_path, 0)


def test_one_file_at_a_time_is_damaged_and_always_in_the_same_way(tmp_path: Path) -> None:
    seen: list[dict[str, bytes]] = []

    def read(folder: Path) -> None:
        seen.append({name: (folder / name).read_bytes() for name in "ab"})

    reader = reader_of(read)
    for number in [*range(50), *range(50), None]:
        reader.read_damaged(tmp_path / "files", number)
    assert seen[:50] == seen[50:100]
    assert seen[-1] == reader.valid
    changed = [sum(content[name] != reader.valid[name] for name in "ab") for content in seen]
    assert set(changed) <= {0, 1} and sum(changed[:50]) > 40
    assert len({tuple(content.values()) for content in seen[:50]}) > 30
