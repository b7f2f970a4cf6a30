"""Where a run lies: on one device, or a batch spread over several with everything else on each."""

from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from equiprop.errors import InputError

T = TypeVar("T")

_BATCH = "batch"


@dataclass(frozen=True)
class Placement:
    """One device, or a mesh of several along which batches are split: data parallelism by JAX's own partitioner.

    A program says what is computed of a whole batch; which device computes which samples, and the sums over devices, are
    the compiler's. The result is the same on any number of devices, up to the order of sums.
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
            return jax.device_put(tree, whole)

        def one(a: jax.Array) -> jax.Array:
            if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(one(jax.random.key_data(a)))
            value = np.asarray(a)
            return jax.make_array_from_callback(value.shape, whole, lambda index: value[index])

        return jax.tree.map(one, tree)

    def shard(self, tree: T, axis: int = 0) -> T:
        """Within a compiled program: the arrays of `tree` split along their batch axis."""
        if self.mesh is None:
            return tree
        sharding = NamedSharding(self.mesh, PartitionSpec(*[None] * axis, _BATCH))
        return jax.tree.map(lambda a: jax.lax.with_sharding_constraint(a, sharding), tree)
