"""How symmetric a system is: its Jacobian at equilibrium, and its weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import exact_moments, probe_moments, symmetric_antisymmetric_norms
from equiprop.systems import LayeredNetwork, System


class Symmetry(eqx.Module):
    """‖S‖/(‖S‖ + ‖A‖) with its standard error, and the two Frobenius norms (root mean square over samples).

    Without any coupling J is zero, which is symmetric: 1. The standard error of an exact measure is 0, and that of a single probe
    infinite.
    """

    symmetry: Float[Array, ""]
    standard_error: Float[Array, ""]
    symmetric_norm: Float[Array, ""]
    antisymmetric_norm: Float[Array, ""]


# Up to so many units the measure is exact by default: as many products, and no scatter.
_EXACT_UNITS = 128


def symmetry(
    system: System, x: Any, state: PyTree, *, probes: int | None = None, key: PRNGKeyArray | None = None
) -> Symmetry:
    """‖S‖_F/(‖S‖_F + ‖A‖_F) of the coupling Jacobian, matrix-free: 1 is symmetric, ½ is independent, 0 antisymmetric.

    S and A are the symmetric and antisymmetric parts of `system.coupling` (for networks ∂H/∂r: the leak −D⁻¹ is a symmetric
    diagonal that would drown the measure where units saturate), in the metric of the mobility. Averaged over a batch of
    equilibria.

    **Arguments:**

    - `probes`: random vectors a sample; the standard error comes from the spread over them. `0` for the exact measure, at as many
      products as there are units and no standard error. By default exact up to 128 units, and 32 above.
    - `key`: to draw probes with.

    Raises `InputError` for a negative number of probes, or probes without a key.
    """
    units = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
    if probes is None:
        probes = 0 if units <= _EXACT_UNITS else 32
    coupling = system.in_metric(system.coupling(state, system.injection(x)))
    if probes == 0:
        moments = exact_moments(coupling, state)
    elif probes < 0:
        raise InputError(f"probes = {probes}: must be at least 1, or 0 for the exact measure")
    elif key is None:
        raise InputError(f"probes = {probes}: needs a key to draw them with")
    else:
        moments = probe_moments(coupling, state, probes=probes, key=key)
    symmetric, antisymmetric = (part.mean(axis=1) for part in symmetric_antisymmetric_norms(moments))
    s2, a2 = jnp.maximum(symmetric.mean(), 0), jnp.maximum(antisymmetric.mean(), 0)
    s, a = jnp.sqrt(s2), jnp.sqrt(a2)
    whole = s + a
    value = jnp.where(whole > 0, s / jnp.where(whole > 0, whole, 1), 1)
    if probes == 0:
        return Symmetry(value, jnp.zeros_like(value), s, a)
    if probes == 1:
        return Symmetry(value, jnp.full_like(value, jnp.inf), s, a)
    # d value = (a·ds − s·da)/(s + a)², ds = d(s²)/2s: the linear propagation of the spread of both norms, with their covariance.
    tiny = jnp.finfo(s.dtype).tiny
    slopes = a / (2 * jnp.maximum(s, tiny)), -s / (2 * jnp.maximum(a, tiny))
    spread = slopes[0] * (symmetric - s2) + slopes[1] * (antisymmetric - a2)
    error = jnp.sqrt(jnp.mean(spread**2) / (probes - 1)) / whole**2
    return Symmetry(value, jnp.where(a > 0, error, 0), s, a)


def weight_angle(system: LayeredNetwork) -> dict[str, Float[Array, ""]]:
    """The angle in degrees between the forward and the feedback weights of every untied reciprocal pair."""
    angles = {}
    for name, (forward, feedback) in system.reciprocal_pairs.items():
        a, b = system.weights[forward], system.weights[feedback]
        cosine = jnp.sum(a * b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
        # arctan2 keeps small angles, where arccos of a rounded cosine loses them.
        unit_a, unit_b = a / jnp.linalg.norm(a), b / jnp.linalg.norm(b)
        sine = jnp.linalg.norm(unit_b - cosine * unit_a)
        angles[name] = jnp.rad2deg(jnp.arctan2(sine, cosine))
    return angles
