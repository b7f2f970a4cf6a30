"""Datasets of other libraries as arrays. None of these libraries is imported: what they give is asked for by its methods."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from equiprop.data._split import SPLIT_NAMES
from equiprop.errors import InputError

_IMAGES = ("image", "img", "pixels")
_LABELS = ("label", "labels", "fine_label", "target", "y")


def of_torch(data: Any, channels_last: bool) -> tuple[Any, Any]:
    """All pairs of a map-style dataset of PyTorch. **Raises:** `InputError` where it does not hold pairs of equal shapes."""
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise InputError(
            f"is a {type(data).__name__}", path="data", hint="give a map-style torch.utils.data.Dataset of pairs (x, y)"
        )
    pairs = [data[i] for i in range(len(data))]
    wrong = next((i for i, pair in enumerate(pairs) if not isinstance(pair, tuple | list) or len(pair) != 2), None)
    if wrong is not None or not pairs:
        what = "holds nothing" if not pairs else f"element {wrong} is no pair (x, y)"
        raise InputError(what, path="data", hint="give a map-style torch.utils.data.Dataset of pairs (x, y)")
    x, y = (_stacked([pair[part] for pair in pairs], "xy"[part]) for part in (0, 1))
    tensors = not isinstance(pairs[0][0], Mapping) and hasattr(pairs[0][0], "numpy")
    return (np.moveaxis(x, 1, -1) if channels_last and tensors and x.ndim == 4 else x), y


def _stacked(values: list[Any], name: str) -> Any:
    if isinstance(values[0], Mapping):
        return {key: _stacked([value[key] for value in values], f"{name}.{key}") for key in values[0]}
    arrays = [np.asarray(value) for value in values]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise InputError(
            f"differs in shape: {', '.join(str(list(s)) for s in sorted(shapes)[:3])}",
            path=name,
            hint="make all samples of one shape",
        )
    return np.stack(arrays)


def of_huggingface(data: Any, x: Any, y: Any) -> tuple[dict[str, tuple[Any, Any]], tuple[str, ...] | None]:
    """The splits that are there, and the names of the classes, if they have names.

    **Raises:** `InputError` where columns are not there, or it cannot be told which are meant.
    """
    whole = data if isinstance(data, Mapping) else {"train": data}
    parts = {SPLIT_NAMES[name]: part for name, part in whole.items() if name in SPLIT_NAMES}
    if "train" not in parts:
        raise InputError(f"has no split train, only {', '.join(map(str, whole)) or 'none'}", path="data")
    train = parts["train"]
    if not all(hasattr(train, name) for name in ("column_names", "features", "__len__")):
        hint = "give a datasets.Dataset or DatasetDict, loaded in full (not streamed)"
        raise InputError(f"is a {type(train).__name__}", path="data", hint=hint)
    target = chosen_target(train.column_names, y)
    inputs = chosen_inputs(train.column_names, x, target)
    splits = {
        name: (_columns(part, inputs, "x"), _columns(part, target, "y")) for name, part in parts.items() if len(part)
    }
    feature = train.features[target] if isinstance(target, str) else None
    names = getattr(feature, "names", None)
    return splits, tuple(names) if names else None


def usual_target(columns: list[str]) -> str | None:
    """The column of a name that targets usually have, if there is one."""
    return next((name for name in _LABELS if name in columns), None)


def chosen_target(columns: list[str], asked: Any) -> Any:
    """The column, or the columns, of targets. **Raises:** `InputError` where there is none of a usual name."""
    if asked is not None:
        return _there(columns, asked, "y")
    found = usual_target(columns)
    if found is None:
        raise InputError(
            f"there is no column {', '.join(_LABELS)}, only {', '.join(columns)}",
            path="y",
            hint="say which column holds the targets",
        )
    return found


def chosen_inputs(columns: list[str], asked: Any, target: Any) -> Any:
    """The column of images if there is one, or else all that are no targets. **Raises:** as `chosen_target`."""
    if asked is not None:
        return _there(columns, asked, "x")
    targets = [target] if isinstance(target, str) else list(target)
    image = next((name for name in _IMAGES if name in columns), None)
    return image or [name for name in columns if name not in targets]


def _there(columns: list[str], asked: Any, path: str) -> Any:
    for name in [asked] if isinstance(asked, str) else asked:
        if name not in columns:
            raise InputError("is no column", path=path, value=name, hint=f"the columns are {', '.join(columns)}")
    return asked


def _columns(part: Any, names: Any, path: str) -> np.ndarray:
    """A column, or several of one number each side by side."""
    if isinstance(names, str):
        return _stacked(list(part[names]), f"{path}.{names}")
    found = {name: _stacked(list(part[name]), f"{path}.{name}") for name in names}
    for name, column in found.items():
        if column.ndim != 1:
            raise InputError(
                f"holds arrays {list(column.shape[1:])}", path=(path, name), hint="say which single column is meant"
            )
    if not found:
        raise InputError("there are no columns but targets", path=path)
    return np.stack(list(found.values()), axis=-1)
