"""The catalogue: complete, consistent, and with a helpful answer for a name it does not have."""

import hashlib
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from equiprop import data
from equiprop.errors import InputError


def test_the_datasets() -> None:
    assert data.names() == ("digits", "mnist", "fashion_mnist")


@pytest.mark.parametrize("name", data.names())
def test_an_entry_is_complete(name: str) -> None:
    entry = data.entry(name)
    assert entry.name == name
    assert entry.description
    assert entry.licence
    assert entry.citation
    assert "\n" not in entry.description + entry.licence + entry.citation
    assert len(set(entry.classes)) == len(entry.classes) == 10
    assert min(entry.train_images, entry.validation_images, entry.test_images) > 0
    assert entry.scale > 0


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_files_are_the_official_four(name: str) -> None:
    files = data.entry(name).files
    assert [file.filename for file in files] == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert len({file.sha256 for file in files}) == 4
    for file in files:
        assert len(bytes.fromhex(file.sha256)) == hashlib.sha256().digest_size
        assert file.size > 0
        assert len({urlsplit(url).hostname for url in file.urls}) == len(file.urls) == 2
        assert all(url.endswith("/" + file.filename) for url in file.urls)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    for ask in (data.entry, data.load, data.fetch, data.verify, data.find):
        with pytest.raises(InputError, match=r"dataset = 'fashion-mnist' is not known.*did you mean 'fashion_mnist'\?"):
            ask("fashion-mnist")


def test_the_room_is_light_to_import() -> None:
    heavy = "{'jax', 'sklearn', 'scipy', 'pooch', 'requests'}"
    code = f"import sys, equiprop.data; print(sorted({heavy} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
