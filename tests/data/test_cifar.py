"""CIFAR as an archive, as the folder in it, and as any such folder: the same images, or a refusal that says why."""

import hashlib
import pickle
import tarfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_helpers import CIFAR_FILES, Server, cifar_pickles, image_of, write_tar

from equiprop import data
from equiprop.data import DataFile, _room
from equiprop.data._catalogue import CATALOGUE
from equiprop.errors import InputError

NAMES = tuple(CIFAR_FILES)
PER_BATCH = 20


@dataclass
class Small:
    """A small CIFAR whose checksums the catalogue has: its files, their content, and where it is looked for."""

    name: str
    folder: Path
    files: dict[str, bytes]
    content: dict[str, dict[bytes, Any]]

    @property
    def extracted(self) -> Path:
        return self.folder / CIFAR_FILES[self.name][0]

    @property
    def archive(self) -> Path:
        return self.folder / CATALOGUE[self.name].files[0].filename

    def put_archive(self, **changes: bytes) -> None:
        """Writes the archive, and has the catalogue take it for the published one."""
        members = {
            f"{self.extracted.name}/{name}": content for name, content in (self.files | changes).items() if content
        }
        raw = write_tar(self.archive, {f"{self.extracted.name}/readme.html": b"<html>"} | members)
        self.publish(raw)

    def publish(self, raw: bytes) -> None:
        files = (
            replace(CATALOGUE[self.name].files[0], size=len(raw), checksum=f"sha256:{hashlib.sha256(raw).hexdigest()}"),
        )
        CATALOGUE[self.name] = replace(CATALOGUE[self.name], files=files)

    def put_folder(self) -> None:
        self.extracted.mkdir(parents=True)
        for name, content in self.files.items():
            (self.extracted / name).write_bytes(content)

    def put_meta(self) -> None:
        meta, key = {"cifar10": ("batches.meta", b"label_names"), "cifar100": ("meta", b"fine_label_names")}[self.name]
        names = [name.encode() for name in CATALOGUE[self.name].classes]
        (self.extracted / meta).write_bytes(pickle.dumps({key: names}, protocol=2))

    def change(self, batch: str, **changes: Any) -> Path:
        """Replaces a part of a batch file of the folder."""
        path = self.extracted / batch
        path.write_bytes(pickle.dumps(self.content[batch] | {k.encode(): v for k, v in changes.items()}, protocol=2))
        return path


@pytest.fixture(params=NAMES)
def small(request: pytest.FixtureRequest, data_folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Small:
    name = request.param
    files, content = cifar_pickles(name, PER_BATCH)
    entry = CATALOGUE[name]
    (archive,) = entry.files
    extracted = tuple(
        DataFile(f"{CIFAR_FILES[name][0]}/{batch}", checksum=f"md5:{hashlib.md5(raw).hexdigest()}")
        for batch, raw in files.items()
    )
    monkeypatch.setitem(
        CATALOGUE,
        name,
        replace(
            entry,
            files=(replace(archive, urls=(f"{server.address}/{archive.filename}",)),),
            alternatives=(extracted,),
            validation_images=PER_BATCH // 10 * (len(files) - 1),
        ),
    )
    return Small(name, data_folder / name, files, content)


def refusal(name: str) -> str:
    with pytest.raises(InputError) as caught:
        data.load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("layout", ["archive", "folder"])
def test_every_image_comes_back(small: Small, layout: str, server: Server) -> None:
    small.put_archive() if layout == "archive" else small.put_folder()
    dataset = data.load(small.name)
    *train, test = small.content.values()
    label_key = CIFAR_FILES[small.name][2].encode()
    assert dataset.input_shape == (32, 32, 3)
    assert dataset.classes == data.entry(small.name).classes
    assert len(dataset.validation) == 2 * len(train)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split, data.Split)
        assert (split.x.dtype, split.y.dtype) == (np.uint8, np.int32)
        assert split.x.flags.c_contiguous
        assert not split.x.flags.writeable
    np.testing.assert_array_equal(dataset.test.y, test[label_key])
    np.testing.assert_array_equal(dataset.test.x[3], image_of(test[b"data"][3]))

    pool = {
        image_of(row).tobytes(): label
        for batch in train
        for row, label in zip(batch[b"data"], batch[label_key], strict=True)
    }
    found = [
        (image.tobytes(), int(label))
        for split in (dataset.train, dataset.validation)
        for image, label in zip(split.x, split.y, strict=True)
    ]
    assert sorted(found) == sorted(pool.items())
    assert server.requests == []


def test_the_archive_and_the_folder_are_the_same_dataset(small: Small) -> None:
    small.put_archive()
    of_archive = data.load(small.name).checksum
    small.archive.unlink()
    small.put_folder()
    assert data.load(small.name).checksum == of_archive
    assert [path.name for path in small.folder.iterdir()] == [small.extracted.name]


def test_the_red_plane_comes_first(small: Small) -> None:
    row = np.concatenate([np.full(1024, 200), np.arange(1024) % 256, np.arange(1024) // 32]).astype(np.uint8)
    small.put_folder()
    small.put_meta()
    small.change(list(small.files)[-1], data=np.tile(row, (PER_BATCH, 1)))
    image = data.load(str(small.extracted)).test.x[0]
    assert np.all(image[..., 0] == 200)
    assert image[2, 5, 1] == 2 * 32 + 5
    assert image[7, 1, 2] == 7


def test_mean_and_scale_have_a_value_for_each_channel(small: Small) -> None:
    small.put_folder()
    dataset = data.load(small.name)
    assert np.shape(dataset.mean) == np.shape(dataset.scale) == (3,)
    assert ((dataset.test.x - dataset.mean) / dataset.scale).shape == dataset.test.x.shape


def test_fetch_downloads_the_archive(small: Small, server: Server) -> None:
    small.put_archive()
    server.bodies = {f"/{small.archive.name}": small.archive.read_bytes()}
    small.archive.unlink()
    assert [state.state for state in data.verify(small.name)] == ["missing"]
    data.fetch(small.name)
    assert [state.state for state in data.verify(small.name)] == ["ok"]
    assert len(server.requests) == 1


def test_fetch_leaves_a_whole_folder_alone(small: Small, server: Server) -> None:
    small.put_folder()
    data.fetch(small.name)
    assert [state.state for state in data.verify(small.name)] == ["ok"] * len(small.files)
    assert [state.state for state in data.glance(small.name)] == ["present"] * len(small.files)
    assert server.requests == []


def test_a_folder_without_one_of_its_files_is_refused_and_mended_by_fetch(small: Small, server: Server) -> None:
    small.put_archive()
    server.bodies = {f"/{small.archive.name}": small.archive.read_bytes()}
    small.archive.unlink()
    small.put_folder()
    missing = small.extracted / "test_batch" if small.name == "cifar10" else small.extracted / "test"
    missing.unlink()
    message = refusal(small.name)
    assert f"{small.name}: {small.extracted.name}/{missing.name} is not in {small.folder}" in message
    assert f"run `equiprop data fetch {small.name}`" in message
    assert server.requests == []
    data.fetch(small.name)
    assert len(data.load(small.name).test) == PER_BATCH


@pytest.mark.parametrize("layout", ["archive", "folder"])
def test_a_tampered_file_is_refused_by_its_checksum(small: Small, layout: str) -> None:
    small.put_archive() if layout == "archive" else small.put_folder()
    path = small.archive if layout == "archive" else small.extracted / next(iter(small.files))
    good = path.read_bytes()
    path.write_bytes(bytes([*good[:-1], good[-1] ^ 1]))
    message = refusal(small.name)
    algorithm = "sha256" if layout == "archive" else "md5"
    assert f"{path} is corrupt: {algorithm} {hashlib.new(algorithm, path.read_bytes()).hexdigest()[:12]}" in message
    assert f"expected {hashlib.new(algorithm, good).hexdigest()[:12]}" in message


def test_a_truncated_archive_is_refused(small: Small) -> None:
    small.put_archive()
    whole = small.archive.read_bytes()
    small.archive.write_bytes(whole[: len(whole) // 2])
    assert f"{small.archive} is corrupt: " in refusal(small.name)
    # And where the catalogue has that checksum: what is read is checked as well.
    for cut in (0, 1, 100, len(whole) // 2, len(whole) * 9 // 10):
        small.archive.write_bytes(whole[:cut])
        small.publish(whole[:cut])
        message = refusal(small.name)
        assert message.startswith(str(small.archive))
        assert "get the official file again" in message


@pytest.mark.slow
@pytest.mark.parametrize("packed", ["gz", "bz2", "xz"])
def test_an_archive_damaged_anywhere_is_no_traceback(small: Small, packed: str, tmp_path: Path) -> None:
    """Whatever library it was packed by, and whether its headers are damaged or its files."""
    small.put_archive()
    with tarfile.open(small.archive) as archive:
        archive.extractall(tmp_path, filter="data")
    with tarfile.open(small.archive, f"w:{packed}") as archive:  # pyright: ignore[reportCallIssue, reportArgumentType]
        archive.add(tmp_path / small.extracted.name, small.extracted.name)
    whole = small.archive.read_bytes()
    for place in range(0, len(whole), len(whole) // 9):
        damaged = whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :]
        small.archive.write_bytes(damaged)
        assert "corrupt" in data.verify(small.name)[0].state
        # Of what the catalogue says has been published, a flipped pixel is as good as another.
        small.publish(damaged)
        with suppress(InputError):
            data.load(small.name)


def test_an_archive_of_more_than_there_is_room_for_is_refused(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    small.put_archive()
    monkeypatch.setattr(_room, "_room", lambda: 2**15)
    assert "of memory, and this machine has room for" in refusal(small.name)


def test_an_archive_without_a_batch_is_refused(small: Small) -> None:
    last = list(small.files)[-1]
    small.put_archive(**{last: b""})
    assert f"{small.archive} has no {small.extracted.name}/{last}" in refusal(small.name)


def test_a_malicious_batch_in_an_archive_is_refused(small: Small) -> None:
    last = list(small.files)[-1]
    small.put_archive(**{last: b"cos\nsystem\n(S'true'\ntR."})
    assert (
        f"{small.archive}: {small.extracted.name}/{last} is not a pickle of images (it asks for 'os.system')"
        in refusal(small.name)
    )


def test_any_number_of_images_is_read_from_a_folder_that_is_named(small: Small, server: Server) -> None:
    small.put_folder()
    small.put_meta()
    dataset = data.load(str(small.extracted))
    n = PER_BATCH * (len(small.files) - 1)
    assert isinstance(dataset.train, data.Split)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (n - n // 10, n // 10, PER_BATCH)
    assert dataset.classes == data.entry(small.name).classes
    assert dataset.name == str(small.extracted)
    assert dataset.checksum == data.load(small.name).checksum  # the same pixels, labels and validation images
    pixels = dataset.train.x.reshape(-1, 3).astype(float)
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=0))
    np.testing.assert_allclose(dataset.scale, 1.5 * pixels.std(axis=0))
    assert server.requests == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"data": np.zeros((PER_BATCH, 12288), np.uint8)},
            r"its images are uint8 \[20, 12288\]: they must be uint8 \[n, 3072\]",
        ),
        ({"data": np.zeros((PER_BATCH, 3072), np.float32)}, r"its images are float32 \[20, 3072\]"),
        ({"data": [0] * 3072}, "its 'data' is a list, not an array"),
        (
            {"data": np.zeros((PER_BATCH - 1, 3072), np.uint8)},
            "it has 20 labels and 19 images",
        ),
        ({"labels": [0] * 7 + [100] + [0] * 12}, "label 7 is 100; labels go from 0 to"),
        ({"labels": [-1] * PER_BATCH}, "label 0 is -1; labels go from 0 to"),
        ({"labels": [0.5] * PER_BATCH}, "its labels are no list of whole numbers"),
        ({"labels": [2**70] * PER_BATCH}, r"its labels are object \[20\]; they must be whole numbers"),
        ({"labels": ["0"] * PER_BATCH}, "its labels are no list of whole numbers"),
    ],
)
def test_a_batch_that_is_not_what_it_should_be_is_refused(small: Small, changes: dict[str, Any], fault: str) -> None:
    small.put_folder()
    small.put_meta()
    label_key = CIFAR_FILES[small.name][2]
    last = list(small.files)[-1]
    path = small.change(last, **{label_key if key == "labels" else key: value for key, value in changes.items()})
    with pytest.raises(InputError, match=f"{path}: {fault}"):
        data.load(str(small.extracted))


def test_a_batch_without_labels_is_refused(small: Small) -> None:
    small.put_folder()
    small.put_meta()
    last = list(small.files)[-1]
    (small.extracted / last).write_bytes(pickle.dumps({b"data": small.content[last][b"data"], b"filenames": []}))
    key = CIFAR_FILES[small.name][2]
    assert f"{small.extracted / last} has no '{key}', only data, filenames" in refusal(str(small.extracted))


def test_a_named_folder_needs_every_file(small: Small) -> None:
    small.put_folder()
    assert "meta is missing: put the official file there" in refusal(str(small.extracted))
    small.put_meta()
    (small.extracted / next(iter(small.files))).unlink()
    assert f"{small.extracted / next(iter(small.files))} is missing" in refusal(str(small.extracted))


@pytest.mark.parametrize("names", [[], "a", [1, 2]])
def test_names_of_classes_that_are_none_are_refused(small: Small, names: Any) -> None:
    small.put_folder()
    meta, key = ("batches.meta", "label_names") if small.name == "cifar10" else ("meta", "fine_label_names")
    (small.extracted / meta).write_bytes(pickle.dumps({key: names}))
    assert f"{small.extracted / meta}: its '{key}' are no list of names" in refusal(str(small.extracted))
