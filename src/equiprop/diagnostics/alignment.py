"""How well a gradient agrees with the exact one: per sample and population, and as a whole."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.estimators import Estimate
from equiprop.numerics import trees
from equiprop.systems import population_names


class Alignment(eqx.Module):
    """Agreement of an estimate with a reference on the same equilibria.

    **Fields:**

    - `cosine`: per population, the cosine of each sample's error vector with the reference's, averaged over the samples that
      both kept and whose vectors are not zero. Easy samples with tiny errors dominate this mean.
    - `relative_error`: per population, ‖δ − δ_ref‖/‖δ_ref‖, averaged likewise.
    - `cosine_spread`: standard deviation over samples of what `cosine` averages.
    - `weighted_cosine`: the same average with every sample weighted by the length of its reference vector.
    - `total_cosine`: the cosine of the summed parameter gradients as they are, with whatever each left out.
    - `total_relative_error`: ‖g − g_ref‖/‖g_ref‖ of the same.
    - `gradient_cosine`, `gradient_norm_ratio`: of the summed gradient per parameter array, by its name.
    - `samples`: how many samples the averages are over.
    """

    cosine: dict[str, Float[Array, ""]]
    relative_error: dict[str, Float[Array, ""]]
    cosine_spread: dict[str, Float[Array, ""]]
    weighted_cosine: dict[str, Float[Array, ""]]
    total_cosine: Float[Array, ""]
    total_relative_error: Float[Array, ""]
    gradient_cosine: dict[str, Float[Array, ""]]
    gradient_norm_ratio: dict[str, Float[Array, ""]]
    samples: Float[Array, ""]


def alignment(estimate: Estimate, reference: Estimate) -> Alignment:
    """Compares two estimates of the gradient on the same batch. Where nothing can be compared the figures are NaN."""
    both = (estimate.weight > 0) & (reference.weight > 0)
    names = population_names(reference.error_vector)
    cosines, errors, spreads, weighted = {}, {}, {}, {}
    for name, ours, theirs in zip(
        names, jax.tree.leaves(estimate.error_vector), jax.tree.leaves(reference.error_vector), strict=True
    ):
        length, reference_length = trees.norm(ours), trees.norm(theirs)
        usable = both & (length > 0) & (reference_length > 0)
        cosine = trees.inner(ours, theirs) / _safe(length * reference_length, usable)
        cosines[name] = _mean(cosine, usable)
        spreads[name] = jnp.sqrt(_mean((cosine - cosines[name]) ** 2, usable))
        weighted[name] = _mean(cosine * reference_length, usable) / _mean(reference_length, usable)
        errors[name] = _mean(trees.norm(ours - theirs) / _safe(reference_length, usable), usable)
    gradient, reference_gradient = jax.tree.leaves(estimate.gradient), jax.tree.leaves(reference.gradient)
    parameters = parameter_names(reference.gradient)
    pairs = dict(zip(parameters, zip(gradient, reference_gradient, strict=True), strict=True))
    return Alignment(
        cosine=cosines,
        relative_error=errors,
        cosine_spread=spreads,
        weighted_cosine=weighted,
        total_cosine=tree_cosine(gradient, reference_gradient),
        total_relative_error=jnp.sqrt(
            sum(jnp.sum((a - b) ** 2) for a, b in pairs.values()) / sum(jnp.sum(b**2) for b in reference_gradient)
        ),
        gradient_cosine={name: tree_cosine([a], [b]) for name, (a, b) in pairs.items()},
        gradient_norm_ratio={name: jnp.linalg.norm(a) / jnp.linalg.norm(b) for name, (a, b) in pairs.items()},
        samples=jnp.sum(both).astype(reference.cost.dtype),
    )


def tree_cosine(a: PyTree, b: PyTree) -> Array:
    """The cosine between two pytrees as vectors; NaN if either is zero."""
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    dot = sum(jnp.sum(x * y) for x, y in pairs)
    return jnp.asarray(dot / jnp.sqrt(sum(jnp.sum(x**2) for x, _ in pairs) * sum(jnp.sum(y**2) for _, y in pairs)))


def parameter_names(tree: PyTree) -> list[str]:
    """The path of each array of a system or gradient: `weights.hidden_1->hidden_2`, `biases.output`, `cost.weight`."""
    paths: list[tuple[Any, Any]] = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]


def _safe(denominator: Array, usable: Array) -> Array:
    return jnp.where(usable, denominator, 1)


def _mean(values: Array, usable: Array) -> Array:
    return jnp.sum(jnp.where(usable, values, 0)) / jnp.sum(usable)
