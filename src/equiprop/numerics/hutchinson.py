"""Hutchinson probes: norms and traces of a Jacobian from products with random vectors, without forming it.

With ε ~ N(0, I): E‖Jε‖² = ‖J‖²_F and E[εᵀJ²ε] = tr J². From these two, with S and A the symmetric and antisymmetric parts,
‖S‖²_F = (‖J‖²_F + tr J²)/2 and ‖A‖²_F = (‖J‖²_F − tr J²)/2.
"""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.numerics import trees

T = TypeVar("T")


class ProbeMoments(eqx.Module):
    """What each probe saw, per sample: estimates of ‖J‖²_F and of tr J²."""

    squared_norm: Float[Array, "probes batch"]
    trace_of_square: Float[Array, "probes batch"]


_AT_ONCE = 2**22
"""Numbers that probes hold at once."""


def probe_moments(
    jacobian: Callable[[PyTree], PyTree], like: PyTree, *, probes: int, key: PRNGKeyArray, diagonal: bool = True
) -> ProbeMoments:
    """Probes the Jacobian of every sample with `probes` standard normal vectors of its own.

    **Arguments:**

    - `jacobian`: v ↦ Jv on batches shaped as `like`, linear; two products per probe are taken, Jε and J(Jε).
    - `like`: a real batch that gives the structure, shapes and dtypes of v.
    - `probes`: how many probes each sample gets. As many of them are evaluated at once as make 2²² numbers.
    - `diagonal`: whether J_ii counts. Where not, a probe acts on a random half of the units and is read on the other half, so
      that J_ii never enters, whatever its size; every product of J_ij with i ≠ j is then met in a quarter of the probes.
    """

    def one(epsilon: PyTree, half: PyTree | None) -> tuple[Array, Array]:
        there = _inside(half, epsilon)
        first = _outside(half, jacobian(there))
        back = _inside(half, jacobian(first))
        met = 1 if half is None else 4
        return met * trees.squared_norm(first), met * trees.inner(there, back)

    return ProbeMoments(*_over_probes(one, like, probes=probes, key=key, diagonal=diagonal))


def antisymmetric_moments(
    jacobian: Callable[[PyTree], PyTree],
    like: PyTree,
    spread: PyTree,
    *,
    probes: int,
    key: PRNGKeyArray,
    diagonal: bool = True,
) -> Float[Array, "probes batch"]:
    """‖Aσε‖², A = (J − Jᵀ)/2, of every probe ε ~ N(0, I) and sample: in the mean ‖Aσ‖²_F, and zero whatever ε where A is zero.

    **Arguments:** as of `probe_moments`, one product with J and one with Jᵀ a probe, and

    - `spread`: σ, a number for every leaf of `like`.
    """
    transposed = jax.linear_transpose(jacobian, like)

    def one(epsilon: PyTree, half: PyTree | None) -> Array:
        there = _inside(half, jax.tree.map(lambda s, e: s * e, spread, epsilon))
        twice = _outside(half, trees.subtract(jacobian(there), transposed(there)[0]))
        return trees.squared_norm(twice) / (4 if half is None else 1)

    return _over_probes(one, like, probes=probes, key=key, diagonal=diagonal)


def _inside(half: PyTree | None, tree: PyTree) -> PyTree:
    return tree if half is None else jax.tree.map(lambda h, a: jnp.where(h, a, 0), half, tree)


def _outside(half: PyTree | None, tree: PyTree) -> PyTree:
    return tree if half is None else jax.tree.map(lambda h, a: jnp.where(h, 0, a), half, tree)


def _over_probes(
    one: Callable[[PyTree, PyTree | None], T], like: PyTree, *, probes: int, key: PRNGKeyArray, diagonal: bool
) -> T:
    """`one` of `probes` standard normal vectors, as many at once as make `_AT_ONCE` numbers, each with half of the units."""
    numbers = sum(leaf.size for leaf in jax.tree.leaves(like))
    at_once = max(1, _AT_ONCE // numbers)
    keys = jax.random.split(key, probes)

    def drawn(probe_key: PRNGKeyArray) -> T:
        epsilon, half = normal_like(like, key=probe_key), None
        if not diagonal:
            half = jax.tree.map(lambda a: a > 0, normal_like(like, key=jax.random.fold_in(probe_key, 1)))
        return one(epsilon, half)

    return trees.map_in_pieces(drawn, keys, at_once)


def exact_norms(
    jacobian: Callable[[PyTree], PyTree], like: PyTree, *, diagonal: bool = True
) -> tuple[Float[Array, "1 batch"], Float[Array, "1 batch"]]:
    """‖S‖²_F and ‖A‖²_F of every sample as one "probe" without scatter: a product a unit, and n² numbers a sample for n units.

    From the entries themselves: from ‖J‖² and tr J² rounding would leave a symmetric J an antisymmetric part of √ε.

    **Arguments:**

    - `diagonal`: whether J_ii counts.
    """
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size // leaf.shape[0] for leaf in leaves])

    def column(k: Array) -> Array:
        unit = jax.nn.one_hot(k, int(ends[-1]), dtype=trees.dtype_of(like))
        parts = jnp.split(unit, ends[:-1])
        basis = jax.tree.unflatten(
            structure, [jnp.broadcast_to(p.reshape(a.shape[1:]), a.shape) for p, a in zip(parts, leaves, strict=True)]
        )
        return jnp.concatenate([a.reshape(a.shape[0], -1) for a in jax.tree.leaves(jacobian(basis))], axis=1)

    entries = jnp.moveaxis(jax.lax.map(column, jnp.arange(ends[-1])), 0, -1)
    if not diagonal:
        entries = jnp.where(jnp.eye(int(ends[-1]), dtype=bool), 0, entries)
    transposed = jnp.swapaxes(entries, 1, 2)
    symmetric, antisymmetric = (entries + transposed) / 2, (entries - transposed) / 2
    return jnp.sum(symmetric**2, axis=(1, 2))[None], jnp.sum(antisymmetric**2, axis=(1, 2))[None]


def normal_like(like: PyTree, *, key: PRNGKeyArray) -> PyTree:
    """Standard normal numbers in the structure, shapes and dtypes of `like`, real and imaginary parts each."""
    leaves, structure = jax.tree.flatten(like)
    # One draw for all leaves: a random generator is long to compile.
    sizes = [leaf.size * (1 + jnp.iscomplexobj(leaf)) for leaf in leaves]
    ends = np.cumsum(sizes)
    drawn = jax.random.normal(key, (int(ends[-1]),), jnp.finfo(trees.dtype_of(like)).dtype)
    parts = jnp.split(drawn, ends[:-1])

    def shaped(part: Array, leaf: Array) -> Array:
        if jnp.iscomplexobj(leaf):
            return jax.lax.complex(part[: leaf.size], part[leaf.size :]).astype(leaf.dtype).reshape(leaf.shape)
        return part.astype(leaf.dtype).reshape(leaf.shape)

    return jax.tree.unflatten(structure, list(map(shaped, parts, leaves)))


def symmetric_antisymmetric_norms(
    moments: ProbeMoments,
) -> tuple[Float[Array, "probes batch"], Float[Array, "probes batch"]]:
    """Estimates of ‖S‖²_F and ‖A‖²_F, probe by probe; a single estimate may be negative, their mean is unbiased."""
    half = jnp.asarray(0.5, moments.squared_norm.dtype)
    return (
        half * (moments.squared_norm + moments.trace_of_square),
        half * (moments.squared_norm - moments.trace_of_square),
    )
