"""The homeostatic loss from its antisymmetric part itself, without noise where that is zero."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from equiprop.homeostasis._batch import Batch
from equiprop.homeostasis._loss import AbstractLoss, check_probes, mean_over_usable, units
from equiprop.homeostasis._treatment import as_strength
from equiprop.homeostasis.strength import AbstractStrength
from equiprop.numerics import antisymmetric_moments
from equiprop.systems import System


class AntisymmetricHomeostasis(AbstractLoss):
    """Adds the gradient of `strength`·L/n, L = ½·E_ε‖(J − Jᵀ)ε‖² = 2‖A‖²_F, ε ~ N(0, I), n units.

    The loss of `JacobianHomeostasis` in expectation, at the same cost: one product with J and one with Jᵀ a probe. But its
    gradient vanishes with A, probe by probe, where that of ‖Jε‖² − εᵀJ²ε is noise of the size of J, which at a large strength
    keeps weights from becoming equal. What a network itself could compute of it is another question: Jᵀ takes transposed
    weights. J is `system.coupling` in the metric of the mobility; the gradient is at fixed state.

    - `strength`: factor on the loss per unit.
    - `probes`: vectors ε per sample.
    - `samples`: how many samples of a batch are probed, the first ones; `0` for all.
    - `shared_updates`, `feedback_only`: whether both weights of a pair learn alike, and whether only one of them is moved by the
      treatment, see `AbstractHomeostasis`.
    - `balanced`: whether every population counts alike, instead of every unit: ε then has variance n/(P·n_p) on a population, or
      leaf of the state, of n_p units, one of P. Else a weight that is used at many places of an image is pulled as
      many times harder than one near the output.
    """

    strength: AbstractStrength = eqx.field(default=1.0, converter=as_strength)
    probes: int = eqx.field(default=5, static=True)
    samples: int = eqx.field(default=0, static=True)
    shared_updates: bool | str = eqx.field(default=False, static=True)
    feedback_only: bool = eqx.field(default=False, static=True)
    balanced: bool = eqx.field(default=False, static=True)

    def __check_init__(self) -> None:
        check_probes(self.probes, self.samples)

    def loss(self, system: System, batch: Batch, *, key: PRNGKeyArray) -> Float[Array, ""]:
        """The estimate of L/n: mean over probes and usable samples, at fixed state."""
        x, state = batch.sound()
        coupling = system.in_metric(system.coupling(state, system.injection(x)))
        n, populations = units(state), len(jax.tree.leaves(state))
        spread = jax.tree.map(lambda a: (n / (populations * units(a))) ** 0.5 if self.balanced else 1.0, state)
        seen = antisymmetric_moments(coupling, state, spread, probes=self.probes, key=key)
        return mean_over_usable(2 * seen.mean(axis=0), batch.usable) / n
