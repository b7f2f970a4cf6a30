"""A relaxing system as a differentiable layer of any JAX program."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Inexact, PRNGKeyArray, PyTree

from equiprop.errors import InputError
from equiprop.estimators._estimate import Estimate, estimate, read_out
from equiprop.estimators._estimator import AbstractEstimator
from equiprop.estimators._gradient import Batch, gradient
from equiprop.estimators._problem import Problem
from equiprop.estimators.adjoint import Adjoint
from equiprop.numerics import AbstractCost, trees
from equiprop.solvers import AbstractSolver, Equilibrium, as_solver, relax
from equiprop.systems import System, verify


class LinearCost(AbstractCost):
    """⟨output, target⟩: the cost whose gradient for the output is the target."""

    def __call__(self, output: Inexact[Array, "batch ..."], target: Any) -> Inexact[Array, " batch"]:
        return (output * target).reshape(output.shape[0], -1).sum(axis=1)


class Layer(eqx.Module):
    """The output of a system at equilibrium, differentiated by an estimator.

    `layer(x)` relaxes the system. In reverse mode the cotangent of the output is a linear cost, whose error vector the
    estimator reads; the arrays of `layer.system` and the input get their gradients from that. With `Adjoint` or
    `RecurrentBackprop` it is an implicit layer, a deep-equilibrium model (Bai et al. 2019, arXiv 1909.01377); with `Centered` or
    `Holomorphic` a block trained by equilibrium propagation between ordinary layers.

    It works under `jax.jit`, `jax.vmap` and `eqx.filter_grad`. The settings of the estimator and the solver are no parameters:
    they are constants of the layer, unless they are traced. Each sample's cotangent is brought to length one before it nudges, so
    a nudge is in units of the output whatever the loss. A sample that the estimator excludes contributes nothing to the gradient;
    `layer.estimate` says which and why, `layer.relax` how the relaxation ended. The system's own cost is not used. Forward-mode
    derivatives do not exist.

    **Arguments:**

    - `system`: any system; its inexact arrays are the parameters.
    - `estimator`: `Adjoint()` by default.
    - `solver`: `GaussSeidel()` by default.
    - `batched`: whether x has the batch as its first axis. If not, `layer` takes one sample, as layers of Equinox do.
    """

    system: System
    batched: bool = eqx.field(static=True)
    _estimator: "_Constant"
    _solver: "_Constant"

    def __init__(
        self,
        system: System,
        estimator: AbstractEstimator | None = None,
        solver: AbstractSolver | None = None,
        *,
        batched: bool = True,
    ) -> None:
        if not isinstance(system, System):
            raise InputError(
                f"must be a system such as ep.mlp(...) or ep.from_force(...), not {system!r}", path="system"
            )
        estimator = Adjoint() if estimator is None else estimator
        if not isinstance(estimator, AbstractEstimator):
            raise InputError(f"must be an estimator object such as ep.Centered(), not {estimator!r}", path="estimator")
        self.system, self.batched = system, batched
        self._estimator, self._solver = _Constant(estimator), _Constant(as_solver(solver))

    @property
    def estimator(self) -> AbstractEstimator:
        return self._estimator.value

    @property
    def solver(self) -> AbstractSolver:
        return self._solver.value

    def __call__(self, x: PyTree, *, key: PRNGKeyArray | None = None) -> Inexact[Array, "..."]:
        """The output at equilibrium. `key` is for estimators that draw random numbers."""
        x = x if self.batched else jax.tree.map(lambda a: a[None], x)
        verify(self.system, x)
        self.estimator.check(self.system, x)
        output = _output((self.system, x), self.estimator, self.solver, key)
        return output if self.batched else output[0]

    def relax(self, x: PyTree) -> Equilibrium:
        """The free equilibrium of a batch, with its residual, steps and status per sample."""
        return relax(self.system, x, self.solver)

    def estimate(
        self, x: PyTree, cotangent: Inexact[Array, "batch ..."], *, key: PRNGKeyArray | None = None
    ) -> Estimate:
        """What the estimator reads for a batch and a cotangent of its output: error bars, flags and counts of the gradient."""
        unit, _ = _normalised(jnp.asarray(cotangent))
        return estimate(
            _with_linear_cost(self.system), x, unit, self.estimator, solver=self.solver, wrt_input=True, key=key
        )


class _Constant(eqx.Module):
    """A module whose numbers are part of the program, so that no optimizer takes them for parameters, unless they are traced."""

    static: Any = eqx.field(static=True)
    traced: PyTree

    def __init__(self, value: eqx.Module) -> None:
        leaves, structure = jax.tree.flatten(value)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            self.static, self.traced = None, value
        else:
            self.static = (tuple(leaf.item() if eqx.is_array(leaf) else leaf for leaf in leaves), structure)
            self.traced = None

    @property
    def value(self) -> Any:
        if self.static is None:
            return jax.lax.stop_gradient(self.traced)
        leaves, structure = self.static
        with jax.ensure_compile_time_eval():
            return jax.tree.unflatten(
                structure, [jnp.asarray(leaf) if isinstance(leaf, float) else leaf for leaf in leaves]
            )


def _with_linear_cost(system: System) -> System:
    return eqx.tree_at(lambda s: s.cost, system, LinearCost(), is_leaf=lambda leaf: leaf is None)


def _normalised(cotangent: Inexact[Array, "batch ..."]) -> tuple[Array, Array]:
    """Each sample's cotangent at length one, and its length."""
    length = trees.norm(cotangent)
    return trees.scale(1 / jnp.where(length > 0, length, 1), cotangent), length


@eqx.filter_custom_vjp
def _output(
    problem: tuple[System, PyTree], estimator: AbstractEstimator, solver: AbstractSolver, key: PRNGKeyArray | None
) -> Inexact[Array, "batch ..."]:
    del estimator, key
    system, x = problem
    return system.output(system.activity(relax(system, x, solver).state))


@_output.def_fwd
def _forward(
    perturbed: Any,
    problem: tuple[System, PyTree],
    estimator: AbstractEstimator,
    solver: AbstractSolver,
    key: PRNGKeyArray | None,
) -> tuple[Inexact[Array, "batch ..."], Equilibrium]:
    del perturbed, estimator, key
    system, x = problem
    free = relax(system, x, solver)
    return system.output(system.activity(free.state)), free


@_output.def_bwd
def _backward(
    free: Equilibrium,
    cotangent: Inexact[Array, "batch ..."],
    perturbed: Any,
    problem: tuple[System, PyTree],
    estimator: AbstractEstimator,
    solver: AbstractSolver,
    key: PRNGKeyArray | None,
) -> PyTree:
    del perturbed
    system, x = problem
    unit, length = _normalised(cotangent)
    linear = _with_linear_cost(system)
    read = read_out(Problem(linear, x, linear.injection(x), unit, free, solver, key), estimator)
    batch = Batch(x, cotangent, read.free.state, read.kept, read.free_kept)
    of_parameters, of_inputs = gradient(
        linear,
        batch,
        trees.scale(length, read.error_vector),
        read.surrogate,
        divide_by=None,
        believed=estimator.nudges,
    )
    unused = jax.tree.map(jnp.zeros_like, eqx.filter(system.cost, eqx.is_inexact_array))
    return eqx.tree_at(lambda g: g.cost, of_parameters, unused, is_leaf=lambda leaf: leaf is None), of_inputs
