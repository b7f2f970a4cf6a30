"""Inputs with their targets; and which are held out, in what order: choices of a constant, and of nothing a run can change."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from equiprop.data._labels import are_labels, as_labels
from equiprop.errors import InputError

SPLIT_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
"""What the splits are called in files and in other libraries, and here."""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Inputs and their targets, as stored.

    **Arguments:**

    - `x`: an array `[n, ...]`, such as pixels uint8 `[n, height, width]`; or a dictionary of such arrays.
    - `y`: labels `[n]`, whole numbers of any type, which become int32: the index of each sample's class; or targets, real numbers
        `[n, ...]`; or a dictionary of these.

    **Raises:** `InputError` where these are no arrays of numbers, not one target for each input, or a label is none of int32.
    """

    x: Any
    y: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "y", mapped(lambda a: as_labels(a) if are_labels(a) else a, self.y))
        lengths = {}
        for name, tree in (("x", self.x), ("y", self.y)):
            for path, leaf in leaves(tree):
                where = f"{name}.{path}" if path else name
                if not isinstance(leaf, np.ndarray) or leaf.dtype.kind not in "biuf" or not leaf.ndim:
                    what = f"{leaf.dtype} {list(leaf.shape)}" if isinstance(leaf, np.ndarray) else type(leaf).__name__
                    raise InputError(f"is {what}", path=where, hint="give an array of numbers [n, ...], samples first")
                lengths[where] = len(leaf)
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise InputError(f"inputs and targets differ in length: {told}", hint="give one target for each input")
        if not lengths:
            raise InputError("a split has no arrays")

    def __len__(self) -> int:
        return len(next(leaves(self.x))[1])

    def __repr__(self) -> str:
        return f"Split({len(self)} inputs {mapped(list, self.input_shape)}, targets {mapped(list, self.target_shape)})"

    def __getitem__(self, which: Any) -> "Split":
        """Some of the samples, by a slice or by their indices."""
        return Split(*(mapped(lambda a: a[which], tree) for tree in (self.x, self.y)))

    @property
    def input_shape(self) -> Any:
        """The shape of one input; of a dictionary, one for each part."""
        return mapped(lambda a: tuple(a.shape[1:]), self.x)

    @property
    def target_shape(self) -> Any:
        """The shape of one target; of a dictionary, one for each part. `()` where it is a label or a single number."""
        return mapped(lambda a: tuple(a.shape[1:]), self.y)


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested dictionaries with their dotted names, in the order of the names."""
    if not isinstance(tree, Mapping):
        yield prefix, tree
        return
    for key in sorted(tree):
        yield from leaves(tree[key], f"{prefix}.{key}" if prefix else str(key))


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of every leaf of nested dictionaries, and of those of others of the same structure."""
    if isinstance(tree, Mapping):
        return {key: mapped(function, value, *(other[key] for other in others)) for key, value in tree.items()}
    return function(tree, *others)


def strata(y: Any) -> np.ndarray:
    """Labels by which samples are held out evenly; zeros where targets are no labels."""
    if are_labels(y):
        return y
    return np.zeros(len(next(leaves(y))[1]), np.int32)


def held_out(labels: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The indices kept and the indices held out, `size` of them, stratified by class.

    Class k with c_k of the n labels gives `size · c_k / n` images; what rounding down leaves over goes to the classes
    with the largest remainders, the lowest class first among equals. Within a class, the images with the lowest keys
    are held out, where image i has the key number i of `_keys`.

    **Arguments:**

    - `labels`: int `[n]`.
    - `size`: how many to hold out, 0 to n.
    - `seed`: a constant of the dataset, never the seed of a run.

    **Returns:** `(kept, held)`, int `[n - size]` and `[size]`, disjoint, each in the order of the source.
    """
    keys = _keys(len(labels), seed)
    classes, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(size * counts, max(len(labels), 1))
    left_over = size - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:left_over]] += 1

    held = np.zeros(len(labels), dtype=bool)
    for label, quota in zip(classes, quotas, strict=True):
        members = np.flatnonzero(labels == label)
        held[members[np.argsort(keys[members], kind="stable")[:quota]]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def mixed(n: int, seed: int) -> np.ndarray:
    """0 to n - 1 in the order of their keys: for a source sorted by class, whose first images are else all of one."""
    return np.argsort(_keys(n, seed), kind="stable")


def _keys(n: int, seed: int) -> np.ndarray:
    """The first n numbers of the raw stream of `numpy.random.PCG64(seed)`.

    The raw stream, and not `Generator.permutation`: NumPy keeps only the raw stream the same across its releases
    (https://numpy.org/neps/nep-0019-rng-policy.html).
    """
    return np.random.PCG64(seed).random_raw(n)
