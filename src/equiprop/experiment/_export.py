"""Parameters as files that other programs read."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.systems import System

SUFFIXES = (".safetensors", ".npz")


def export(system: System, path: str | Path, about: Mapping[str, str]) -> Path:
    """Writes the parameters of a system, by their paths in it, such as `weights.input->hidden_1`.

    **Arguments:**

    - `path`: ends in `.safetensors` or `.npz`; what is there is replaced.
    - `about`: text that a `.safetensors` file carries along.

    **Returns:** the path.

    Raises `InputError` for another ending, a file that cannot be written, or where safetensors is not installed.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(
            "has no ending that is known", path="path", value=str(path), hint=f"choose {' or '.join(SUFFIXES)}"
        )
    named = named_parameters(system)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=path.suffix)
        os.close(handle)
        try:
            _write(Path(temporary), named, about)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def named_parameters(system: System) -> dict[str, np.ndarray]:
    """The parameters of a system, by their paths in it."""
    parameters = eqx.filter(system, eqx.is_inexact_array)
    return dict(zip(trees.paths(parameters), map(np.asarray, jax.tree.leaves(parameters)), strict=True))


def _write(path: Path, named: dict[str, np.ndarray], about: Mapping[str, str]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **named)  # pyright: ignore[reportArgumentType]
        return
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        hint = "install it with `pip install safetensors`, or export to .npz"
        raise InputError("exporting to .safetensors needs the package safetensors", hint=hint) from error
    save_file({name: np.ascontiguousarray(a) for name, a in named.items()}, path, dict(about))
