"""How well a gradient agrees with the exact one: per sample and population, and as a whole."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.estimators import Estimate
from equiprop.numerics import Figures, trees
from equiprop.systems import population_names


class Alignment(Figures):
    """Agreement of an estimate with a reference on the same equilibria.

    **Fields:**

    - `cosine`: per population, the cosine of each sample's error vector with the reference's, averaged over the samples that
      both kept and whose vectors are not zero. Easy samples with tiny errors dominate this mean.
    - `relative_error`: per population, ‖δ − δ_ref‖/‖δ_ref‖, averaged likewise.
    - `cosine_spread`: standard deviation over samples of what `cosine` averages.
    - `weighted_cosine`: the same average with every sample weighted by the length of its reference vector.
    - `total_cosine`: the cosine of the summed parameter gradients as they are, with whatever each excluded.
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
        direction, length = jax.vmap(_direction)(ours)
        reference_direction, reference_length = jax.vmap(_direction)(theirs)
        usable = both & (length > 0) & (reference_length > 0)
        cosine = trees.inner(direction, reference_direction)
        cosines[name] = _mean(cosine, usable)
        spreads[name] = jnp.sqrt(_mean((cosine - cosines[name]) ** 2, usable))
        weighted[name] = _mean(cosine * reference_length, usable) / _mean(reference_length, usable)
        errors[name] = _mean(jax.vmap(_length)(ours - theirs) / jnp.where(usable, reference_length, 1), usable)
    gradient, reference_gradient = jax.tree.leaves(estimate.gradient), jax.tree.leaves(reference.gradient)
    parameters = parameter_names(reference.gradient)
    pairs = dict(zip(parameters, zip(gradient, reference_gradient, strict=True), strict=True))
    return Alignment(
        cosine=cosines,
        relative_error=errors,
        cosine_spread=spreads,
        weighted_cosine=weighted,
        total_cosine=tree_cosine(gradient, reference_gradient),
        total_relative_error=_length([a - b for a, b in pairs.values()]) / _length(reference_gradient),
        gradient_cosine={name: tree_cosine([a], [b]) for name, (a, b) in pairs.items()},
        gradient_norm_ratio={name: _length(a) / _length(b) for name, (a, b) in pairs.items()},
        samples=jnp.sum(both).astype(reference.cost.dtype),
    )


def tree_cosine(a: PyTree, b: PyTree) -> Array:
    """The cosine between two pytrees as vectors; NaN if either is zero."""
    (a, length), (b, other_length) = _direction(a), _direction(b)
    products = jax.tree.map(lambda x, y: jnp.sum(x * y), a, b)
    return jnp.where((length > 0) & (other_length > 0), sum(jax.tree.leaves(products)), jnp.nan)


def _direction(tree: PyTree) -> tuple[PyTree, Array]:
    """A pytree over its norm, and the norm; zero stays zero.

    Nothing tiny is squared before it is scaled: in single precision squares of what is below 1e-19 fade and vanish, and the error
    vectors of a deep network are that small.
    """
    largest = jnp.max(jnp.stack([jnp.abs(leaf).max(initial=0) for leaf in jax.tree.leaves(tree)]))
    scaled = jax.tree.map(lambda a: a / jnp.where(largest > 0, largest, 1), tree)
    norm = jnp.sqrt(jnp.asarray(sum(jnp.sum(a**2) for a in jax.tree.leaves(scaled))))
    return jax.tree.map(lambda a: a / jnp.where(norm > 0, norm, 1), scaled), largest * norm


def _length(tree: PyTree) -> Array:
    return _direction(tree)[1]


def parameter_names(tree: PyTree) -> list[str]:
    """The path of each array of a system or gradient: `weights.hidden_1->hidden_2`, `biases.output`, `cost.weight`."""
    return list(trees.paths(tree))


def _mean(values: Array, usable: Array) -> Array:
    return jnp.sum(jnp.where(usable, values, 0)) / jnp.sum(usable)
