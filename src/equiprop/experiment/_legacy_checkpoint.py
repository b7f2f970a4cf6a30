"""Checkpoints of version 0.1: a folder with `about.json`, and the arrays of a state by their position, as Orbax wrote them."""

import hashlib
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from equiprop.data import require_room
from equiprop.errors import InputError
from equiprop.files import read_json
from equiprop.numerics import trees


def about(path: Path) -> dict[str, Any]:
    """What it says of itself. Raises `InputError`."""
    return read_json(path / "about.json")


def arrays_like(path: Path, like: Any, digest: str) -> dict[str, np.ndarray]:
    """Its first arrays, by the paths of `like`, with which the state begins.

    Raises `InputError` where TensorStore is not installed, the arrays cannot be read, or are not those that were written.
    """
    found = _arrays(path)
    if _digest(found) != digest:
        raise InputError(f"checkpoint {path}: is damaged, it does not hold what was written")
    return dict(zip(trees.paths(like), list(found.values())[: len(jax.tree.leaves(like))], strict=False))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        import tensorstore as ts
    except ImportError as error:
        hint = 'pip install "equiprop[tensorstore]"'
        raise InputError(
            f"checkpoint {path}: was written by version 0.1, which takes TensorStore to read", hint=hint
        ) from error
    store = {"driver": "ocdbt", "base": f"file://{(path / 'arrays').absolute()}/"}
    try:
        keys = ts.KvStore.open(store).result().list().result()
        names = sorted({key.decode().partition("/")[0] for key in keys})
        opened = [ts.open({"driver": "zarr", "kvstore": store | {"path": f"{name}/"}}).result() for name in names]
        for name, array in zip(names, opened, strict=True):
            # A piece of an array is read whole, however little of it there is.
            pieces = math.prod(n or 1 for n in array.chunk_layout.read_chunk.shape or ())
            require_room(max(math.prod(array.shape), pieces) * array.dtype.numpy_dtype.itemsize, path / name)
        return {name: np.asarray(array.read().result()) for name, array in zip(names, opened, strict=True)}
    except (OSError, ValueError) as error:
        raise InputError(f"checkpoint {path}: cannot be read ({str(error).splitlines()[0]})") from error


def _digest(arrays: dict[str, np.ndarray]) -> str:
    hasher = hashlib.sha256()
    for name, array in arrays.items():
        # Which makes a vector of a number.
        array = np.ascontiguousarray(array)
        hasher.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()
