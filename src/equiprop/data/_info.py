"""What is known of a dataset without its samples: enough to build a system for it, and to know it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from equiprop.data._split import mapped


@dataclass(frozen=True, eq=False)
class DatasetInfo:
    """Shapes, classes, scale, sizes and fingerprints of a dataset: what a run keeps of it.

    **Arguments:**

    - `name`, `classes`, `mean`, `scale`, `checksum`: those of the `Dataset`.
    - `input_shape`, `target_shape`: of one sample, without the batch axis; of dictionaries, one for each part.
    - `counts`: how many samples each split has; of training in shards, how many each of them has.
    - `checksums`: of each split by itself.
    """

    name: str
    input_shape: Any
    target_shape: Any = ()
    classes: tuple[str, ...] = ()
    mean: Any = 0.0
    scale: Any = 1.0
    counts: dict[str, Any] = field(default_factory=dict)
    checksum: str = ""
    checksums: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> Any:
        """How many outputs a system needs: one for each class, or for each number of a target; of a dictionary, for each part."""
        return len(self.classes) or mapped(prod, self.target_shape)

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "input_shape": mapped(list, self.input_shape),
            "target_shape": mapped(list, self.target_shape),
            "classes": list(self.classes),
            "mean": mapped(_plain, self.mean),
            "scale": mapped(_plain, self.scale),
            "counts": {name: list(n) if isinstance(n, tuple) else n for name, n in self.counts.items()},
            "checksum": self.checksum,
            "checksums": dict(self.checksums),
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> "DatasetInfo":
        """From what `to_mapping` gave. **Raises:** `KeyError` or `TypeError` for anything else."""
        return cls(
            name=values["name"],
            input_shape=mapped(tuple, values["input_shape"]),
            target_shape=mapped(tuple, values["target_shape"]),
            classes=tuple(values["classes"]),
            mean=mapped(_number, values["mean"]),
            scale=mapped(_number, values["scale"]),
            counts={name: tuple(n) if isinstance(n, list) else n for name, n in values["counts"].items()},
            checksum=values["checksum"],
            checksums=dict(values["checksums"]),
        )


def _plain(value: Any) -> Any:
    if value is None:
        return None
    return value.tolist() if isinstance(value, np.ndarray) else float(value)


def _number(value: Any) -> Any:
    if value is None:
        return None
    return np.asarray(value, float) if isinstance(value, list) else float(value)
