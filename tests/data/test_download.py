"""Downloads from a server on this machine: whole and verified, or nothing at all."""

import io
import logging
import socket
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pooch
import pytest
from data_helpers import FILENAMES, Server, Toy

from equiprop import data
from equiprop.errors import InputError

FIRST = FILENAMES[0]


def files(toy: Toy) -> list[str]:
    return sorted(path.name for path in toy.folder.iterdir()) if toy.folder.exists() else []


def test_fetch_brings_the_published_files(toy: Toy, server: Server) -> None:
    assert data.fetch("toy") == toy.folder
    assert files(toy) == sorted(FILENAMES)
    assert {name: (toy.folder / name).read_bytes() for name in FILENAMES} == toy.published
    assert all(state.ok for state in data.verify("toy"))
    # The first mirror has none of them, the second all.
    assert server.requests == [f"/{mirror}/{name}" for name in FILENAMES for mirror in ("first", "second")]


def test_the_server_is_asked_not_to_compress(toy: Toy, server: Server) -> None:
    data.fetch("toy")
    assert set(server.encodings) == {"identity"}


def test_fetch_keeps_what_is_there(toy: Toy, server: Server) -> None:
    data.fetch("toy")
    server.requests.clear()
    data.fetch("toy")
    assert server.requests == []


def test_a_downloaded_file_can_be_read_by_everyone(toy: Toy) -> None:
    data.fetch("toy")
    assert all(stat.S_IMODE((toy.folder / name).stat().st_mode) == 0o644 for name in FILENAMES)


def test_load_downloads_what_is_missing(toy: Toy, server: Server) -> None:
    toy.put(*FILENAMES[1:])
    assert len(data.load("toy").train) == 32
    assert server.requests == [f"/first/{FIRST}", f"/second/{FIRST}"]


def test_fetch_replaces_a_corrupt_file(toy: Toy, server: Server) -> None:
    toy.put()
    (toy.folder / FIRST).write_bytes(b"something else")
    data.fetch("toy")
    assert (toy.folder / FIRST).read_bytes() == toy.published[FIRST]
    assert server.requests == [f"/first/{FIRST}", f"/second/{FIRST}"]


def test_the_library_prints_nothing(
    toy: Toy, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pooch's own handler keeps the stderr of its first import, which a test cannot look into.
    logger, said = pooch.get_logger(), io.StringIO()
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(said)])
    monkeypatch.setattr(logger, "level", logging.DEBUG)
    data.fetch("toy")
    assert said.getvalue() == ""
    assert capfd.readouterr() == ("", "")
    assert logger.level == logging.DEBUG


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong bytes", "what it serves is not the published file (wrong checksum)"),
        ("flipped bit", "what it serves is not the published file (wrong checksum)"),
        ("cut short", "what it serves is not the published file (wrong checksum)"),
        ("broken off", "the connection broke off"),
        ("absent", "HTTP 404"),
    ],
)
@pytest.mark.parametrize("before", ["nothing", "a corrupt file"])
def test_a_download_that_fails_leaves_nothing_behind(
    toy: Toy, server: Server, fault: str, reason: str, before: str
) -> None:
    path = f"/second/{FIRST}"
    good = toy.published[FIRST]
    if fault == "absent":
        del server.bodies[path]
    else:
        server.bodies[path] = {
            "wrong bytes": b"<html>sign in to the network</html>",
            "flipped bit": bytes([*good[:-1], good[-1] ^ 1]),
            "cut short": good[:50],
            "broken off": good[:50],
        }[fault]
    if fault == "broken off":
        server.claimed[path] = len(good)
    if before == "a corrupt file":
        toy.folder.mkdir()
        (toy.folder / FIRST).write_bytes(b"something else")

    with pytest.raises(InputError) as caught:
        data.fetch("toy")
    message = str(caught.value)
    assert f"127.0.0.1: HTTP 404; 127.0.0.1: {reason}" in message
    assert "run `equiprop data fetch toy` where there is network" in message
    assert "\n" not in message
    if before == "a corrupt file":
        assert f"{FIRST} in {toy.folder} is corrupt: " in message
        assert "could not be replaced" in message
        assert files(toy) == [FIRST]
        assert (toy.folder / FIRST).read_bytes() == b"something else"
    else:
        assert f"{FIRST} is not in {toy.folder}" in message
        assert not toy.folder.exists()


def test_no_more_arrives_than_the_published_file_has(toy: Toy, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    retrieve = pooch.retrieve

    def noted(url: str, downloader: Any, **options: Any) -> Any:
        def download(url: str, output: Any, of: Any) -> None:
            try:
                downloader(url, output, of)
            finally:
                written.append(Path(output).stat().st_size)

        return retrieve(url, downloader=download, **options)

    monkeypatch.setattr(pooch, "retrieve", noted)
    server.bodies[f"/second/{FIRST}"] = bytes(2**20)
    with pytest.raises(InputError, match="what it serves is not the published file"):
        data.fetch("toy")
    assert max(written) <= len(toy.published[FIRST])


def test_a_later_mirror_mends_a_wrong_earlier_one(toy: Toy, server: Server) -> None:
    server.bodies |= {f"/first/{name}": b"<html>moved</html>" for name in FILENAMES}
    data.fetch("toy")
    assert all(state.ok for state in data.verify("toy"))


def test_no_server_at_all(toy: Toy) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and not listening, so that a connection is refused
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        toy.change(files=tuple(replace(file, urls=(url + file.filename,)) for file in toy.entry.files))
        with pytest.raises(InputError, match=r"could not be downloaded \(127\.0\.0\.1: no connection\)"):
            data.load("toy")


def test_progress_rises_to_the_size_of_each_file(toy: Toy) -> None:
    seen: dict[str, list[int]] = {}

    def progress(filename: str, done: int, total: int) -> None:
        assert total == len(toy.published[filename])
        seen.setdefault(filename, []).append(done)

    data.fetch("toy", progress)
    assert list(seen) == list(FILENAMES)
    for filename, counts in seen.items():
        assert counts == sorted(counts)
        assert counts[-1] == len(toy.published[filename])


def test_an_interruption_leaves_nothing_behind(toy: Toy) -> None:
    def interrupt(filename: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.fetch("toy", interrupt)
    assert files(toy) == []


def test_a_folder_that_cannot_be_made_is_an_input_error(toy: Toy) -> None:
    toy.folder.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=f"toy: .*{toy.folder}.*set EQUIPROP_DATA_DIR to a folder you can write"):
        data.fetch("toy")
