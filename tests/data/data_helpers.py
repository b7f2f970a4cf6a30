"""What the tests of this room share: idx files to read or to damage, a made-up dataset, a server's answers."""

import gzip
import struct
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
