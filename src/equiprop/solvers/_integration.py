"""Differential equations of systems, by diffrax."""

from types import ModuleType
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from equiprop.errors import InputError
from equiprop.numerics import trees
from equiprop.systems import in_parts, of_parts

METHODS = {"euler": "Euler", "heun": "Heun", "tsit5": "Tsit5", "dopri8": "Dopri8", "kvaerno5": "Kvaerno5"}
"""Methods by name: of orders 1, 2, 5 and 8; the last is implicit, for poles much faster than units."""

_MOST_STEPS = 100_000
_ROUNDING = 8


def diffrax() -> ModuleType:
    """The library. Raises `InputError` where it is not installed."""
    try:
        import diffrax
    except ImportError as error:
        raise InputError(
            "differential equations need diffrax, which is not installed", hint="pip install 'equiprop[hardware]'"
        ) from error
    return diffrax


def method_of(name: str) -> Any:
    """Raises `InputError` where diffrax is not installed."""
    return getattr(diffrax(), METHODS[name])()


def controller(accuracy: Float[Array, ""], size: Float[Array, " batch"]) -> Any:
    """Steps as long as the error of each stays below `accuracy` times a size of each sample.

    What is no number any more has no say.
    """

    def norm(error: PyTree) -> Array:
        of_sample = trees.max_abs(error)
        relative = of_sample / jnp.where(size > 0, size, 1).astype(of_sample.dtype)
        return jnp.max(jnp.where(jnp.isfinite(relative), relative, 0)) / jnp.asarray(accuracy, of_sample.dtype)

    return diffrax().PIDController(rtol=0.0, atol=1.0, norm=norm)


def integrate(
    velocity: Any,
    moving: PyTree,
    duration: Float[Array, ""] | float,
    *,
    method: str,
    steps: int | None,
    accuracy: Float[Array, ""],
) -> tuple[PyTree, Array]:
    """Where that leads in a time, and whether it got there.

    **Arguments:**

    - `velocity`: of `moving`, both in any structure of real and complex arrays.
    - `steps`: how many of equal length; `None` for as many as `accuracy` needs.
    """
    library = diffrax()
    start = in_parts(moving)

    def slope(t: Any, y: list[Array], args: Any) -> list[Array]:
        del t, args
        return in_parts(velocity(of_parts(y, moving)))

    time = jnp.asarray(duration, jnp.result_type(float))
    if steps is None:
        # Relative to how far it goes, as what converges goes ever less far; but nothing is known better than it is rounded.
        reach = trees.max_abs(slope(0.0, start, None)) * time
        rounding = _ROUNDING * jnp.finfo(start[0].dtype).eps * trees.max_abs(start) / accuracy
        stepping, first = controller(accuracy, reach + rounding), None
    else:
        stepping, first = library.ConstantStepSize(), time / steps
    found = library.diffeqsolve(
        library.ODETerm(slope),
        method_of(method),
        jnp.zeros_like(time),
        time,
        first,
        start,
        saveat=library.SaveAt(t1=True),
        stepsize_controller=stepping,
        max_steps=_MOST_STEPS if steps is None else steps + 1,
        throw=False,
    )
    return of_parts([a[0] for a in found.ys], moving), found.result == library.RESULTS.successful
