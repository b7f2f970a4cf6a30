"""Files on disk: used only when every one of them is the published one, and otherwise refused by name."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from data_helpers import FILENAMES, Server, Toy

from equiprop import data
from equiprop.data import DataFile, Split
from equiprop.errors import InputError


def states(name: str = "toy") -> list[str]:
    return [state.state for state in data.verify(name)]


def test_a_complete_folder_is_used_without_network(toy: Toy, server: Server) -> None:
    toy.put()
    assert states() == ["ok"] * 4
    assert data.find("toy") == tuple(toy.folder / name for name in FILENAMES)
    dataset = data.load("toy")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (32, 8, 12)
    assert np.bincount(dataset.validation.y).tolist() == [2, 2, 2, 2]
    assert dataset.input_shape == (5, 3)
    assert dataset.checksum == data.load("toy").checksum
    assert data.fetch("toy") == toy.folder
    assert server.requests == []


def test_the_validation_images_come_from_the_training_images(toy: Toy) -> None:
    toy.put()
    dataset = data.load("toy")
    source = data.read_idx(toy.folder / FILENAMES[0])
    pool = sorted(image.tobytes() for image in source)
    assert sorted(i.tobytes() for s in (dataset.train, dataset.validation) for i in s.x) == pool
    np.testing.assert_array_equal(dataset.test.x, data.read_idx(toy.folder / FILENAMES[2]))


@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer", "empty"])
@pytest.mark.parametrize("filename", FILENAMES)
def test_a_corrupt_file_is_refused_before_any_is_read(toy: Toy, server: Server, damage: str, filename: str) -> None:
    toy.put()
    good = toy.published[filename]
    bad = {"flipped": bytes([*good[:-1], good[-1] ^ 1]), "truncated": good[:-7], "longer": good + b"!", "empty": b""}
    (toy.folder / filename).write_bytes(bad[damage])

    def never(paths: tuple[Path, ...]) -> tuple[Split, Split]:
        raise AssertionError("a file was read although one of them is corrupt")

    toy.change(read=never)
    with pytest.raises(InputError) as caught:
        data.load("toy")
    message = str(caught.value)
    expected, found = (hashlib.sha256(content).hexdigest()[:12] for content in (good, bad[damage]))
    assert f"{toy.folder / filename} is corrupt: sha256 {found} ({len(bad[damage])} bytes)" in message
    assert f"expected {expected} ({len(good)} bytes)" in message
    assert message.endswith("delete it and run `equiprop data fetch toy`")
    assert "\n" not in message
    assert server.requests == []
    assert (toy.folder / filename).read_bytes() == bad[damage]


def test_verify_tells_each_file_apart(toy: Toy, server: Server) -> None:
    toy.put(*FILENAMES[:3])
    (toy.folder / FILENAMES[1]).write_bytes(b"something else")
    (toy.folder / FILENAMES[2]).unlink()
    (toy.folder / FILENAMES[2]).mkdir()
    found = data.verify("toy")
    assert [state.filename for state in found] == list(FILENAMES)
    assert [state.path for state in found] == [toy.folder / name for name in FILENAMES]
    assert [state.ok for state in found] == [True, False, False, False]
    assert found[1].state.startswith("corrupt: sha256 ")
    assert found[2].state == "corrupt: it is a folder"
    assert found[3].state == "missing"
    assert server.requests == []


def test_a_glance_sees_sizes_and_reads_no_file(toy: Toy, server: Server) -> None:
    toy.put(*FILENAMES[:3])
    good = toy.published[FILENAMES[1]]
    (toy.folder / FILENAMES[1]).write_bytes(bytes(len(good)))
    (toy.folder / FILENAMES[2]).write_bytes(b"something else")
    found = [state.state for state in data.glance("toy")]
    size = len(toy.published[FILENAMES[2]])
    assert found == ["present", "present", f"corrupt: 14 bytes, expected {size}", "missing"]
    assert [state.ok for state in data.glance("toy")] == [True, True, False, False]
    assert data.glance("digits") == []
    assert server.requests == []


def test_a_corrupt_file_is_refused_before_a_missing_one_is_downloaded(toy: Toy, server: Server) -> None:
    toy.put(*FILENAMES[1:])
    (toy.folder / FILENAMES[3]).write_bytes(b"something else")
    with pytest.raises(InputError, match=f"{FILENAMES[3]} is corrupt"):
        data.load("toy")
    assert server.requests == []
    assert states()[0] == "missing"


def test_every_corrupt_file_is_named(toy: Toy) -> None:
    toy.put()
    for filename in FILENAMES[:2]:
        (toy.folder / filename).write_bytes(b"something else")
    with pytest.raises(InputError, match=f"{FILENAMES[0]} is corrupt: .*; .*{FILENAMES[1]} is corrupt: "):
        data.load("toy")


def test_without_network_half_a_set_is_refused_and_left_as_it_is(toy: Toy, server: Server) -> None:
    toy.put(*FILENAMES[:2])
    server.bodies.clear()
    with pytest.raises(InputError) as caught:
        data.load("toy")
    message = str(caught.value)
    assert f"toy: {FILENAMES[2]} is not in {toy.folder} and could not be downloaded" in message
    assert "127.0.0.1: HTTP 404; 127.0.0.1: HTTP 404" in message
    assert "run `equiprop data fetch toy` where there is network" in message
    assert f"set EQUIPROP_DATA_DIR to a folder that holds toy/{FILENAMES[2]}" in message
    assert "\n" not in message
    assert sorted(path.name for path in toy.folder.iterdir()) == sorted(FILENAMES[:2])


def test_labels_that_do_not_fit_the_images_are_refused(toy: Toy) -> None:
    toy.put()
    labels = toy.published[FILENAMES[3]]
    (toy.folder / FILENAMES[1]).write_bytes(labels)
    wrong = DataFile(FILENAMES[1], (), len(labels), f"sha256:{hashlib.sha256(labels).hexdigest()}")
    toy.change(files=(toy.entry.files[0], wrong, *toy.entry.files[2:]))
    with pytest.raises(InputError, match=r"differ in length: x has 40, y has 12"):
        data.load("toy")


def test_no_seed_of_a_run_changes_the_split(toy: Toy) -> None:
    toy.put()
    reference = data.load("toy").checksum
    np.random.seed(1)  # noqa: NPY002
    assert data.load("toy").checksum == reference


@pytest.mark.parametrize("kind", ["nowhere", "file"])
def test_a_data_folder_that_is_none_is_an_input_error(
    kind: str, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / kind
    if kind == "file":
        wrong.write_text("not a folder")
    monkeypatch.setenv("EQUIPROP_DATA_DIR", str(wrong))
    what = "is not a folder" if kind == "file" else "does not exist"
    for ask in (data.data_directory, *(lambda ask=ask: ask("toy") for ask in (data.load, data.fetch, data.verify))):
        with pytest.raises(
            InputError, match=f"EQUIPROP_DATA_DIR = '{wrong}' {what}: make that folder, or set"
        ) as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert not wrong.is_dir()


def test_the_data_folder_is_absolute_and_may_start_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("here", "~/here", str(tmp_path / "here")):
        monkeypatch.setenv("EQUIPROP_DATA_DIR", given)
        assert data.data_directory() == tmp_path / "here"


@pytest.mark.parametrize("given", [None, ""])
def test_without_the_variable_it_is_the_cache_folder(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if given is None:
        monkeypatch.delenv("EQUIPROP_DATA_DIR", raising=False)
    else:
        monkeypatch.setenv("EQUIPROP_DATA_DIR", given)
    folder = data.data_directory()
    assert folder.is_absolute()
    assert "equiprop" in folder.parts[-1] or "equiprop" in folder.parts[-2]


def test_without_a_home_the_folder_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def nowhere(name: str) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("EQUIPROP_DATA_DIR", raising=False)
    for given in (nowhere, lambda name: "~/.cache/equiprop"):
        monkeypatch.setattr(pooch, "os_cache", given)
        with pytest.raises(
            InputError, match="there is no home folder to keep datasets in: set EQUIPROP_DATA_DIR to a folder"
        ):
            data.data_directory()
