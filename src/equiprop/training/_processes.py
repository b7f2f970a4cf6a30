"""What the processes of one job do together: agree, and leave to the first of them what only one may do."""

from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

from equiprop.errors import EquipropError

T = TypeVar("T")
R = TypeVar("R")


class ProcessLost(EquipropError):
    """Another process of the job went away."""


def is_primary() -> bool:
    """Whether this process writes what the job leaves behind."""
    return jax.process_index() == 0


def agree(stop: bool, steps: int) -> tuple[bool, int]:
    """Whether any process wants to stop, and the number of steps that process 0 proposes: the same for all of them."""
    if jax.process_count() == 1:
        return stop, steps
    from jax.experimental import multihost_utils

    proposals = np.asarray(multihost_utils.process_allgather(np.array([int(stop), steps])))
    return bool(proposals[:, 0].any()), int(proposals[0, 1])


def local(tree: T) -> T:
    """The arrays of `tree`, which every device holds whole, as arrays of one device of this process. All processes must call it.

    What one of them does for all is not done by each: a program in which two devices of one CPU share their threads may wait for
    itself for ever.
    """
    arrays = jax.tree.leaves(eqx.filter(tree, eqx.is_array))
    if jax.process_count() == 1 and all(len(a.devices()) == 1 for a in arrays):
        return tree

    def one(a: Any) -> Any:
        if not eqx.is_array(a):
            return a
        if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(jax.device_put(np.asarray(jax.random.key_data(a))))
        return jax.device_put(np.asarray(a))

    return jax.tree.map(one, tree)


def as_held(tree: T) -> T:
    """The arrays of `tree`, which every device holds whole, as the first device of this process holds them: nothing is copied."""

    def one(a: Any) -> Any:
        return a.addressable_data(0) if isinstance(a, jax.Array) and len(a.sharding.device_set) > 1 else a

    return jax.tree.map(one, tree)


def of_primary(tree: T) -> T:
    """The arrays of `tree` as process 0 has them, on one device of each. All processes must call it."""
    if jax.process_count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return jax.tree.map(jax.device_put, multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree)))


def on_primary(job: Callable[[], R]) -> R | None:
    """What `job` returns, in process 0; the other processes wait for it, and stop if it fails.

    Raises `ProcessLost` in those.
    """
    try:
        result = job() if is_primary() else None
    except EquipropError:
        agree(True, 0)
        raise
    failed, _ = agree(False, 0)
    if failed:
        raise ProcessLost("process 0 stopped; what it printed says why")
    return result
