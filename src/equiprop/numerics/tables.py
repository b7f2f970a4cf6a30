"""Figures that print as a small table."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


class Figures(eqx.Module):
    """What a function found. Prints as a table of its numbers: of one for each sample their median and range."""

    def rows(self) -> Iterator[tuple[str, str]]:
        """What is printed of it, line by line. By default every field that holds a number, or one for each sample."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for name, each in value.items() if isinstance(value, dict) else [("", value)]:
                said = spread(each)
                if said:
                    yield f"{field.name.replace('_', ' ')} {name}".strip(), said

    def __repr__(self) -> str:
        rows = [] if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self)) else list(self.rows())
        if not rows:
            return super().__repr__()
        width = max(len(name) for name, _ in rows) + 2
        return "\n".join([type(self).__name__, *(f"  {name:<{width}}{text}" for name, text in rows)])


def named(names: Sequence[str], figures: Array) -> dict[str, Array]:
    """The rows of an array by name. Numbers that are at hand are taken apart without compiling anything."""
    rows = figures if isinstance(figures, Tracer) else map(jnp.asarray, np.asarray(figures))
    return dict(zip(names, rows, strict=True))


def spread(value: Any) -> str:
    """A number, how many of some flags are set, or the median and range of some numbers; nothing for anything else."""
    if not isinstance(value, jax.Array | np.ndarray) or value.ndim > 1:
        return ""
    numbers = np.asarray(value)
    if numbers.ndim == 0:
        return f"{numbers.item():.4g}"
    if numbers.dtype == bool:
        return f"{int(numbers.sum())} of {numbers.size}"
    known = numbers[~np.isnan(numbers)]
    if not known.size:
        return "no number"
    few = "" if known.size == numbers.size else f" ({numbers.size - known.size} no number)"
    return f"median {np.median(known):.3g}, {known.min():.3g} to {known.max():.3g}{few}"
