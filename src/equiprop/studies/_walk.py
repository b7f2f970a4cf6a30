"""A circle of nudges and what it does to a few units, for a page whose reader may move it."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from equiprop.diagnostics import nudge_plane
from equiprop.estimators import ExactResponse, Holomorphic, estimate
from equiprop.numerics import trees
from equiprop.reporting import Walk
from equiprop.solvers import AbstractSolver, relax
from equiprop.systems import System


def walk(
    title: str,
    system: System,
    x: Any,
    target: Any,
    *,
    solver: AbstractSolver,
    sizes: Sequence[float],
    angles: int,
    points: Sequence[int],
    units: int = 4,
) -> Walk:
    """Of a batch of one sample: where the units rest that respond most, one of each population.

    **Arguments:**

    - `sizes`: |β| of the circles; `angles`: how many nudges on each are measured.
    - `points`: the numbers N of nudges of which error and bar are given; each divides `angles`.
    - `units`: at most so many, of the last populations.
    """
    turns = np.exp(2j * np.pi * np.arange(angles) / angles)
    free = relax(system, x, solver)
    given: dict[str, Any] = {"solver": solver, "equilibrium": free}
    found = nudge_plane(system, x, target, jnp.asarray(np.outer(sizes, turns).ravel()), **given)
    response = estimate(system, x, target, ExactResponse(), **given)
    # An error vector is −dr/dβ in units of the mobility.
    slope = jax.tree.map(jnp.negative, response.error_vector)
    slope = slope if system.mobility is None else jax.tree.map(jnp.multiply, system.mobility, slope)
    leaves = (jax.tree.leaves(tree) for tree in (slope, system.activity(free.state), found.activity))
    chosen = []
    for name, exact, rest, activity in list(zip(trees.paths(slope), *leaves, strict=True))[-units:]:
        exact, moved = np.asarray(exact).ravel(), np.asarray(activity - rest)
        most = int(np.argmax(np.abs(exact)))
        circle = moved.reshape(len(sizes), angles, -1)[..., most]
        chosen.append({
            "name": f"{name or 'unit'}[{most}]",
            "exact": float(exact[most]),
            **{part: _known(getattr(circle, part[:4])) for part in ("real", "imaginary")},
        })  # fmt: skip
    errors: dict[str, list[float | None]] = {}
    bars: dict[str, list[float | None]] = {}
    length = float(trees.norm(response.error_vector)[0])
    for n in points:
        errors[str(n)], bars[str(n)] = [], []
        for size in sizes:
            circle = Holomorphic(nudge=size, points=n, clip=math.inf, allow_non_holomorphic=True)
            ours = estimate(system, x, target, circle, **given)
            off = float(trees.norm(trees.subtract(ours.error_vector, response.error_vector))[0]) / length
            kept = bool(ours.weight[0] > 0)
            errors[str(n)].append(off if kept else None)
            bars[str(n)].append(_or_none(float(ours.error_bar[0])) if kept else None)
    rests = np.asarray(found.converged).reshape(len(sizes), angles).tolist()
    return Walk.from_json(
        {"title": title, "sizes": sizes, "units": chosen, "rests": rests, "errors": errors, "bars": bars}
    )


def _known(values: np.ndarray) -> list[list[float | None]]:
    # Four digits are more than a picture shows.
    return [[_or_none(float(f"{value:.4g}")) for value in row] for row in values]


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
