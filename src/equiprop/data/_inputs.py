"""Inputs without targets, from files: what a trained system is asked about."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._arrays import numbers
from equiprop.data._images import SUFFIXES as IMAGE_SUFFIXES
from equiprop.data._images import Kind, pixels
from equiprop.data._npy import read_npy
from equiprop.data._npz import inputs_of_npz
from equiprop.data._split import leaves, mapped
from equiprop.data._tables import SUFFIXES as TABLE_SUFFIXES
from equiprop.data._tables import read_features
from equiprop.errors import InputError


def read_inputs(paths: Sequence[str | Path], input_shape: Any) -> tuple[Any, list[str]]:
    """The inputs in files, one after the other, and a name for each: that of its file, with its place where there are several.

    **Arguments:**

    - `paths`: images; `.npy`, or `.npz` with x; `.csv` or `.parquet` with a column for each number of an input.
    - `input_shape`: of one input.

    **Raises:** `InputError`, naming the file, where it cannot be read or holds inputs of another shape.
    """
    if not paths:
        raise InputError("there are no files")
    parts, names = [], []
    for path in map(Path, paths):
        x = mapped(lambda a, where=str(path): numbers(a, where), _read(path, input_shape))
        several = path.suffix.lower() not in IMAGE_SUFFIXES
        shape = mapped(lambda a: tuple(a.shape[1:]), x)
        if shape != input_shape:
            raise InputError(f"{path} holds inputs of shape {shape}: they must be {input_shape}, samples first")
        count, *others = {len(a) for _, a in leaves(x)}
        if others:
            raise InputError(f"{path} holds parts of inputs that differ in length: give each of them for every input")
        parts.append(x)
        names += [f"{path}:{i}" for i in range(count)] if several else [str(path)]
    if not names:
        raise InputError(f"{paths[0]} holds no inputs")
    if isinstance(parts[0], dict):
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, names
    return np.concatenate(parts), names


def _read(path: Path, input_shape: Any) -> Any:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    if suffix in IMAGE_SUFFIXES:
        if not isinstance(input_shape, tuple) or len(input_shape) not in (2, 3) or input_shape[2:] not in ((), (3,)):
            raise InputError(f"{path} is an image, and inputs are of shape {input_shape}")
        kind = Kind("an input", (input_shape[1], input_shape[0]), "RGB" if len(input_shape) == 3 else "L")
        return pixels(path, str(path), kind)[None]
    if suffix in TABLE_SUFFIXES:
        return read_features(path, input_shape)
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".npz":
        return inputs_of_npz(path)
    raise InputError(f"{path} has no ending that is known: give images, .npy, .npz, .csv or .parquet")
