"""Arrays of a user's own as splits: checked, and said what is wrong with them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from equiprop.data._labels import as_labels, numbered
from equiprop.data._split import Split, held_out, leaves, mapped, strata
from equiprop.errors import InputError

VALIDATION_SEED = 5000
_TEST_SEED = 1797

Held = float | tuple[Any, Any]
"""A fraction of the training samples to hold out, or samples (x, y)."""


def canonical(
    given: Mapping[str, tuple[Any, Any]], classes: Sequence[str] | None, *, allow_nan: bool
) -> tuple[dict[str, Split], tuple[str, ...]]:
    """Splits by name with labels as int32 and real numbers as they are; and the names of the classes, if targets name any.

    **Raises:** `InputError` for what `Dataset.from_arrays` says.
    """
    where = {name: f"{name}: " if len(given) > 1 else "" for name in given}
    xs = {name: mapped(lambda a, n=name: numbers(a, f"{where[n]}x"), x) for name, (x, _) in given.items()}
    ys = {name: mapped(np.asarray, y) for name, (_, y) in given.items()}
    words = _words(ys, where)
    if words is not None:
        ys = {name: _indices(y, words, where[name]) for name, y in ys.items()}
    ys = {name: mapped(lambda a, n=name: _target(a, where[n]), y) for name, y in ys.items()}
    splits = {name: Split(xs[name], ys[name]) for name in given}
    for name, split in splits.items():
        if not len(split):
            raise InputError("holds no samples", path=name)
        if not allow_nan:
            for part, tree in (("x", split.x), ("y", split.y)):
                for path, leaf in leaves(tree):
                    place = f"{where[name]}{part}{'.' if path else ''}{path}"
                    require_finite(leaf, place, "mend or leave out those samples, or say allow_nan")
    return splits, _named(classes, words, splits)


def numbers(a: Any, where: str) -> np.ndarray:
    """Inputs as they are trained on. **Raises:** `InputError` where they are no numbers `[n, ...]`."""
    found = np.asarray(a)
    if found.dtype.kind not in "biuf" or not found.ndim:
        raise InputError(
            f"holds {found.dtype} of shape {list(found.shape)}", path=where, hint="give numbers [n, ...], samples first"
        )
    # Pixels stay as they are; whole numbers, and truth values, are features like any others.
    return found if found.dtype == np.uint8 or found.dtype.kind == "f" else found.astype(np.float32)


def _words(ys: Mapping[str, Any], where: Mapping[str, str]) -> tuple[str, ...] | None:
    """The words that are the targets of all splits, in their order; `None` where targets are numbers."""
    found = {word for name, y in ys.items() if _may_be_words(y) for word in _as_words(y, where[name])}
    return tuple(sorted(found)) or None


def _may_be_words(y: Any) -> bool:
    return isinstance(y, np.ndarray) and y.dtype.kind in "USO"


def _as_words(y: Any, where: str) -> list[str]:
    # Word by word: an array of words has room for the longest in the place of each.
    words: list[Any] = y.tolist() if _may_be_words(y) and y.ndim == 1 else [None]
    try:
        words = [word.decode() if isinstance(word, bytes) else word for word in words]
    except UnicodeDecodeError as error:
        raise InputError("holds words that are not UTF-8", path=f"{where}y", hint="decode them") from error
    if not all(isinstance(word, str) for word in words):
        hint = "give words [n] in all splits, one class for each sample, or numbers"
        raise InputError(f"holds {y.dtype} of shape {list(y.shape)}, not words alone", path=f"{where}y", hint=hint)
    return words


def _indices(y: Any, words: tuple[str, ...], where: str) -> np.ndarray:
    place = {word: i for i, word in enumerate(words)}
    return np.array([place[word] for word in _as_words(y, where)], np.int32)


def _target(y: np.ndarray, where: str) -> np.ndarray:
    if y.dtype.kind not in "biuf" or not y.ndim:
        raise InputError(
            f"holds {y.dtype} of shape {list(y.shape)}",
            path=f"{where}y",
            hint="give labels [n], or real numbers [n, ...] as targets",
        )
    if y.dtype.kind == "f":
        return y
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim > 1:
        return y.astype(np.float32)
    return as_labels(y.astype(np.int32) if y.dtype.kind == "b" else y, where=f"{where}y")


def _named(
    classes: Sequence[str] | None, words: tuple[str, ...] | None, splits: Mapping[str, Split]
) -> tuple[str, ...]:
    """The names of the classes, in the order of the labels."""
    labels = [split.y for split in splits.values() if isinstance(split.y, np.ndarray) and split.y.dtype == np.int32]
    if words is not None:
        if classes is not None and set(classes) != set(words):
            raise InputError("are not the words in y", path="classes", value=list(classes), hint=f"those are {words}")
        return words
    if classes is not None:
        return tuple(map(str, classes))
    return numbered(labels)


def require_finite(a: np.ndarray, path: str | tuple[str, ...], hint: str) -> None:
    """**Raises:** `InputError`, with how many and the first of them, where numbers are not finite."""
    if a.dtype.kind != "f":
        return
    bad = ~np.isfinite(a)
    if bad.any():
        first = ", ".join(map(str, np.argwhere(bad)[0].tolist()))
        raise InputError(
            f"{int(bad.sum())} of {a.size} numbers are not finite, the first at [{first}]",
            path=path,
            hint=hint,
        )


def hold_out(source: Split, fraction: float, name: str) -> tuple[Split, Split]:
    """**Returns:** what is kept, and that fraction of the samples, evenly of all classes.

    **Raises:** `InputError` for a fraction that is none, or that holds out nothing or everything.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction < 1:
        raise InputError("must be (x, y), or a fraction from 0 to below 1", path=name, value=fraction)
    size = round(fraction * len(source))
    if fraction and not 0 < size < len(source):
        raise InputError(f"holds out {size} of {len(source)} samples", path=name, value=fraction)
    kept, held = held_out(strata(source.y), size, _TEST_SEED if name == "test" else VALIDATION_SEED)
    return source[kept], source[held]
