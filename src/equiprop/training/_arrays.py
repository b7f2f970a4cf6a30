"""Arrays of a user's own as samples: checked, and said what is wrong with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equiprop.data import require_finite
from equiprop.errors import InputError
from equiprop.numerics import require_numbers, trees
from equiprop.systems import System, verify_labels
from equiprop.training._samples import Samples


def samples_of(x: Any, y: Any, dtype: Any, name: str = "data") -> Samples:
    """Inputs and targets, trees of arrays with the samples as their leading axis; real numbers in the precision `dtype`.

    Raises `InputError` where they are no real numbers, not equally many, there are none, or a number is not finite.
    """
    for part, tree in (("x", x), ("y", y)):
        require_numbers(tree, f"{name}.{part}", real=True)
    x, y = (jax.tree.map(lambda a: _array(a, dtype), tree) for tree in (x, y))
    lengths = {
        f"{part}{_dotted(path)}": len(leaf) for part, tree in (("x", x), ("y", y)) for path, leaf in _leaves(tree)
    }
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise InputError(f"differs in length: {told}", path=name, hint="give one target for each input")
    for part, tree in (("x", x), ("y", y)):
        for path, leaf in _leaves(tree):
            require_finite(leaf, (name, f"{part}{_dotted(path)}"), "mend or leave out those samples")
    return Samples(*jax.tree.map(jnp.asarray, (x, y)))


def _array(a: Any, dtype: Any) -> np.ndarray:
    found = np.asarray(a)
    return found.astype(dtype) if jnp.issubdtype(found.dtype, jnp.floating) else found


def _leaves(tree: Any) -> list[tuple[str, np.ndarray]]:
    return list(zip(trees.paths(tree), jax.tree.leaves(tree), strict=True))


def _dotted(path: str) -> str:
    return f".{path}" if path else ""


def require_targets(system: System, samples: Samples, name: str = "data") -> None:
    """Raises `InputError` for targets that the cost of the system cannot take, and labels that are no classes of it."""
    x, y = samples.batch(jnp.arange(1))

    def looked_at() -> Any:
        state = system.initial_state(x)
        return system.cost(system.output(system.activity(state)), y)

    try:
        jax.eval_shape(looked_at)
    except InputError as error:
        raise error.within(name) from None
    verify_labels(system, x, samples.y, (name, "y"))
