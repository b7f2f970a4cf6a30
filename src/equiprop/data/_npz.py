"""Arrays in NumPy's archive, under any of the names that people give them."""

import re
from pathlib import Path
from typing import Any

from equiprop.data._npy import Npz
from equiprop.data._split import SPLIT_NAMES
from equiprop.errors import InputError

_ROLES = {
    **dict.fromkeys(("x", "images", "data", "features", "inputs"), "x"),
    **dict.fromkeys(("y", "labels", "label", "targets", "target"), "y"),
}
_NAMES = "x and y, or x_train, y_train, x_test and y_test (x_validation, y_validation)"


def read_npz(path: Path, *, train: bool = True) -> dict[str, tuple[Any, Any]]:
    """The splits of an archive by name; the only one is `train`. `x.NAME` is a part of an input in several parts, `y.NAME` one of
    several targets.

    **Arguments:**

    - `train`: whether all splits are wanted; otherwise only the test split is read, if there is one.

    **Raises:** `InputError` where it is no archive, or holds no such arrays.
    """
    with Npz(path) as archive:
        places = _places(archive)
        if "train" not in places or any(set(roles) != {"x", "y"} for roles in places.values()):
            raise InputError(f"{path} holds {', '.join(archive.names) or 'nothing'}: it must hold {_NAMES}")
        wanted = {"test": places["test"]} if not train and "test" in places else places
        return {split: (_tree(archive, roles["x"]), _tree(archive, roles["y"])) for split, roles in wanted.items()}


def inputs_of_npz(path: Path) -> Any:
    """The inputs of an archive without regard to targets: of its test split, or else of its only one.

    **Raises:** as `read_npz`.
    """
    with Npz(path) as archive:
        found = _places(archive)
        named = found.get("test", found.get("train", {}))
        if "x" not in named:
            raise InputError(f"{path} holds {', '.join(archive.names) or 'nothing'}: it must hold x")
        return _tree(archive, named["x"])


def _places(archive: Npz) -> dict[str, dict[str, dict[str, str]]]:
    """Of each split, of its inputs and targets, the parts and the arrays that they are in."""
    places: dict[str, dict[str, dict[str, str]]] = {}
    for name in archive.names:
        found = _place(name)
        if found is not None:
            split, role, part = found
            taken = places.setdefault(split, {}).setdefault(role, {})
            if part in taken:
                raise InputError(f"{archive.path} has both {taken[part]} and {name}: leave one of them out")
            taken[part] = name
    return places


def _place(name: str) -> tuple[str, str, str] | None:
    """The split, the role and the part that an array's name says it is, if it does."""
    whole, _, part = name.partition(".")
    words = re.split("[_-]", whole.lower())
    splits = [SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES]
    roles = [_ROLES[word] for word in words if word in _ROLES]
    if len(roles) != 1 or len(splits) > 1 or len(splits) + len(roles) != len(words):
        return None
    return splits[0] if splits else "train", roles[0], part


def _tree(archive: Npz, parts: dict[str, str]) -> Any:
    if set(parts) == {""}:
        return archive.read(parts[""])
    return {part: archive.read(name) for part, name in parts.items()}
