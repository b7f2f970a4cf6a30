"""Where a run lies: on one device, or a batch spread over several with everything else on each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from equiprop.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
S = TypeVar("S")

_BATCH = "batch"


@dataclass(frozen=True)
class Placement:
    """One device, or a mesh of several along which batches are split: data parallelism.

    Each device relaxes its own samples and reads their gradient; the sums over devices are the compiler's. The result is the same
    on any number of devices, up to the order of sums and what an estimator draws at random.
    """

    mesh: Mesh | None = None

    @classmethod
    def over(cls, devices: int, batch_size: int) -> "Placement":
        """**Arguments:**

        - `devices`: how many, of all processes together; 0 for all there are.
        - `batch_size`: of what is computed at once.

        Raises `InputError` where there are fewer devices, one of several processes would have none, or the batch does not
        divide among them.
        """
        found = jax.devices()
        if not 0 <= devices <= len(found):
            raise InputError(f"there are {len(found)}", path="devices", value=devices, hint="write 0 for all of them")
        chosen = found[: devices or len(found)]
        idle = jax.process_count() - len({device.process_index for device in chosen})
        if idle:
            raise InputError(
                f"leaves {idle} of {jax.process_count()} processes without a device",
                path="devices",
                value=devices,
                hint="write 0 for all of them, or start fewer processes",
            )
        if batch_size % len(chosen):
            raise InputError(
                f"{batch_size} samples at once do not divide among {len(chosen)} devices",
                path="batch_size",
                hint="make it a multiple of the micro-batches times the devices, or use fewer devices",
            )
        if len(chosen) == 1:
            return cls()
        return cls(Mesh(np.array(chosen), (_BATCH,), axis_types=(AxisType.Auto,)))

    @property
    def count(self) -> int:
        return 1 if self.mesh is None else self.mesh.size

    def everywhere(self, tree: T) -> T:
        """The arrays of `tree` whole on every device, also on those of other processes, which hold the same values."""
        if self.mesh is None:
            return tree
        whole = NamedSharding(self.mesh, PartitionSpec())
        if jax.process_count() == 1:
            return jax.tree.map(lambda a: jax.device_put(a, whole) if eqx.is_array(a) else a, tree)

        def one(a: Any) -> Any:
            if not eqx.is_array(a):
                return a
            if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(one(jax.random.key_data(a)))
            value = np.asarray(a)
            return jax.make_array_from_callback(value.shape, whole, lambda index: value[index])

        return jax.tree.map(one, tree)

    def each(self, job: Callable[[S, T, PRNGKeyArray], R], whole: S, batch: T, key: PRNGKeyArray) -> R:
        """Within a compiled program: what `job` makes of `whole`, every device's part of a batch and a key of its own.

        It is stacked along a leading axis. There must be several devices.

        Each device works by itself. Loops that ask all devices whether to go on would wait for each other for ever where there
        are fewer cores than the CPU pretends to have devices: one device may be asked of another loop first.
        """
        assert self.mesh is not None
        arrays, static = eqx.partition(whole, eqx.is_array)

        def one(arrays: S, batch: T, keys: PRNGKeyArray) -> R:
            return jax.tree.map(lambda a: a[None], job(eqx.combine(arrays, static), batch, keys[0]))

        parts = PartitionSpec(_BATCH)
        specs = (PartitionSpec(), parts, parts)
        mapped = jax.shard_map(one, mesh=self.mesh, in_specs=specs, out_specs=parts, check_vma=False)
        return mapped(arrays, batch, jax.random.split(key, self.count))
