"""Which images are held out, and in what order they come: choices of a constant, and of nothing a run can change."""

import numpy as np


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
