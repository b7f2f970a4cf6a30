"""Datasets by path: npz, CSV, Parquet, images in Parquet, idx folders; and the same content in other containers."""

import gzip
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from data_helpers import FILENAMES, Toy, idx_bytes, write_idx
from PIL import Image

from equiprop import data
from equiprop.data import _room, _tables, load, load_split, split_checksum
from equiprop.errors import InputError

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 3
IMAGES = np.random.default_rng(1).integers(0, 256, (60, 4, 5, 3), dtype=np.uint8)


def refusal(name: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        load(str(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def saved(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("train", "test"),
    [("x_train y_train", "x_test y_test"), ("train_images train_labels", "test_images test_labels")],
)
def test_npz_with_its_own_test_split(tmp_path: Path, train: str, test: str) -> None:
    keys = [*train.split(), *test.split()]
    name = saved(tmp_path / "data.npz", **dict(zip(keys, (X[:40], Y[:40], X[40:], Y[40:]), strict=True)), more=1)
    dataset = load(name)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 20)
    np.testing.assert_array_equal(dataset.test.x, X[40:])
    np.testing.assert_array_equal(dataset.test.y, Y[40:])
    assert load(name).checksum == dataset.checksum


def test_npz_without_splits_is_split_by_a_fixed_choice(tmp_path: Path) -> None:
    dataset = load(saved(tmp_path / "data.npz", x=X, y=Y))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (49, 5, 6)
    assert np.bincount(dataset.test.y).tolist() == [2, 2, 2]


def test_npz_of_several_inputs_and_outputs(tmp_path: Path) -> None:
    arrays = {"x.left": X, "x.right": X[:, 0], "y.kind": np.eye(3)[Y], "y.size": X[:, 1]}
    dataset = load(saved(tmp_path / "data.npz", **arrays))
    assert dataset.input_shape == {"left": (3,), "right": ()}
    assert dataset.info.outputs == {"kind": 3, "size": 1}


def test_npz_that_is_none(tmp_path: Path) -> None:
    assert "holds a, b: it must hold x and y" in refusal(saved(tmp_path / "other.npz", a=X, b=Y))
    assert "has both x and images" in refusal(saved(tmp_path / "both.npz", x=X, images=X, y=Y))
    assert "x has 60, y has 59" in refusal(saved(tmp_path / "short.npz", x=X, y=Y[:59]))
    (tmp_path / "text.npz").write_text("<html>sign in</html>")
    assert "text.npz is not a whole npz file" in refusal(tmp_path / "text.npz")
    whole = Path(saved(tmp_path / "whole.npz", x=X, y=Y)).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-100])
    assert "cut.npz is not a whole npz file" in refusal(tmp_path / "cut.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}]), y=np.array([0]))
    assert "objects.npz is not a whole npz file" in refusal(tmp_path / "objects.npz")
    assert "does not exist" in refusal(tmp_path / "nowhere.npz")


def csv(path: Path, header: str, rows: Any) -> str:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return str(path)


def test_csv(tmp_path: Path) -> None:
    words = np.array(["pear", "apple", "fig"])[Y]
    name = csv(tmp_path / "fruit.csv", "a,label,b", zip(X[:, 0], words, X[:, 1], strict=True))
    dataset = load(name)
    assert (dataset.input_shape, dataset.classes) == ((2,), ("apple", "fig", "pear"))
    everything = np.concatenate([dataset.split(s).x for s in ("train", "validation", "test")])
    np.testing.assert_allclose(np.sort(everything[:, 1]), np.sort(X[:, 1]))
    assert "column label holds text; give numbers" in refusal(f"{name}#b")


def test_csv_with_columns_named(tmp_path: Path) -> None:
    name = csv(tmp_path / "t.csv", "a,b,c", X)
    assert load(f"{name}#c").info.outputs == 1
    several = load(f"{name}#b,c")
    assert (several.input_shape, several.info.outputs) == ((1,), 2)
    assert "there is no column label, labels, fine_label, target, y, only a, b, c" in refusal(name)
    assert "y = 'd': is no column; the columns are a, b, c" in refusal(f"{name}#d")


def test_csv_with_an_empty_place_is_refused(tmp_path: Path) -> None:
    rows = [[*row, label] for row, label in zip(X.tolist(), Y.tolist(), strict=True)]
    rows[4][1] = ""
    assert "1 of 180 numbers are not finite, the first at [4, 1]" in refusal(csv(tmp_path / "t.csv", "a,b,c,y", rows))


def test_a_folder_of_csv_files(tmp_path: Path) -> None:
    for name, rows in (("train", slice(0, 40)), ("test", slice(40, 60))):
        csv(tmp_path / f"{name}.csv", "a,b,c,y", np.column_stack([X, Y])[rows])
    dataset = load(str(tmp_path))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 20)
    np.testing.assert_allclose(dataset.test.x, X[40:])


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write_images(path: Path, images: np.ndarray, labels: Any, names: list[str] | None = None) -> None:
    """As Hugging Face writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as database:
        database.execute("create table t(image struct(bytes blob, path varchar), label bigint)")
        for image, label in zip(images, labels, strict=True):
            database.execute("insert into t values ({'bytes': ?, 'path': 'x'}, ?)", [png(image), int(label)])
        about = json.dumps({"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}})
        more = f", kv_metadata {{huggingface: '{about}'}}" if names else ""
        database.execute(f"copy t to '{path}' (format parquet{more})")


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    names = ["cat", "dog", "fox"]
    for i, rows in enumerate((slice(0, 20), slice(20, 40))):
        write_images(tmp_path / "data" / f"train-{i:05d}-of-00002.parquet", IMAGES[rows], Y[rows], names)
    write_images(tmp_path / "data" / "test-00000-of-00001.parquet", IMAGES[40:], Y[40:], names)
    return tmp_path


def test_images_in_parquet_as_hugging_face_lays_them_out(hub: Path) -> None:
    dataset = load(str(hub))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 20)
    assert (dataset.classes, dataset.input_shape) == (("cat", "dog", "fox"), (4, 5, 3))
    label_of = {image.tobytes(): label for image, label in zip(IMAGES, Y, strict=True)}
    for name in ("train", "validation", "test"):
        split = dataset.split(name)
        assert [label_of[image.tobytes()] for image in split.x] == split.y.tolist()
    np.testing.assert_allclose(dataset.mean, dataset.train.x.astype(float).mean(axis=(0, 1, 2)))


def test_many_images_in_parquet_are_read_file_by_file(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tables, "_LARGEST_IN_MEMORY", 100)
    dataset = load(str(hub))
    assert isinstance(dataset.train, data.Shards)
    assert (dataset.train.counts, len(dataset.validation)) == ((20, 18), 2)
    np.testing.assert_array_equal(dataset.train.load(0).x, IMAGES[:20])
    np.testing.assert_array_equal(dataset.train.load(0).y, Y[:20])


def test_a_test_split_without_labels_gives_way_to_the_validation_split(hub: Path) -> None:
    write_images(hub / "data" / "test-00000-of-00001.parquet", IMAGES[:4], [-1] * 4)
    assert "has no test split" in refusal(hub)
    write_images(hub / "data" / "validation-00000-of-00001.parquet", IMAGES[40:52], Y[40:52])
    dataset = load(str(hub))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 12)


def test_a_damaged_image_in_parquet_is_named(hub: Path) -> None:
    small = np.zeros((2, 2, 3), np.uint8)
    write_images(hub / "data" / "test-00000-of-00001.parquet", small[None], [0])
    assert "image 0 is 2 by 2 pixels" in refusal(hub)
    (hub / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    assert "test-00000-of-00001.parquet cannot be read" in refusal(hub)


def parquet(path: Path, columns: str, rows: int = 40, more: str = "") -> str:
    """A table of what SQL makes of the number `i` of each row."""
    with duckdb.connect() as database:
        database.execute(f"copy (select {columns} from range({rows}) t(i)) to '{path}' (format parquet{more})")
    return str(path)


@pytest.mark.parametrize(
    "value",
    [
        *("[1, 2]", "[1, 2]::int[2]", "{'a': 1}", "map{'a': 1}", "uuid()", "'abc'::blob", "time '10:00'"),
        *("interval 1 day", "date '2020-01-01'", "timestamptz '2020-01-01'", "null", "'nan'::double", "'inf'::double"),
        *("18446744073709551615::ubigint", "9007199254740993", "-1", "nullif(i, 3)", "2000000000"),
    ],
)
def test_a_column_of_another_type_is_refused_by_name(tmp_path: Path, value: str) -> None:
    of_targets = parquet(tmp_path / "y.parquet", f"i::double as a, {value} as label")
    assert of_targets in refusal(of_targets)
    if "int" not in value and value[0] not in "129-n":
        of_inputs = parquet(tmp_path / "x.parquet", f"{value} as a, i % 3 as label")
        assert of_inputs in refusal(of_inputs)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes(range(256)) * 20, "cannot be read"),
        ("a,label\n1,é\n".encode("latin1") * 20, "cannot be read"),
        ("a,label\n1,2\n".encode("utf16"), "cannot be read"),
        (b"a,label\n1," + b"x" * 3_000_000, "cannot be read"),
        (b"", "there is no column label"),
        (b"a,label\n", "column a holds text"),
        (b"label\n" + b"1\n2\n" * 20, "has no columns but those of targets"),
        (b"a,label\n" + b"9" * 400 + b",1\n" + b"1,2\n" * 20, "t.csv"),
        (b"a,label\n" + b"1,99999999999\n1,2\n" * 20, "is 99999999999; labels go from"),
        (b"a,label\n" + b"1,\n1,\n" * 20, "column label has 40 empty places"),
    ],
)
def test_a_damaged_csv_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert said in refusal(tmp_path / "t.csv")


def test_names_of_columns_are_taken_as_they_are(tmp_path: Path) -> None:
    columns = ", ".join(f'i::double as "{name}"' for name in ("a{0}", "{", 'q""uote', "select"))
    assert load(parquet(tmp_path / "t.parquet", f"{columns}, i % 3 as label")).input_shape == (4,)
    name = csv(tmp_path / "t.csv", "a{b},{},label", np.column_stack([X[:, :2], Y]))
    assert load(name).input_shape == (2,)


def test_rows_that_there_is_no_room_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes of a compressed table are any number of rows, or of letters."""
    of_rows = parquet(tmp_path / "rows.parquet", "1 as a, 2 as label", 1_000_000)
    of_words = parquet(tmp_path / "words.parquet", "1 as a, repeat('x', 100000) as label", 100)
    assert Path(of_rows).stat().st_size + Path(of_words).stat().st_size < 10_000
    monkeypatch.setattr(_room, "_room", lambda: 2**22)
    for name in (of_rows, of_words):
        assert f"{name} takes " in refusal(name)
    with pytest.raises(InputError, match="of memory, and this machine has room for"):
        data.read_inputs([of_rows], (1,))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("{", "what it says of its columns is damaged"),
        ("[" * 100_000, "what it says of its columns is damaged"),
        ("[]", "what it says of its columns is damaged"),
        ('{"info": {"features": {"label": {"names": "abc"}}}}', "the names of its classes are no list of words"),
        ('{"info": {"features": {"label": {"names": [["a"], {}]}}}}', "the names of its classes are no list of words"),
        ('{"info": {"features": []}}', ""),
        ('{"info": {"features": {"label": 1}}}', ""),
    ],
)
def test_what_a_parquet_file_says_of_its_columns_may_be_damaged(tmp_path: Path, about: str, said: str) -> None:
    name = parquet(
        tmp_path / "t.parquet", "i::double as a, i % 3 as label", more=f", kv_metadata {{huggingface: '{about}'}}"
    )
    if said:
        assert f"{name}: {said}" in refusal(name)
    else:
        assert load(name).classes == ("0", "1", "2")


def test_a_shard_whose_labels_become_real_numbers_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tables, "_LARGEST_IN_MEMORY", 100)
    train = load(str(hub)).train
    assert isinstance(train, data.Shards)
    path = hub / "data" / "train-00000-of-00002.parquet"
    with duckdb.connect() as database:
        database.execute(f"create table t as select image, label + 0.5 as label from '{path}'")
        database.execute(f"copy t to '{path}' (format parquet)")
    with pytest.raises(InputError, match=r"its labels are float64 \[20\]; they must be whole numbers"):
        train.load(0)


def test_a_name_that_is_no_path_is_an_input_error() -> None:
    assert "is no path (File name too long)" in refusal("a" * 5000 + "/x")
    assert "there is no such home folder" in refusal("~nobody-of-this-name/x.csv")


@pytest.mark.parametrize("place", [".", "raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_idx_files(tmp_path: Path, place: str, suffix: str) -> None:
    folder = tmp_path / place
    folder.mkdir(exist_ok=True)
    grey, labels = IMAGES[..., 0], Y.astype(np.uint8)
    for name, values in (
        ("train-images-idx3-ubyte", grey[:40]),
        ("train-labels-idx1-ubyte", labels[:40]),
        ("t10k-images-idx3-ubyte", grey[40:]),
        ("t10k-labels-idx1-ubyte", labels[40:]),
    ):
        write_idx(folder / f"{name}{suffix}", values)
    dataset = load(str(tmp_path))
    assert (len(dataset.train), len(dataset.validation), dataset.classes) == (36, 4, ("0", "1", "2"))
    np.testing.assert_array_equal(dataset.test.x, grey[40:])
    (folder / f"t10k-labels-idx1-ubyte{suffix}").unlink()
    assert "has no t10k-labels-idx1-ubyte, with or without .gz" in refusal(tmp_path)


@pytest.mark.slow
def test_the_test_split_alone_is_that_of_the_whole(tmp_path: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npz = saved(tmp_path / "data.npz", x_train=X[:40], y_train=Y[:40], x_test=X[40:], y_test=Y[40:])
    for name in (npz, str(hub), "digits"):
        whole = load(name)
        for split in ("test", "validation"):
            alone = load_split(name, split)
            assert split_checksum(alone) == whole.checksums[split]
    with pytest.raises(InputError, match="did you mean 'test'"):
        load_split("digits", "tests")
    monkeypatch.setattr(_tables, "_LARGEST_IN_MEMORY", 100)
    with pytest.raises(InputError, match="read from disk file by file; choose validation or test"):
        load_split(str(hub), "train")


def test_the_training_images_are_not_read_for_the_test_split_alone(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.put()
    read: list[str] = []
    original = data._mnist.read_idx  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr("equiprop.data._mnist.read_idx", lambda path: read.append(path.name) or original(path))
    assert len(load_split("toy", "test")) == 12
    assert sorted(read) == sorted(FILENAMES[2:])


def content_known(toy: Toy) -> None:
    import dataclasses
    import hashlib

    toy.change(
        files=tuple(
            dataclasses.replace(
                file, content=f"sha256:{hashlib.sha256(gzip.decompress(toy.published[file.filename])).hexdigest()}"
            )
            for file in toy.entry.files
        )
    )


@pytest.mark.parametrize("repacked", ["compressed anew", "not compressed", "in two streams"])
def test_the_checksum_is_of_the_content_and_not_of_the_gzip_around_it(toy: Toy, repacked: str) -> None:
    content_known(toy)
    reference = [toy.published[name] for name in FILENAMES]
    toy.put()
    checksum = load("toy").checksum
    for name, published in zip(FILENAMES, reference, strict=True):
        inside = gzip.decompress(published)
        new = {
            "compressed anew": gzip.compress(inside, 1, mtime=12345),
            "not compressed": inside,
            "in two streams": gzip.compress(inside[:30]) + gzip.compress(inside[30:]),
        }[repacked]
        assert new != published
        (toy.folder / name).write_bytes(new)
    assert [state.state for state in data.verify("toy")] == ["ok"] * 4
    assert [state.state for state in data.glance("toy")] == ["present"] * 4
    assert load("toy").checksum == checksum
    damaged = bytearray(gzip.decompress(reference[0]))
    damaged[-1] ^= 1
    (toy.folder / FILENAMES[0]).write_bytes(gzip.compress(bytes(damaged)))
    assert "is corrupt: sha256" in refusal("toy")
    (toy.folder / FILENAMES[0]).unlink()
    os.mkfifo(toy.folder / FILENAMES[0])
    assert "is corrupt: it is a device or a pipe" in refusal("toy")


def test_an_archive_is_as_good_when_it_is_packed_anew(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses
    import hashlib

    from data_helpers import CIFAR_FILES, some_rows

    from equiprop.data._catalogue import CATALOGUE, DataFile

    folder, batches, key = CIFAR_FILES["cifar10"]
    import pickle

    content = {name: pickle.dumps({"data": some_rows(20, i), key: [0, 1] * 10}) for i, name in enumerate(batches)}
    members = tuple(DataFile(f"{folder}/{n}", checksum=f"md5:{hashlib.md5(c).hexdigest()}") for n, c in content.items())
    entry = CATALOGUE["cifar10"]
    small = {"train_images": 90, "validation_images": 10, "test_images": 20}
    archive = dataclasses.replace(entry.files[0], members=members)
    monkeypatch.setitem(CATALOGUE, "cifar10", dataclasses.replace(entry, files=(archive,), alternatives=(), **small))
    place = data_folder / "cifar10" / archive.filename
    place.parent.mkdir()

    def pack(mode: Any, changed: bytes = b"") -> None:
        with tarfile.open(place, mode) as tar:
            for name, each in content.items():
                member = tarfile.TarInfo(f"{folder}/{name}")
                each = each + changed if name == "test_batch" else each
                member.size = len(each)
                tar.addfile(member, io.BytesIO(each))

    for mode in ("w:gz", "w:xz", "w"):
        pack(mode)
        assert [state.state for state in data.verify("cifar10")] == ["ok"]
        assert len(load("cifar10").test) == 20
    pack("w:gz", b"x")
    assert data.verify("cifar10")[0].state.startswith("corrupt: sha256")
    place.write_bytes(place.read_bytes()[:200])
    assert data.verify("cifar10")[0].state.startswith("corrupt: sha256")


def test_the_folders_of_torchvision_are_found(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses
    import hashlib

    from equiprop.data._catalogue import CATALOGUE

    entry = CATALOGUE["fashion_mnist"]
    grey, labels = np.tile(IMAGES[..., 0], (2, 1, 1)), np.tile(Y, 2).astype(np.uint8)
    values = (grey, labels, grey[:30], labels[:30])

    def named(layout: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            dataclasses.replace(file, size=0, checksum=f"sha256:{hashlib.sha256(idx_bytes(v)).hexdigest()}", content="")
            for file, v in zip(layout, values, strict=True)
        )

    plain = tuple(named(layout) for layout in entry.alternatives if not layout[0].filename.endswith(".gz"))
    small = {"train_images": 110, "validation_images": 10, "test_images": 30}
    monkeypatch.setitem(CATALOGUE, "fashion_mnist", dataclasses.replace(entry, alternatives=plain, **small))
    for place in ("fashion_mnist", "fashion_mnist/raw", "fashion_mnist/FashionMNIST/raw", "FashionMNIST/raw"):
        folder = data_folder / place
        folder.mkdir(parents=True)
        for file, v in zip(plain[0], values, strict=True):
            write_idx(folder / Path(file.filename).name, v)
        assert len(load("fashion_mnist").test) == 30, place
        shutil.rmtree(data_folder / place.partition("/")[0])
