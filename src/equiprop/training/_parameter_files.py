"""Parameters as files that other programs read."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from equiprop.errors import InputError, suggest
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


def with_parameters(system: System, parameters: Mapping[str, Any]) -> System:
    """The system with other parameters, such as those of a file that `write_parameters` wrote.

    **Arguments:**

    - `parameters`: every parameter by its path in the system, as `named_parameters` names them, in anything that NumPy makes an
      array of: what `np.load(...)` and `safetensors.numpy.load_file(...)` give, tensors of PyTorch on a CPU. They take the
      precision of the system.

    Raises `InputError` for names that are missing or unknown, other shapes, and what are no real numbers.
    """
    theirs = eqx.filter(system, eqx.is_inexact_array)
    names, (leaves, structure) = trees.paths(theirs), jax.tree.flatten(theirs)
    for name in parameters:
        if name not in names:
            raise suggest("parameter", name, names)
    if missing := [name for name in names if name not in parameters]:
        raise InputError(f"has no {', '.join(missing)}", path="parameters")

    def one(name: str, leaf: Any) -> Any:
        values = np.asarray(parameters[name])
        if values.shape != leaf.shape:
            raise InputError(f"has the shape {values.shape}, and the system's {leaf.shape}", path=name)
        if values.dtype.kind not in "fiu":
            raise InputError(f"must be real numbers, not {values.dtype}", path=name)
        return jnp.asarray(values, leaf.dtype)

    taken = jax.tree.unflatten(structure, [one(name, leaf) for name, leaf in zip(names, leaves, strict=True)])
    return eqx.combine(taken, system)


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
