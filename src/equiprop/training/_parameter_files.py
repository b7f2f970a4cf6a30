"""Parameters as files that other programs read."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from equiprop.errors import InputError
from equiprop.files import write_atomically
from equiprop.numerics import trees
from equiprop.systems import System

SUFFIXES = (".safetensors", ".npz")


def write_parameters(system: System, path: str | Path, about: Mapping[str, str] | None = None) -> Path:
    """Writes the parameters of a system, by their paths in it, such as `weights.input->hidden_1`.

    **Arguments:**

    - `path`: ends in `.safetensors` or `.npz`; what is there is replaced, and never by half of a file.
    - `about`: text that a `.safetensors` file carries along.

    **Returns:** the path.

    Raises `InputError` for another ending, a file that cannot be written, or parameters that it cannot hold.
    """
    path = Path(path)
    require_suffix(path)
    named = named_parameters(system)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, _encoded(path.suffix, named, about or {}))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    except SafetensorError as error:
        raise InputError(f"{path}: cannot be written ({error})", hint="choose .npz") from error
    return path


def require_suffix(path: Path) -> None:
    """Raises `InputError` for a file of a kind that `write_parameters` cannot write here."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            "has no ending that is known", path="path", value=str(path), hint=f"choose {' or '.join(SUFFIXES)}"
        )


def named_parameters(system: System) -> dict[str, np.ndarray]:
    """The parameters of a system, by their paths in it."""
    parameters = eqx.filter(system, eqx.is_inexact_array)
    return dict(zip(trees.paths(parameters), map(np.asarray, jax.tree.leaves(parameters)), strict=True))


def _encoded(suffix: str, named: dict[str, np.ndarray], about: Mapping[str, str]) -> bytes:
    if suffix == ".npz":
        file = io.BytesIO()
        # Not by numpy.savez, whose own arguments have names that a parameter may have, such as `file`.
        with zipfile.ZipFile(file, "w") as archive:
            for name, values in named.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, values, allow_pickle=False)
        return file.getvalue()
    return save({name: np.ascontiguousarray(a) for name, a in named.items()}, dict(about))
