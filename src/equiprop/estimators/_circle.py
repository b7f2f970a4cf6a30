"""Relaxing under nudges on a circle of radius |β|, and reading the harmonics of what comes back."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.solvers import AbstractSolver, Equilibrium, relax
from equiprop.systems import System, nudged

# How small the residual of a nudged phase must be against the nudging force itself, so that the response is known to about
# this relative accuracy; and the smallest residual that rounding lets a sum over many units reach, in units of eps.
_RESPONSE_TOLERANCE = 1e-2
_ROUNDING = 32


class NudgedPhases(eqx.Module):
    """Activities under each nudge, copy after copy on a leading axis.

    - `residual`: the largest over the phases of a sample.
    - `steps`: the sum over the phases of a sample.
    """

    activity: PyTree
    residual: Float[Array, " batch"]
    settled: Bool[Array, " batch"]
    steps: Int[Array, " batch"]


def relax_nudged(
    system: System,
    drive: Any,
    target: Array,
    free: Equilibrium,
    solver: AbstractSolver,
    nudges: list[complex] | list[float],
) -> NudgedPhases:
    """Relaxes every sample under every nudge as one batch, from the free state; the phases of a sample stop together.

    The tolerance is the solver's, or tighter where the nudging force is weak: a response to a weak force is small, and would
    otherwise never start.
    """
    copies, batch = len(nudges), trees.batch_size(free.state)
    real = trees.dtype_of(free.state)
    complex_phases = any(isinstance(n, complex) for n in nudges)
    dtype = jnp.result_type(real, jnp.complex64) if complex_phases else real
    pull = trees.max_abs(system.cost_gradient(system.activity(free.state), target))
    strength = max(abs(n) for n in nudges)
    floor = _ROUNDING * jnp.finfo(real).eps * (1 + trees.max_abs(free.state))
    tolerance = jnp.minimum(solver.tolerance, jnp.maximum(_RESPONSE_TOLERANCE * strength * pull, floor)).astype(real)
    end = relax(
        nudged(system, trees.broadcast_batch(target, copies), jnp.repeat(jnp.asarray(nudges, dtype), batch)),
        None,
        solver,
        state=jax.tree.map(lambda a: a.astype(dtype), trees.broadcast_batch(free.state, copies)),
        drive=trees.broadcast_batch(drive, copies),
        phases=copies,
        tolerance=jnp.tile(tolerance, copies),
        nudged=True,
    )
    return NudgedPhases(
        trees.split_copies(system.activity(end.state), copies),
        end.residual.reshape(copies, -1).max(axis=0),
        end.settled.reshape(copies, -1).all(axis=0),
        end.steps.reshape(copies, -1).sum(axis=0),
    )


def circle(radius: float, points: int) -> list[complex] | list[float]:
    """The nudges |β|e^(2πik/N) with non-negative imaginary part: the others give the conjugate activities.

    They are real numbers for N ≤ 2.
    """
    if points <= 2:
        return [radius, -radius][:points]
    return [complex(radius * np.exp(2j * np.pi * k / points)) for k in range(points // 2 + 1)]


def harmonics(activity: PyTree, points: int) -> list[PyTree]:
    """The Fourier coefficients c_m = (1/N)·Σ_k r_k e^(−2πikm/N), m = 0 … N − 1, from the phases that `circle` lists.

    Because r(β̄) is the conjugate of r(β), every c_m is real: the m-th Taylor term c_m = r^(m)(0)|β|^m/m! plus its aliases.
    """
    k = np.arange(points // 2 + 1)
    multiplicity = np.where((k == 0) | (2 * k == points), 1, 2)

    def coefficient(m: int, leaf: Array) -> Array:
        angle = 2 * np.pi * k * m / points
        dtype = jnp.finfo(leaf.dtype).dtype
        shape = (-1,) + (1,) * (leaf.ndim - 1)
        cosine = jnp.asarray(multiplicity * np.cos(angle) / points, dtype).reshape(shape)
        total = jnp.sum(cosine * leaf.real, axis=0)
        if jnp.iscomplexobj(leaf):
            sine = jnp.asarray(multiplicity * np.sin(angle) / points, dtype).reshape(shape)
            total = total + jnp.sum(sine * leaf.imag, axis=0)
        return total

    return [jax.tree.map(lambda leaf, m=m: coefficient(m, leaf), activity) for m in range(points)]


def linear_residual(
    system: System, drive: Any, target: Array, free: Equilibrium, error_vector: PyTree
) -> Float[Array, " batch"]:
    """‖Jδ + ∇C‖/‖∇C‖ per sample: how far an error vector is from solving J·δ = −∇C, at the cost of one Jacobian product.

    It sees whatever keeps an estimate from the exact response: finite nudge, unfinished relaxation, noise, a jump, a kink.
    Where ∇C = 0 the exact response is zero and the figure is 0 or infinite.
    """
    _, membrane = jax.linearize(lambda u: system.force(u, drive), free.state)
    slope = system.slope(free.state)
    in_state = jax.tree.map(lambda d, s: jnp.where(s == 0, 0, d / jnp.where(s == 0, 1, s)), error_vector, slope)
    pull = system.cost_gradient(system.activity(free.state), target)
    rest = trees.norm(jax.tree.map(jnp.add, membrane(in_state), pull))
    return relative(rest, trees.norm(pull))


def relative(size: Array, reference: Array) -> Array:
    """size/reference; 0 where both are 0, infinite where only the reference is."""
    zero = reference == 0
    return jnp.where(zero, jnp.where(size == 0, 0, jnp.inf), size / jnp.where(zero, 1, reference))


def even_part_exceeds(
    threshold: float, even: list[PyTree], odd: list[PyTree], resolution: Float[Array, " batch"]
) -> Bool[Array, " batch"]:
    """Whether the even harmonics of the response exceed `threshold` times the odd ones, per sample.

    A smooth response has an even part of order β against the odd one; a sample that the nudge carried to another branch has
    both of the same size. An even part within ten times `resolution` (the residual force) is unfinished relaxation.
    """

    def total(parts: list[PyTree]) -> Array:
        return jnp.sqrt(sum((trees.squared_norm(part) for part in parts), start=jnp.zeros_like(resolution)))

    largest = jnp.stack([trees.max_abs(part) for part in even]).max(axis=0)
    return (total(even) > threshold * total(odd)) & (largest > 10 * resolution)


def check_nudge(nudge: float) -> None:
    if not (np.isfinite(nudge) and nudge != 0):
        raise InputError(f"nudge = {nudge}: must be a finite number other than 0")
