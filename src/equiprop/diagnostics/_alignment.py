"""How well a gradient agrees with the exact one: per sample and population, and as a whole."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from equiprop.estimators import Estimate
from equiprop.numerics import Figures, named, trees
from equiprop.systems import innermost, population_names


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


class Agreement(NamedTuple):
    """How a gradient g agrees with a reference: their cosine, ‖g‖/‖g_ref‖, and ‖g − g_ref‖/‖g_ref‖."""

    cosine: Float[Array, ""]
    norm_ratio: Float[Array, ""]
    relative_error: Float[Array, ""]


def agreement(gradient: PyTree, reference: PyTree) -> Agreement:
    """Compares two gradients of the same structure, or of a system and of what it is wrapped in."""
    gradient, reference = innermost(gradient), innermost(reference)
    length, of_reference = optax.tree.norm(gradient), optax.tree.norm(reference)
    cosine = optax.tree.vdot(gradient, reference) / (length * of_reference)
    off = optax.tree.norm(optax.tree.sub(gradient, reference))
    return Agreement(*map(jnp.asarray, (cosine, length / of_reference, off / of_reference)))


def alignment(estimate: Estimate, reference: Estimate) -> Alignment:
    """Compares two estimates of the gradient on the same batch. Where nothing can be compared the figures are NaN."""
    populations, total, gradient, samples = _compared(estimate, reference)
    names, parameters = population_names(reference.error_vector), parameter_names(reference.gradient)
    of_each = {field: named(names, figures) for field, figures in populations.items()}
    of_each |= {field: named(parameters, figures) for field, figures in gradient.items()}
    return Alignment(**of_each, total_cosine=total[0], total_relative_error=total[1], samples=samples)


@eqx.filter_jit
def _compared(
    estimate: Estimate, reference: Estimate
) -> tuple[dict[str, Array], tuple[Array, Array], dict[str, Array], Array]:
    """The fields of populations, of the whole gradient and of each parameter, and the number of samples.

    What has a figure a population or parameter is one array: each number by itself would be a kernel of its own to compile.
    """
    both = (estimate.weight > 0) & (reference.weight > 0)
    cosine, length, reference_length, difference = _stacked(estimate.error_vector, reference.error_vector, axis=1)
    usable = both & (length > 0) & (reference_length > 0)
    mean = _mean(cosine, usable)
    populations = {
        "cosine": mean,
        "cosine_spread": jnp.sqrt(_mean((cosine - mean[:, None]) ** 2, usable)),
        "weighted_cosine": _mean(cosine * reference_length, usable) / _mean(reference_length, usable),
        "relative_error": _mean(difference / jnp.where(usable, reference_length, 1), usable),
    }
    cosine, length, reference_length, difference = _stacked(estimate.gradient, reference.gradient, axis=0)
    whole, reference_whole = trees.scaled_norm(length), trees.scaled_norm(reference_length)
    # A zero array has no cosine, and no part in the product of all.
    shares = (
        jnp.where((length > 0) & (reference_length > 0), cosine, 0)
        * length
        / whole
        * reference_length
        / reference_whole
    )
    total = jnp.sum(shares), trees.scaled_norm(difference) / reference_whole
    gradient = {"gradient_cosine": cosine, "gradient_norm_ratio": length / reference_length}
    return populations, total, gradient, jnp.sum(both).astype(reference.cost.dtype)


def _stacked(ours: PyTree, theirs: PyTree, axis: int) -> tuple[Array, Array, Array, Array]:
    """Of each leaf, a row each: the cosine, both lengths and that of the difference, over all axes from `axis` on; the cosine of
    a zero vector is NaN.

    Nothing tiny is squared before it is scaled: in single precision squares of what is below 1e-19 fade and vanish, and the error
    vectors of a deep network are that small.
    """
    found = []
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        rows = jnp.stack([v.reshape(*v.shape[:axis], -1) for v in (a, b, a - b)], axis=-2)
        largest = jnp.max(jnp.abs(rows), axis=-1, initial=0)
        scaled = rows / jnp.where(largest > 0, largest, 1)[..., None]
        products = jnp.einsum("...in,...jn->...ij", scaled, scaled, precision="highest")
        norms = jnp.sqrt(jnp.diagonal(products, axis1=-2, axis2=-1))
        cosine = products[..., 0, 1] / (norms[..., 0] * norms[..., 1])
        found.append(jnp.concatenate([cosine[..., None], largest * norms], axis=-1))
    cosine, length, other_length, difference = jnp.moveaxis(jnp.stack(found), -1, 0)
    return cosine, length, other_length, difference


def _mean(values: Array, usable: Array) -> Array:
    """Over the samples of each row."""
    return jnp.sum(jnp.where(usable, values, 0), axis=1) / jnp.sum(usable, axis=1)


def parameter_names(tree: PyTree) -> list[str]:
    """The path of each array of a system or gradient: `weights.hidden_1->hidden_2`, `biases.output`, `cost.weight`."""
    return list(trees.paths(tree))
