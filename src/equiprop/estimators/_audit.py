"""How far the gradient of a batch is from the exact one, told from a few of its samples."""

from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree

from equiprop.estimators._estimator import Surrogate
from equiprop.estimators._problem import relative
from equiprop.numerics import Figures, gmres, named, trees
from equiprop.solvers import Equilibrium
from equiprop.systems import System, cost_gradient, error_vector_of, over_slope, slope

# Of the error of a sample, not of its error vector: a tenth of it more or less is nothing to a bar.
_ACCURACY = 0.1
_RESTART, _CYCLES = 8, 3
# What is left of the equations at most where their solution is believed.
_SOLVED = 0.5

# Samples are drawn in proportion to their share of the gradient, as asymmetry turns it all alike; in proportion to that and to
# their error bar, as a nudge or a relaxation may err in few of them; and so far by lot: who has a small share may be meant to
# have a large one.
_BY_LOT = 0.2

# Standard errors that a bar holds besides what was found; and what equations that are solved to a tenth of an error may hide.
_DEVIATIONS = 1.2
_SAFETY = 1.15

CAUSES = ("nudge", "relaxation", "rounding", "noise", "lag", "asymmetry", "exclusion", "mismatch", "drift")


def _sums(parts: int) -> np.ndarray:
    """How the parts of an error (what keeps an error vector from its limit, asymmetry, exclusion, what the system departs in from
    what is believed of it) are added: each by itself, and all against the limit and against the exact gradient.
    """
    against_limit = np.array([1, 0, 1] + [0] * (parts - 3))
    return np.concatenate([np.eye(parts), [against_limit, np.ones(parts)]])


class GradientBar(Figures):
    """The relative error `‖g − g*‖/‖g*‖` of the gradient g of a batch, as a few of its samples tell.

    Of each sample audited the linear equations are solved for how far its error vector is from δE = −J⁻¹∇C and from
    δ = −J⁻ᵀ∇C, and that is carried through ∂F/∂θ; all of them where a Newton step leads from the free state, so that what its
    relaxation has left undone is error, too. Samples are drawn with probabilities p in proportion to their share of the
    gradient and of what their own error bars say of its error, and the mean of their parts over p is that of the whole batch; its
    standard error is part of the bar. Of a batch of no more samples than are to be audited all are.

    **Fields:**

    - `exact`: against the gradient of the mean cost of the whole batch, g* = ⟨δᵀ∂F/∂θ⟩ + ⟨∂C/∂θ⟩.
    - `limit`: against what the estimator tends to, with δE in place of δ unless it follows δ itself.
    - `exact_of`, `limit_of`: the same of each array of parameters, by its path.
    - `causes`: what `exact` is made of, each by itself: `nudge`, `relaxation`, `rounding`, `noise`, `lag` (measured together, and
      told apart by what the estimator knows of the last four), `asymmetry`, `exclusion`; and of a system on a device what cells
      and units do to ∂F/∂θ that a learner does not know, `mismatch`, and `drift`.
    - `samples`: how many were audited. `unsolved`: of how many of them the equations were not solved, or no equilibrium is near.
      What such a sample has in the gradient counts as error, wholly; of one that is kept although its free phase has not
      converged, the part ‖F‖/‖∇C‖: the force that is left acts like a nudge by it.
    """

    exact: Float[Array, ""]
    limit: Float[Array, ""]
    exact_of: dict[str, Float[Array, ""]]
    limit_of: dict[str, Float[Array, ""]]
    causes: dict[str, Float[Array, ""]]
    samples: Int[Array, ""]
    unsolved: Int[Array, ""]

    def rows(self) -> Iterator[tuple[str, str]]:
        against = {"exact": "off the exact gradient", "limit": "off that at a vanishing nudge"}
        for name, text in super().rows():
            yield name, f"{text}, relative: {against[name]}" if name in against else text


class Found(eqx.Module):
    """The figures of a bar in few arrays, as each number by itself would be a kernel of its own to compile: against the limit and
    against the exact gradient in total and of each array of parameters, and by cause.
    """

    whole: Float[Array, "2"]
    arrays: Float[Array, "2 arrays"]
    causes: Float[Array, " causes"]
    samples: Int[Array, ""]
    unsolved: Int[Array, ""]

    def bar(self, names: tuple[str, ...]) -> GradientBar:
        """With the names of the parameters."""
        whole, arrays = (named(("limit", "exact"), figures) for figures in (self.whole, self.arrays))
        return GradientBar(
            exact=whole["exact"],
            limit=whole["limit"],
            exact_of=named(names, arrays["exact"]),
            limit_of=named(names, arrays["limit"]),
            causes=named(CAUSES, self.causes),
            samples=self.samples,
            unsolved=self.unsolved,
        )


class Grounds(eqx.Module):
    """What an estimate was made of. What tells estimators apart are arrays, so that one program audits all of them.

    - `parts`: what the estimator says of the error of its own answer, as in `Response`: by unfinished relaxation, rounding,
      noise and lag.
    - `surrogate`: what the gradient is the gradient of, where that is not the force at the free equilibrium.
    - `follows_adjoint`: whether its error vectors tend to δ itself.
    - `nudges`: whether it nudges or clamps; if not, what keeps it from its limit is unfinished relaxation, or a linear solve.
    - `divide_by`: as of the estimator.
    """

    system: System
    x: Any
    target: PyTree
    parts: Float[Array, "batch 4"]
    surrogate: Surrogate | None
    follows_adjoint: Bool[Array, ""]
    nudges: Bool[Array, ""]
    divide_by: str = eqx.field(static=True)


def audit(
    grounds: Grounds,
    free: Equilibrium,
    error_vector: PyTree,
    error_bar: Float[Array, " batch"],
    kept: Bool[Array, " batch"],
    gradient: PyTree,
    offset: PyTree,
    samples: int,
) -> Found:
    """What the bar of a gradient is made of, from so many samples of its batch.

    **Arguments:**

    - `error_vector`: as it is in the gradient, its relative error as the estimator tells it, and `kept`, whether it is there.
    - `offset`: what of the gradient is not δᵀ∂F/∂θ at the free equilibrium: zero but of an estimator that reads it otherwise.
    """
    system, batch = grounds.system, kept.shape[0]
    wanted = trees.norm(cost_gradient(system, system.activity(free.state), grounds.target))
    chosen, inclusion = _drawn(wanted, error_vector, error_bar, kept, samples)
    divisor = jnp.maximum(jnp.sum(kept), 1) if grounds.divide_by == "kept" else batch
    share = (kept / divisor).astype(inclusion.dtype)
    whole = (
        free.state,
        system.injection(grounds.x),
        grounds.x,
        grounds.target,
        error_vector,
        share,
        grounds.parts,
    )
    state, injection, x, target, found, share, known = jax.tree.map(lambda a: a[chosen], whole)
    # What was excluded may be anything.
    found = trees.select(share > 0, found, jax.tree.map(jnp.zeros_like, found))
    nearer = _nearer(system, state, injection, free.converged[chosen])
    of_limit, of_exact, doubt = _errors(system, nearer, injection, target, found)
    left_over = relative(trees.norm(system.force(state, injection)), wanted[chosen])
    doubt = jnp.where(doubt == 1, 1, jnp.where(free.converged[chosen], 0, jnp.minimum(left_over, 1)))
    # Of what is excluded, and so is zero here, the size of its own error vector is wanted all the same.
    believed = (doubt < 1) | (share == 0)
    of_limit, of_exact = (
        trees.add(trees.select(believed, e, jax.tree.map(jnp.zeros_like, e)), trees.scale(doubt, found))
        for e in (of_limit, of_exact)
    )
    known = known.at[:, 0].set(jnp.hypot(known[:, 0], jnp.minimum(left_over, 1)))
    of_limit = jax.tree.map(lambda e, a: jnp.where(grounds.follows_adjoint, e, a), of_exact, of_limit)
    parts = [
        trees.scale(inclusion * share, of_limit),
        trees.scale(inclusion * share, trees.subtract(of_exact, of_limit)),
        trees.scale(inclusion * (share - 1 / batch), trees.subtract(found, of_exact)),
    ]
    if system.departures:
        # What is computed from equations is so from the true ones.
        at_work = jnp.where(grounds.nudges, inclusion / batch, 0)
        parts.append(trees.scale(at_work, trees.subtract(found, of_exact)))
    # Nothing tiny is squared.
    unit = jnp.max(jnp.stack([jnp.max(jnp.abs(a)) for a in jax.tree.leaves(parts)]))
    unit = jnp.where(unit > 0, unit, 1)
    as_it_is = trees.scale(inclusion * share, found)
    given = (state, nearer, x, target, jax.tree.map(lambda a: a / unit, as_it_is), inclusion * share / unit)
    mean, within = _carried(system, given, jax.tree.map(lambda a: a / unit, parts))
    mean = jax.tree.map(lambda m, o: m.at[0].add(o / unit), mean, offset)
    weight = inclusion * share
    known = jnp.where(weight[:, None] > 0, (weight * trees.norm(found))[:, None] * known, 0)
    errors = weight * trees.norm(of_limit)
    drawn = None if chosen.shape[0] == batch else chosen.shape[0]
    noise, left = _noise(known[:, 2], inclusion, errors) if drawn else (jnp.zeros(()), jnp.ones(()))
    of_each = unit * _sizes(mean, within, noise * (1 - left), drawn)
    # What is left of the gradient without its error is what it should be.
    limit = jax.tree.map(lambda g, m: g - unit * (m[0] + m[2]), gradient, mean)
    exact = jax.tree.map(lambda g, m: g - unit * m.sum(axis=0), gradient, mean)
    lengths = jnp.stack([_lengths(true) for true in (limit, exact)], axis=1)
    # Where errors are noise, it is longer for the noise of the samples drawn; and the gradient itself for that of all, which is
    # less.
    of_noise = unit * jnp.sqrt(noise * within[:, :1])
    lengths = jnp.hypot(
        jnp.sqrt(1 - noise) * _without(lengths, jnp.sqrt(1 - left) * of_noise),
        jnp.sqrt(noise) * _without(_lengths(gradient)[:, None], jnp.sqrt(left) * of_noise),
    )
    bars = relative(of_each[:, -2:], lengths)
    whole = relative(trees.scaled_norm(of_each[:, -2:], axis=0), trees.scaled_norm(lengths, axis=0))
    apart = relative(trees.scaled_norm(of_each[:, :-2], axis=0), trees.scaled_norm(lengths[:, 1]))
    told_apart = _told_apart(errors, known, grounds.nudges)
    causes = jnp.append(apart[0] * told_apart, jnp.pad(apart[1:], (0, 4 - len(apart[1:]))))
    unsolved = jnp.sum(doubt == 1, dtype=jnp.int32)
    return Found(whole, bars.T, causes, jnp.asarray(chosen.shape[0], jnp.int32), unsolved)


def _told_apart(
    errors: Float[Array, " some"], known: Float[Array, "some 4"], nudges: Bool[Array, ""]
) -> Float[Array, "5"]:
    """What parts of errors are put down to nudge, relaxation, rounding, noise and lag; their squares add up to one at most."""
    parts = jnp.minimum(1, relative(jnp.sum(known**2, axis=0), jnp.sum(errors**2)))
    rest = jnp.maximum(0, 1 - parts.sum())
    shares = jnp.append(jnp.where(nudges, rest, 0), parts.at[0].add(jnp.where(nudges, 0, rest)))
    return jnp.sqrt(shares / jnp.maximum(shares.sum(), 1))


def _noise(
    noise: Float[Array, " some"], inclusion: Float[Array, " some"], errors: Float[Array, " some"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Which part of the squares of errors is noise, and how much of that there is in the sum over the whole batch.

    Noise is independent from sample to sample. In a sum over few samples each stands for 1/p of them, and so does its noise;
    in the sum over all of them there is less, by Σw²n²/p to Σw²n²/p².
    """
    squares = noise**2
    part = jnp.minimum(1, relative(jnp.sum(squares), jnp.sum(errors**2)))
    left = relative(jnp.sum(squares / inclusion), jnp.sum(squares))
    return part, jnp.where(squares.sum() > 0, jnp.minimum(left, 1), 1)


def _lengths(tree: PyTree) -> Float[Array, " arrays"]:
    return jnp.stack([trees.scaled_norm(a) for a in jax.tree.leaves(tree)])


def _without(length: Array, noise: Array) -> Array:
    """How long that is but for noise."""
    return length * jnp.sqrt(jnp.maximum(1 - relative(noise, length) ** 2, 0))


def _drawn(
    wanted: Float[Array, " batch"],
    error_vector: PyTree,
    error_bar: Float[Array, " batch"],
    kept: Bool[Array, " batch"],
    samples: int,
) -> tuple[Int[Array, " some"], Float[Array, " some"]]:
    """The samples to audit, and by what a part of each enters the sum over the batch: 1/(some·p).

    **Arguments:**

    - `wanted`: ‖∇C‖.
    """
    batch = kept.shape[0]
    if samples >= batch:
        return jnp.arange(batch), jnp.ones_like(wanted)
    length = jnp.where(kept, trees.norm(error_vector), 0)
    # An excluded sample may have any error vector: at least one of the usual length for its cost, and often it is excluded
    # because it has a long one.
    usual = relative(length.sum(), jnp.where(kept, wanted, 0).sum())
    least = jnp.where(jnp.isfinite(usual), usual, 1) * wanted
    found = trees.norm(error_vector)
    size = jnp.where(kept, length, jnp.maximum(least, jnp.where(jnp.isfinite(found), found, 0)))
    size = jnp.where(jnp.isfinite(size), size, 0)
    # A bar may be larger than the error itself, or not known at all.
    error = size * jnp.where(kept & (error_bar <= 1), error_bar, 1)
    p = _BY_LOT / batch + (1 - _BY_LOT) / 2 * (_shares(size) + _shares(error))
    # Evenly spaced on the cumulated probabilities: who has more than its part is drawn more than once, and nobody by bad luck.
    places = (jnp.arange(samples) + 0.5) / samples
    chosen = jnp.minimum(jnp.searchsorted(jnp.cumsum(p), places), batch - 1)
    return chosen, 1 / (samples * p[chosen])


def _shares(sizes: Float[Array, " batch"]) -> Float[Array, " batch"]:
    """Of their sum; alike where that is zero."""
    total = sizes.sum()
    return jnp.where(total > 0, sizes / jnp.where(total > 0, total, 1), 1 / sizes.shape[0])


def _nearer(system: System, state: PyTree, injection: PyTree, converged: Bool[Array, " some"]) -> PyTree:
    """A Newton step nearer to equilibrium, where a sample is near it and the step is found."""

    def single(u: PyTree, d: PyTree, near: Array) -> PyTree:
        force, membrane = jax.linearize(
            lambda v: system.force(jax.tree.map(lambda a: a[None], v), jax.tree.map(lambda a: a[None], d)), u
        )
        right, unflat = ravel_pytree(jax.tree.map(lambda f: -f[0], force))
        size = jnp.linalg.norm(right)
        step, left, _ = gmres(
            lambda v: ravel_pytree(jax.tree.map(lambda a: a[0], membrane(unflat(v))))[0],
            right / jnp.where(size > 0, size, 1),
            tolerance=jnp.asarray(_ACCURACY, right.dtype),
            restart=min(_RESTART, right.size),
            max_restarts=_CYCLES,
        )
        found = near & (left <= _SOLVED) & jnp.all(jnp.isfinite(step))
        return jax.tree.map(lambda a, s: a + jnp.where(found, size * s, 0), u, unflat(step))

    return jax.vmap(single)(state, injection, converged)


def _errors(
    system: System, state: PyTree, injection: PyTree, target: PyTree, error_vector: PyTree
) -> tuple[PyTree, PyTree, Float[Array, " some"]]:
    """How far error vectors are from δE and from δ, and whether that is in doubt: 1 where the equations are not solved, or a
    force is left that is as strong as that of a nudge by 1.

    Both equations are solved at once, in the activity: D·M⁻¹·JM·e = D·M⁻¹·(JMδ + ∇C), J = (∂F/∂u)·D⁻¹, and its like with
    (∂F/∂u)ᵀ. The two operators have the same eigenvalues.
    """
    mobility = system.mobility

    def single(u: PyTree, d: PyTree, y: PyTree, vector: PyTree) -> tuple[PyTree, PyTree, Array]:
        u, d, y, vector = jax.tree.map(lambda a: a[None], (u, d, y, vector))
        activity = system.activity(u)
        gradient = cost_gradient(system, activity, y)
        inclination = slope(system, u)
        force, membrane = jax.linearize(lambda v: system.force(v, d), u)
        transposed = jax.linear_transpose(membrane, u)

        def through(v: PyTree) -> PyTree:
            """D·M⁻¹·(∂F/∂u)·M·D⁻¹."""
            moved = over_slope(v if mobility is None else jax.tree.map(jnp.multiply, mobility, v), inclination)
            return jax.tree.map(jnp.multiply, inclination, error_vector_of(system, membrane(moved)))

        def back(v: PyTree) -> PyTree:
            return transposed(v)[0]

        wanted = jax.tree.map(jnp.multiply, inclination, gradient)
        owed = trees.add(through(vector), error_vector_of(system, wanted)), trees.add(back(vector), wanted)
        sizes = [jnp.sqrt(sum(jnp.sum(a**2) for a in jax.tree.leaves(part))) for part in owed]
        units = [
            jax.tree.map(lambda a, s=s: a / jnp.where(s > 0, s, 1), part) for part, s in zip(owed, sizes, strict=True)
        ]
        right, unflat = ravel_pytree(tuple(units))

        def operate(v: Array) -> Array:
            one, other = unflat(v)
            return ravel_pytree((through(one), back(other)))[0]

        solution, left, _ = gmres(
            operate,
            right,
            tolerance=jnp.asarray(_ACCURACY, right.dtype),
            restart=min(_RESTART, right.size),
            max_restarts=_CYCLES,
        )
        of_limit, of_exact = (
            jax.tree.map(lambda a, s=s: s * a[0], part) for part, s in zip(unflat(solution), sizes, strict=True)
        )
        in_doubt = relative(trees.norm(force), trees.norm(gradient))[0]
        solved = relative(left, jnp.linalg.norm(right)) <= _SOLVED
        return of_limit, of_exact, jnp.where(solved & (in_doubt < 1), 0.0, 1.0)

    return jax.vmap(single)(state, injection, target, error_vector)


def _carried(system: System, given: tuple[Any, ...], parts: list[PyTree]) -> tuple[PyTree, Float[Array, "arrays sums"]]:
    """Σ partᵀ∂F/∂θ over the samples, of each part on a leading axis, and for each array of parameters Σ‖·‖² over the samples of
    each of `_sums`. ∂F/∂θ is what is believed; of a fourth part, what each of the system's departures from that makes it less.

    **Arguments:**

    - `given`: states; those nearer to equilibrium at which the parts are carried; inputs; targets; and the error vectors that
      were carried at the states themselves, and the weight of the costs whose gradient was taken there: what that makes
      different belongs to the first part.
    """
    state = given[0]
    departures = list(system.departures)
    count = 3 + len(departures)
    arrays, rest = eqx.partition(system, eqx.is_inexact_array)
    sums = jnp.asarray(_sums(count), trees.dtype_of(state))

    def of_one(given: tuple[Any, ...], pushes: list[PyTree]) -> PyTree:
        before_it, u, inputs, target, as_it_is = jax.tree.map(lambda a: a[None], given[:-1])

        def pulled(view: Callable[[System], System], pushes: list[PyTree], u: PyTree = u) -> PyTree:
            def force(theta: PyTree) -> PyTree:
                whole = view(eqx.combine(theta, rest))
                return whole.force(u, whole.injection(inputs))

            pull = jax.vjp(force, arrays)[1]
            pushed = jax.tree.map(lambda *a: jnp.stack(a)[:, None], *pushes)
            return jax.vmap(lambda push: pull(push)[0])(pushed)

        def of_cost(theta: PyTree, u: PyTree) -> Array:
            whole = eqx.combine(theta, rest)
            return given[-1] * whole.cost(whole.output(whole.activity(u)), target)[0]

        one = jax.tree.map(lambda a: a[0], as_it_is)
        leaves, structure = jax.tree.flatten(pulled(lambda s: s.believed, [*pushes, one]))
        there = jax.tree.leaves(pulled(lambda s: s.believed, [one], before_it))
        costs = [jax.tree.leaves(jax.grad(of_cost)(arrays, where)) for where in (before_it, u)]
        apart = [t[0] - a[-1] + c - d for t, a, c, d in zip(there, leaves, *costs, strict=True)]
        made = [a[:3].at[0].add(b) for a, b in zip(leaves, apart, strict=True)]
        before = [a[3:-1] for a in leaves]
        for cause in departures:
            after = jax.tree.leaves(pulled(lambda s, cause=cause: s.departures[cause], pushes[3:]))
            made = [jnp.concatenate([m, b - a]) for m, b, a in zip(made, before, after, strict=True)]
            before = after
        return jax.tree.unflatten(structure, made)

    def step(
        carry: tuple[PyTree, Array], sample: tuple[tuple[Any, ...], list[PyTree]]
    ) -> tuple[tuple[PyTree, Array], None]:
        total, squares = carry
        made = of_one(*sample)
        size = jnp.stack([jnp.sum((sums @ a.reshape(count, -1)) ** 2, axis=1) for a in jax.tree.leaves(made)])
        return (trees.add(total, made), squares + size), None

    parameters = eqx.filter(system, eqx.is_inexact_array)
    zero = jax.tree.map(lambda a: jnp.zeros((count, *a.shape), a.dtype), parameters)
    squares = jnp.zeros((len(jax.tree.leaves(parameters)), len(sums)), sums.dtype)
    return jax.lax.scan(step, (zero, squares), (given, parts))[0]


def _sizes(
    mean: PyTree, within: Float[Array, "arrays sums"], excess: Float[Array, ""], drawn: int | None
) -> Float[Array, "arrays sums"]:
    """How long each of `_sums` is, of each array of parameters; of so many samples drawn, with the standard error of that.

    **Arguments:**

    - `excess`: which part of the squares of the first part is noise that the samples that were not drawn would average out.
    """
    sums = jnp.asarray(_sums(within.shape[1] - 2), within.dtype)
    squares = jnp.stack([jnp.sum((sums @ a.reshape(sums.shape[1], -1)) ** 2, axis=1) for a in jax.tree.leaves(mean)])
    noise = excess * within[:, :1] * sums[:, 0]
    squares, within = jnp.maximum(squares - noise, 0), within - noise
    if drawn is not None:
        squares += _DEVIATIONS**2 * jnp.maximum(within - squares / drawn, 0) * drawn / max(drawn - 1, 1)
    return _SAFETY * jnp.sqrt(squares)
