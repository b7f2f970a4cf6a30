"""How symmetric a system is: its Jacobian at equilibrium, and its weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError, suggest
from equiprop.numerics import Figures, exact_norms, probe_moments, symmetric_antisymmetric_norms, trees
from equiprop.systems import System, coupling, in_metric, verify_state


class Symmetry(Figures):
    """‖S‖/(‖S‖ + ‖A‖) with its standard error, and the two Frobenius norms (root mean square over samples).

    Without any coupling J is zero, which is symmetric: 1. Of a Jacobian that is not finite nothing is a number. The standard
    error of an exact measure is 0, and that of a single probe infinite.
    """

    symmetry: Float[Array, ""]
    standard_error: Float[Array, ""]
    symmetric_norm: Float[Array, ""]
    antisymmetric_norm: Float[Array, ""]


# Up to so many units the measure is exact by default: as many products, and no scatter.
_EXACT_UNITS = 128

DEFINITIONS = ("coupling", "published")


def symmetry(
    system: System,
    x: Any,
    state: PyTree,
    *,
    probes: int | None = None,
    key: PRNGKeyArray | None = None,
    definition: str = "coupling",
) -> Symmetry:
    """‖S‖_F/(‖S‖_F + ‖A‖_F) of the Jacobian, matrix-free: 1 is symmetric, ½ is independent, 0 antisymmetric.

    S and A are the symmetric and antisymmetric parts of J = ∂F/∂r without its diagonal, in the metric of the mobility: what a
    unit does to itself, the leak above all, is symmetric whatever the weights, and would drown the measure where units
    saturate. Averaged over a batch of equilibria. A unit whose activity does not move at all (φ′ = 0) acts on none, unless the
    system has a `recurrent_input`.

    **Arguments:**

    - `probes`: random vectors a sample; the standard error comes from the spread over them. `0` for the exact measure, at as many
      products as there are units and no standard error. By default exact up to 128 units, and 32 above.
    - `key`: to draw probes with.
    - `definition`: `"published"` for that of arXiv 2309.02214, of J with its diagonal: ∂H/∂r − 1 where there is a leak, which
      counts as −1 whatever φ′; ∂F/∂r elsewhere.

    Raises `InputError` for a negative number of probes, probes without a key, another definition, and a state that is not of
    `x`.
    """
    if definition not in DEFINITIONS:
        raise suggest("definition", definition, DEFINITIONS)
    verify_state(system, x, state)
    units = sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(state))
    if probes is None:
        probes = 0 if units <= _EXACT_UNITS else 32
    published = definition == "published"
    operator = in_metric(system, coupling(system, state, system.injection(x)))
    if published and system.leak(state) is not None:
        couple = operator
        operator = lambda v: trees.subtract(couple(v), v)  # noqa: E731
    if probes == 0:
        norms = exact_norms(operator, state, diagonal=published)
    elif probes < 0:
        raise InputError("must be at least 1, or 0 for the exact measure", path="probes", value=probes)
    elif key is None:
        raise InputError("needs a key to draw them with", path="probes", value=probes)
    else:
        norms = symmetric_antisymmetric_norms(
            probe_moments(operator, state, probes=probes, key=key, diagonal=published)
        )
    symmetric, antisymmetric = (part.mean(axis=1) for part in norms)
    return _ratio(symmetric, antisymmetric, exact=probes == 0)


def _ratio(symmetric: Float[Array, " probes"], antisymmetric: Float[Array, " probes"], *, exact: bool) -> Symmetry:
    """From ‖S‖² and ‖A‖² as each probe saw them."""
    s2, a2 = jnp.maximum(symmetric.mean(), 0), jnp.maximum(antisymmetric.mean(), 0)
    s, a = jnp.sqrt(s2), jnp.sqrt(a2)
    whole = s + a
    value = jnp.where(whole == 0, 1, s / jnp.where(whole == 0, 1, whole))
    probes = symmetric.shape[0]
    if exact:
        return Symmetry(value, jnp.zeros_like(value), s, a)
    if probes == 1:
        return Symmetry(value, jnp.full_like(value, jnp.inf), s, a)
    # d value = (a·ds − s·da)/(s + a)², ds = d(s²)/2s: the linear propagation of the spread of both norms, with their covariance.
    tiny = jnp.finfo(s.dtype).tiny
    slopes = a / (2 * jnp.maximum(s, tiny)), -s / (2 * jnp.maximum(a, tiny))
    spread = slopes[0] * (symmetric - s2) + slopes[1] * (antisymmetric - a2)
    error = jnp.sqrt(jnp.mean(spread**2) / (probes - 1)) / whole**2
    return Symmetry(value, jnp.where(a == 0, 0, error), s, a)


@eqx.filter_jit
def weight_angle(system: System) -> dict[str, Float[Array, ""]]:
    """The angle in degrees between the forward and the feedback weights of every untied reciprocal pair."""
    angles: dict[str, Float[Array, ""]] = {}
    weights: dict[str, Array] = getattr(system, "weights", {})
    for name, (forward, feedback) in system.pairs.items():
        a, b = weights[forward], weights[feedback]
        cosine = jnp.sum(a * b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
        # arctan2 keeps small angles, where arccos of a rounded cosine loses them.
        unit_a, unit_b = a / jnp.linalg.norm(a), b / jnp.linalg.norm(b)
        sine = jnp.linalg.norm(unit_b - cosine * unit_a)
        angles[name] = jnp.rad2deg(jnp.arctan2(sine, cosine))
    return angles
