"""Loss, error and converging on a split, and the comparison with the exact gradient, as plain numbers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from equiprop._interrupts import doing
from equiprop.diagnostics import alignment, certificate, symmetry, weight_angle
from equiprop.estimators import CAUSES, Estimate, estimate
from equiprop.solvers import AbstractSolver, Equilibrium, Status, relax
from equiprop.systems import System, predict, read_output
from equiprop.training._components import Components
from equiprop.training._metrics import Metric
from equiprop.training._samples import Samples

# The free states of so many samples at a time: one program serves validation, the comparison with the exact gradient and the
# certificate.
_BATCH = 200
# Readings of evaluations have a lot of their own.
_READINGS = 10_001
# So many mistakes are kept to be shown.
_MISTAKES = 12


@eqx.filter_jit
def _free(system: System, x: Any, solver: AbstractSolver) -> Equilibrium:
    return relax(system, x, solver)


def _lot(start: int) -> Array:
    """By which the readings of a batch are noisy: the same ones whenever it is evaluated."""
    return jax.random.fold_in(jax.random.key(_READINGS), start)


@eqx.filter_jit
def _tally(
    system: System,
    free: Equilibrium,
    y: Any,
    counts: Array,
    metrics: Mapping[str, Metric],
    key: Array,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Sums over the samples of one batch that count; of the cost and the metrics over those that are finite. And its mistakes."""
    tally: dict[str, Any] = {s.name.lower(): jnp.sum(counts & (free.status == s)) for s in Status}
    tally["sweeps"] = jnp.sum(jnp.where(counts, free.steps, 0))
    output = read_output(system, free.state, key)
    right, prediction, mistakes = system.cost.correct(output, y), system.cost.scores(output), {}
    if right is not None:
        decided = free.status != Status.DIVERGED
        tally["right"] = jnp.sum(counts & right & decided)
        tally |= _confused(prediction, y, counts, decided)
        mistakes = _mistaken(prediction, y, counts & decided)
    values = {"loss": system.cost(output, y)}
    values |= {name: metric(prediction, y) for name, metric in metrics.items()}
    for name, value in values.items():
        known = counts & jnp.isfinite(value)
        tally[name] = jnp.sum(jnp.where(known, value, 0)), jnp.sum(known)
    return tally, mistakes


def _classes(y: Array) -> Array:
    return y if jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1 else jnp.argmax(y, axis=-1)


def _mistaken(scores: Array, y: Array, counts: Array) -> dict[str, Array]:
    """The class of each sample, the one it is taken for, and by how much that has the larger score; −∞ where it is right."""
    right, taken = _classes(y), jnp.argmax(scores, axis=-1)
    margin = jnp.max(scores, axis=-1) - jnp.take_along_axis(scores, right[:, None], axis=-1)[:, 0]
    return {"class": right, "taken_for": taken, "margin": jnp.where(counts & (taken != right), margin, -jnp.inf)}


def _confused(scores: Array, y: Array, counts: Array, decided: Array) -> dict[str, Array]:
    """How many samples of each class were taken for each, and how many there are of each."""
    classes = scores.shape[-1]
    right = _classes(y)
    of_each = jnp.zeros(classes, jnp.int32).at[right].add(counts.astype(jnp.int32))
    taken = jnp.zeros((classes, classes), jnp.int32).at[right, jnp.argmax(scores, axis=-1)]
    return {"confusion": taken.add((counts & decided).astype(jnp.int32)), "class_samples": of_each}


@doing("an evaluation")
def evaluate(
    system: System,
    split: Samples,
    solver: AbstractSolver,
    metrics: Mapping[str, Metric] | None = None,
    *,
    confusion: bool = False,
) -> dict[str, Any]:
    """Means over a split: `loss`, `error_percent` where targets name classes, and the metrics; the fractions `converged`,
    `oscillating`, `diverged`, `max_steps`, and mean `sweeps`.

    On a device whose readout is not perfect what is judged is what is read. A sample that did not converge is judged by the state
    in which it was left; a diverged one counts as wrong, and one whose loss is not finite has no part in the mean, which is
    `None` where all have none. The last batch is filled up with samples that do not count.

    **Arguments:**

    - `metrics`: by name, functions of predictions and targets to one number a sample.
    - `confusion`: whether, where targets name classes, to count the samples of each class (rows) that were taken for each class
      (columns), without those that diverged: `confusion`, a list of rows; of each class the samples, `class_samples`; and the
      most confident `mistakes`: the place of the sample, its `class`, the one it was `taken_for`, and the `margin` of the scores.
    """
    n, metrics = len(split), dict(metrics or {})
    # As even as can be: validation and test then often share a program.
    size = math.ceil(n / math.ceil(n / _BATCH))
    tallies, mistakes = [], []
    for start in range(0, n, size):
        positions = start + jnp.arange(size)
        x, y = split.compiled_batch(jnp.minimum(positions, n - 1))
        tally, mistaken = _tally(system, _free(system, x, solver), y, positions < n, metrics, _lot(start))
        tallies.append(tally)
        mistakes.append(mistaken)
    sums: dict[str, Any] = {name: np.sum([np.asarray(t[name]) for t in tallies], axis=0) for name in tallies[0]}
    result: dict[str, Any] = {}
    if "right" in sums:
        result["error_percent"] = 100 * (1 - int(sums["right"]) / n)
    for name in ("loss", *metrics):
        total, known = sums[name]
        result[name] = float(total / known) if known else None
    if confusion:
        result |= {name: sums[name].tolist() for name in ("confusion", "class_samples") if name in sums}
        result |= {"mistakes": _most_confident(mistakes)} if "confusion" in sums else {}
    result["sweeps"] = int(sums["sweeps"]) / n
    return result | {s.name.lower() + "_fraction": int(sums[s.name.lower()]) / n for s in Status}


def _most_confident(batches: list[dict[str, Array]]) -> list[dict[str, Any]]:
    found = {name: np.concatenate([np.asarray(batch[name]) for batch in batches]) for name in batches[0]}
    most = np.argsort(-found["margin"], kind="stable")[:_MISTAKES]
    return [
        {"sample": int(at), **{name: values[at].item() for name, values in found.items()}}
        for at in most
        if np.isfinite(found["margin"][at])
    ]


@dataclass(frozen=True)
class Predictions:
    """What a system makes of inputs, sample by sample.

    **Fields:**

    - `output`: the scores of the classes `[n, classes]`, or the output, or a tree of outputs.
    - `label`: the index of the class with the largest score, `[n]`; of an output that is not one row a sample, `None`.
    - `converged`: whether the free phase reached equilibrium; the output of others is that of the state in which it was left.
    """

    output: Any
    label: np.ndarray | None
    converged: np.ndarray

    def __len__(self) -> int:
        return len(self.converged)


@doing("predictions")
def predictions(system: System, split: Samples, solver: AbstractSolver, batch_size: int = 200) -> Predictions:
    """Of all inputs of a split, in batches of one size: the last one is filled up with inputs whose outputs are not kept."""
    n, size = len(split), min(batch_size, len(split))
    parts = []
    for start in range(0, n, size):
        positions = start + jnp.arange(size)
        free = _free(system, split.compiled_batch(jnp.minimum(positions, n - 1))[0], solver)
        found = predict(system, free.state, key=_lot(start)), free.converged
        parts.append(jax.tree.map(lambda a, left=n - start: np.asarray(a)[:left], found))
    output, converged = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    rows = isinstance(output, np.ndarray) and output.ndim == 2 and output.shape[1] > 1
    return Predictions(output, output.argmax(axis=1) if rows else None, converged)


@eqx.filter_jit
def _compare(
    system: System, x: Any, y: Any, free: Equilibrium, key: Array, components: Components
) -> tuple[Estimate, Estimate, Any]:
    solver = components.solver
    ours = estimate(system, x, y, components.estimator, solver=solver, equilibrium=free, key=key)
    reference = estimate(system, x, y, components.reference, solver=solver, equilibrium=free)
    few = jax.tree.map(lambda a: a[:50], (x, free.state))
    measured = symmetry(system, *few, key=key)
    return ours.bare, reference.bare, measured


@doing("the comparison with the exact gradient")
def diagnose_gradient(
    system: System, split: Samples, components: Components, samples: int, seed: int
) -> dict[str, Any]:
    """How the estimator of a run stands against the exact gradient, not clipped, on the first `samples` of a split.

    Keys as in `summary.json`: `cosine_to_adjoint` per population (mean over samples) and `total` (summed parameter gradient),
    `gradient_norm_ratio` per parameter, `symmetry`, `weight_angle_deg`, `error_bar` (median over samples).
    """
    x, y = split.compiled_batch(jnp.arange(min(samples, len(split))))
    free = _free(system, x, components.solver)
    ours, reference, measured = _compare(system, x, y, free, jax.random.key(seed), components)
    agreement = alignment(ours, reference)
    bars = np.asarray(ours.error_bar)
    kept = bars[np.asarray(ours.weight) > 0]
    return {
        "cosine_to_adjoint": {name: finite_or_none(v) for name, v in agreement.cosine.items()}
        | {"total": finite_or_none(agreement.total_cosine)},
        "gradient_norm_ratio": {_short(name): finite_or_none(v) for name, v in agreement.gradient_norm_ratio.items()},
        "symmetry": finite_or_none(measured.symmetry),
        "weight_angle_deg": {name: finite_or_none(v) for name, v in weight_angle(system).items()},
        "error_bar": finite_or_none(np.median(kept)) if kept.size else None,
    }


@eqx.filter_jit
def _estimated(system: System, x: Any, y: Any, key: Array, components: Components) -> Estimate:
    return estimate(system, x, y, components.estimator, solver=components.solver, key=key)


@doing("the audit of the gradient")
def audit_gradient(system: System, x: Any, y: Any, components: Components, samples: int, key: Array) -> dict[str, Any]:
    """How far the gradient of a batch is from the exact one, as so many of its samples tell.

    Keys as in `metrics.jsonl`: `gradient_bar`, against the exact gradient; `gradient_bar_limit`, against what the estimator tends
    to; `gradient_bar_causes`; `gradient_bar_of` each array of parameters.
    """
    found = _estimated(system, x, y, key, components).audit(samples)
    return {
        "gradient_bar": finite_or_none(found.exact),
        "gradient_bar_limit": finite_or_none(found.limit),
        "gradient_bar_causes": {name: finite_or_none(found.causes[name]) for name in CAUSES},
        "gradient_bar_of": {_short(name): finite_or_none(value) for name, value in found.exact_of.items()},
    }


def looked_into(system: System, split: Samples) -> int:
    """How many samples stand for a split where each is looked into by itself: a hundred, of large systems ten at least.

    Certificate, spectrum and circles of eight points cost as much as thousands of sweeps a sample.
    """
    one = jax.eval_shape(lambda: system.initial_state(split.batch(jnp.arange(1))[0]))
    units = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(one))
    return min(len(split), max(10, min(100, 100_000 // units)))


@doing("the certificate")
def certify(system: System, split: Samples, solver: AbstractSolver, seed: int) -> dict[str, Any]:
    """The rotation certificate of the first samples of a split, as many as `looked_into` says.

    Keys as in `summary.json`: `certificate_angle_deg`, the largest rotation of any of them, `None` with a `certificate_reason`
    unless all have a certificate; `certificate_angle_median_deg` of those that have one; `certified_fraction`.
    """
    x, _ = split.compiled_batch(jnp.arange(min(_BATCH, len(split))))
    state = _free(system, x, solver).state
    few = looked_into(system, split)
    found = certificate(system, *jax.tree.map(lambda a: a[:few], (x, state)), key=jax.random.key(seed))
    reason = found.reason()
    angles = np.asarray(found.angle)[np.asarray(found.granted)]
    return {
        "certificate_angle_deg": finite_or_none(angles.max()) if reason is None else None,
        "certificate_reason": reason,
        "certificate_angle_median_deg": finite_or_none(np.median(angles)) if angles.size else None,
        "certified_fraction": float(np.mean(np.asarray(found.granted))),
    }


def finite_or_none(value: Any) -> float | None:
    """A plain number, or `None` for what JSON has no number for."""
    value = float(value)
    return value if math.isfinite(value) else None


def _short(parameter: str) -> str:
    return parameter.removeprefix("weights.")
