"""What the tests of this folder have in common: idx files to read or to damage, a made-up dataset, a server's answers."""

import gzip
import io
import pickle
import struct
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data import Entry
from equiprop.data._catalogue import CATALOGUE

FILENAMES = ("train-images.gz", "train-labels.gz", "test-images.gz", "test-labels.gz")
CODES = {"uint8": 0x08, "int8": 0x09, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D, "float64": 0x0E}


def idx_bytes(values: np.ndarray) -> bytes:
    """The idx format of an array: magic number, dimensions, values, all high byte first."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, CODES[values.dtype.name], values.ndim, *values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


def write_idx(path: Path, values: np.ndarray) -> Path:
    """Writes an array as idx, gzip-compressed where the name ends in `.gz`; the same array gives the same bytes."""
    data = idx_bytes(values)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


@dataclass
class Server:
    """What the server answers: bytes by path and the length it claims (by default the true one); and what was asked."""

    address: str
    bodies: dict[str, bytes] = field(default_factory=dict)
    claimed: dict[str, int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    encodings: list[str | None] = field(default_factory=list)


@dataclass
class Toy:
    """The made-up dataset `toy`: its entry in the catalogue, its folder, and the published bytes of its files."""

    folder: Path
    published: dict[str, bytes]

    @property
    def entry(self) -> Entry:
        return CATALOGUE["toy"]

    def change(self, **changes: Any) -> None:
        CATALOGUE["toy"] = replace(self.entry, **changes)

    def put(self, *filenames: str) -> None:
        self.folder.mkdir(exist_ok=True)
        for filename in filenames or FILENAMES:
            (self.folder / filename).write_bytes(self.published[filename])


CIFAR_FILES = {
    "cifar10": ("cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], "labels"),
    "cifar100": ("cifar-100-python", ["train", "test"], "fine_labels"),
}
"""Of each CIFAR the folder, the batch files and the key of the labels."""


def some_rows(n: int, seed: int) -> np.ndarray:
    """Images as CIFAR and downsampled ImageNet store them, uint8 `[n, 3072]`."""
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


def image_of(row: np.ndarray) -> np.ndarray:
    """One image `[32, 32, 3]` of its row, pixel by pixel as the formats describe it."""
    image = np.zeros((32, 32, 3), np.uint8)
    for y in range(32):
        for x in range(32):
            for channel in range(3):
                image[y, x, channel] = row[1024 * channel + 32 * y + x]
    return image


def cifar_pickles(name: str, per_batch: int = 20) -> tuple[dict[str, bytes], dict[str, dict[bytes, Any]]]:
    """The batch files of a small CIFAR as bytes, and their content."""
    _, batches, labels = CIFAR_FILES[name]
    classes = len(CATALOGUE[name].classes)
    content = {
        batch: {
            b"data": some_rows(per_batch, seed),
            labels.encode(): [(seed + i) % classes for i in range(per_batch)],
            b"filenames": [b"a.png"] * per_batch,
        }
        for seed, batch in enumerate(batches)
    }
    return {batch: pickle.dumps(values, protocol=2) for batch, values in content.items()}, content


def write_tar(path: Path, members: dict[str, bytes]) -> bytes:
    """A compressed archive of these files; returns its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path.read_bytes()
