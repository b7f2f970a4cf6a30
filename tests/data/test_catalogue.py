"""The catalogue: complete, consistent, and with a helpful answer for a name it does not have."""

import hashlib
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest

from equiprop import data
from equiprop.errors import InputError


def assert_is_a_checksum(checksum: str, algorithm: str) -> None:
    named, _, digits = checksum.partition(":")
    assert named == algorithm
    assert len(bytes.fromhex(digits)) == hashlib.new(algorithm).digest_size


def test_the_datasets() -> None:
    assert data.names() == ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet32")


@pytest.mark.parametrize("name", data.names())
def test_an_entry_is_complete(name: str) -> None:
    entry = data.entry(name)
    assert entry.name == name
    assert entry.description
    assert entry.licence
    assert entry.citation
    assert "\n" not in entry.description + entry.licence + entry.citation
    assert len(set(entry.classes)) == len(entry.classes) == {"cifar100": 100, "imagenet32": 1000}.get(name, 10)
    assert min(entry.train_images, entry.validation_images, entry.test_images) > 0
    # One value for each channel, where there are channels.
    assert np.shape(entry.mean) == np.shape(entry.scale) == entry.image_shape[2:]
    assert np.all(np.asarray(entry.scale) > 0)


def test_the_input_scale_of_colour_is_one_and_a_half_published_deviations() -> None:
    entry = data.entry("cifar10")
    np.testing.assert_allclose(entry.mean, 255 * np.array([0.4914, 0.4822, 0.4465]))
    np.testing.assert_allclose(entry.scale, 1.5 * 255 * np.array([0.2470, 0.2435, 0.2616]))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_files_are_the_official_four(name: str) -> None:
    files = data.entry(name).files
    assert [file.filename for file in files] == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert len({file.checksum for file in files}) == 4
    for file in files:
        assert_is_a_checksum(file.checksum, "sha256")
        assert file.size > 0
        assert len({urlsplit(url).hostname for url in file.urls}) == len(file.urls) == 2
        assert all(url.endswith("/" + file.filename) for url in file.urls)
        assert_is_a_checksum(file.content, "sha256")


@pytest.mark.parametrize(("name", "torchvision"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_the_files_may_lie_where_torchvision_puts_them_decompressed(name: str, torchvision: str) -> None:
    entry = data.entry(name)
    by_place = {layout[0].filename: layout for layout in entry.alternatives}
    for place in ("", "raw/", f"{torchvision}/raw/", f"../{torchvision}/raw/"):
        plain = by_place[f"{place}train-images-idx3-ubyte"]
        assert [file.checksum for file in plain] == [file.content for file in entry.files]
        assert [file.size for file in plain] == [47040016, 60008, 7840016, 10008]
    for place in ("raw/", f"{torchvision}/raw/", f"../{torchvision}/raw/"):
        compressed = by_place[f"{place}train-images-idx3-ubyte.gz"]
        assert [(f.checksum, f.content) for f in compressed] == [(f.checksum, f.content) for f in entry.files]


@pytest.mark.parametrize(("name", "batches"), [("cifar10", 6), ("cifar100", 2)])
def test_cifar_is_its_archive_or_what_is_in_it(name: str, batches: int) -> None:
    entry = data.entry(name)
    (archive,) = entry.files
    assert archive.urls == (f"https://www.cs.toronto.edu/~kriz/{archive.filename}",)
    assert archive.size > 0
    assert_is_a_checksum(archive.checksum, "sha256")
    extracted, beside = entry.alternatives
    assert archive.members == extracted
    assert [file.filename for file in beside] == [f"../{file.filename}" for file in extracted]
    assert len(extracted) == len({file.checksum for file in extracted}) == batches
    for file in extracted:
        assert file.filename.startswith(archive.filename.removesuffix("python.tar.gz"))
        assert_is_a_checksum(file.checksum, "md5")
        assert not file.urls


def test_the_files_of_imagenet_cannot_be_downloaded() -> None:
    entry = data.entry("imagenet32")
    layouts = (entry.files, *entry.alternatives)
    assert len(set(layouts)) == len(layouts) == 8
    for files in layouts:
        assert len(files) == 11
        assert not any(file.urls or file.checksum for file in files)
    assert "https://image-net.org/download-images" in entry.obtain
    assert (entry.train_images + entry.validation_images, entry.test_images) == (1281167, 50000)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    for ask in (data.entry, data.load, data.fetch, data.verify, data.find):
        with pytest.raises(
            InputError,
            match=r"dataset = 'fashion-mnist': is not known; choose one of digits.*did you mean 'fashion_mnist'\?",
        ):
            ask("fashion-mnist")


def test_the_room_is_light_to_import() -> None:
    heavy = "{'jax', 'sklearn', 'scipy', 'pooch', 'requests', 'PIL', 'duckdb'}"
    code = f"import sys, equiprop.data; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
