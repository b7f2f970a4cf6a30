"""How far asymmetry can turn the error vector: a certificate in the inner product of −S."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.numerics import Figures, rotation, trees
from equiprop.systems import System, leak_slope, over_slope, slope, symmetric_parts, verify_state


class Certificate(Figures):
    """Per sample, what is guaranteed of δE = −J⁻¹∇C against δ = −J⁻ᵀ∇C, in the inner product of −S.

    There the two have the same length, and the angle between them is at most 2·arctan σ. Where S is not negative definite
    there is no such inner product: `granted` is false, and σ, cosine and angle are NaN.

    **Fields:**

    - `granted`: whether S is negative definite and σ converged.
    - `sigma`: ‖K̃‖₂, K̃ = L⁻¹A L⁻ᵀ with −S = L·Lᵀ, plus its error.
    - `sigma_error`: that error: the residual, and what solves with −S have left undone.
    - `cosine`: (1 − σ²)/(1 + σ²), the guaranteed cosine.
    - `angle`: 2·arctan σ in degrees, the largest rotation.
    - `largest_eigenvalue`: of D^½SD^½, as a Krylov space sees it, from below; must be negative. NaN where no sample of the batch
      has a chance, because an activity falls in each.
    - `slope`: the smallest φ′ of any unit; must not be negative.
    """

    granted: Bool[Array, " batch"]
    sigma: Float[Array, " batch"]
    sigma_error: Float[Array, " batch"]
    cosine: Float[Array, " batch"]
    angle: Float[Array, " batch"]
    largest_eigenvalue: Float[Array, " batch"]
    slope: Float[Array, " batch"]

    def reason(self) -> str | None:
        """Why some samples have no certificate; `None` if all have."""
        missing = ~self.granted
        if not bool(missing.any()):
            return None
        falling, indefinite = self.slope < 0, self.largest_eigenvalue >= 0
        unknown = missing & ~falling & ~jnp.isfinite(self.largest_eigenvalue)
        of = f"of {len(self.granted)} samples"
        if bool((missing & falling).any()):
            return (
                f"the activation falls (slope < 0) for units of {int((missing & falling).sum())} {of}, so J has no symmetric "
                "part that is negative definite"
            )
        if bool((missing & indefinite).any()):
            return (
                f"the symmetric part of J is not negative definite for {int((missing & indefinite).sum())} {of} (its largest "
                f"eigenvalue, in balanced coordinates, reaches {float(jnp.nanmax(self.largest_eigenvalue)):.3g})"
            )
        if bool(unknown.any()):
            flat = bool((unknown & (self.slope == 0)).any())
            why = "where a slope is 0 the balanced Jacobian is not defined" if flat else "the state or J is not finite"
            return f"J gives no number for {int(unknown.sum())} {of}: {why}"
        return f"σ did not converge for {int(missing.sum())} {of}; raise steps, or compute in double precision"


@eqx.filter_jit
def certificate(
    system: System, x: Any, state: PyTree, *, steps: int = 32, tolerance: float = 1e-5, key: PRNGKeyArray
) -> Certificate:
    """The rotation certificate of every sample of a batch of equilibria, matrix-free.

    Asymmetry turns δE = (I + K)⁻¹(I − K)·δ with K = S⁻¹A, a Cayley transform, which is orthogonal in the inner product of −S.
    σ comes from Arnoldi's iteration on S⁻¹A, with conjugate gradients for S⁻¹ and products with J and Jᵀ for S and A. Both are
    taken in the coordinates D^½JD^½, which leave σ as it is. A Krylov space sees eigenvalues from the inside: with `steps` too
    few for its error to be below a tenth, a sample is refused.

    **Arguments:**

    - `state`: the free equilibria, `[batch, ...]`.
    - `steps`: dimension of the Krylov space; that many solves a sample.
    - `tolerance`: of the conjugate gradients, relative.

    Raises `InputError` for `steps` or `tolerance` out of range, and a state that is not of `x`.
    """
    if steps < 2:
        raise InputError("must be at least 2", path="steps", value=steps)
    if not 0 < tolerance < 1:
        raise InputError("must be between 0 and 1", path="tolerance", value=tolerance)
    verify_state(system, x, state)
    injection = system.injection(x)
    smallest_slope = trees.smallest(slope(system, state))

    def single(u: PyTree, d: Any, sample_key: PRNGKeyArray) -> Any:
        minus_s, a = symmetric_parts(system, u, d)
        flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(u)])
        solver = lx.CG(rtol=0.0, atol=tolerance * flat.size**-0.5, max_steps=200)
        return rotation(minus_s, a, flat, key=sample_key, steps=steps, solver=solver)

    keys = jax.random.split(key, trees.batch_size(state))
    samples = (state, injection, keys)

    def looked_at() -> Any:
        return trees.map_in_pieces(lambda sample: single(*sample), samples, 16)

    def refused() -> Any:
        return jax.tree.map(lambda a: jnp.full(a.shape, jnp.nan, a.dtype), jax.eval_shape(looked_at))

    found = jax.lax.cond(jnp.any(smallest_slope >= 0), looked_at, refused)
    sigma = found.sigma + found.sigma_error
    # Of a flat unit's own term, which is its leak, nothing is known then.
    undefined = (smallest_slope == 0) & (leak_slope(system, state) is None)
    smallest = jnp.where(undefined, jnp.nan, found.smallest)
    definite = (smallest > 0) & (smallest_slope >= 0)
    converged = jnp.isfinite(sigma) & (found.sigma_error <= 0.1 * (found.sigma + 0.01))
    granted = definite & converged
    sigma = jnp.where(granted, sigma, jnp.nan)
    return Certificate(
        granted=granted,
        sigma=sigma,
        sigma_error=jnp.where(granted, found.sigma_error, jnp.nan),
        cosine=(1 - sigma**2) / (1 + sigma**2),
        angle=jnp.rad2deg(2 * jnp.arctan(sigma)),
        largest_eigenvalue=-smallest,
        slope=smallest_slope,
    )


@eqx.filter_jit
def metric_cosine(system: System, x: Any, state: PyTree, ours: PyTree, exact: PyTree) -> Float[Array, " batch"]:
    """The cosine of two error vectors in the inner product of −S, of which `certificate` says how small it may be.

    Not a number where the product is not positive, and −S no metric.

    **Arguments:**

    - `state`: the free equilibria, `[batch, ...]`.
    - `ours`, `exact`: as in `Estimate.error_vector`, in the structure of the state.
    """
    root = jax.tree.map(jnp.sqrt, slope(system, state))
    mobility = system.mobility

    def balanced(vector: PyTree) -> PyTree:
        """D^−½·M^½·δ, on which D^½JD^½ acts in the metric of the mobility."""
        moved = over_slope(vector, root)
        return moved if mobility is None else jax.tree.map(lambda m, v: m**0.5 * v, mobility, moved)

    def single(u: PyTree, d: Any, a: PyTree, b: PyTree) -> Float[Array, ""]:
        minus_s, _ = symmetric_parts(system, u, d)
        a, b = (ravel_pytree(v)[0] for v in (a, b))
        of_a, of_b = minus_s(a), minus_s(b)
        lengths = (a @ of_a) * (b @ of_b)
        return jnp.where(lengths > 0, (a @ of_b) / jnp.sqrt(jnp.where(lengths > 0, lengths, 1)), jnp.nan)

    return jax.vmap(single)(state, system.injection(x), balanced(ours), balanced(exact))
