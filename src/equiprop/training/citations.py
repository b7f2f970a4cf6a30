"""The papers behind the options of a run."""

from equiprop.training.config import Config

_LABORIEUX_2024 = (
    "Laborieux & Zenke, Improving equilibrium propagation without weight symmetry through Jacobian homeostasis, "
    "ICLR 2024, arXiv:2309.02214"
)
_HOLOMORPHIC = (
    "Laborieux & Zenke, Holomorphic equilibrium propagation computes exact gradients through finite size oscillations, "
    "NeurIPS 2022, arXiv:2209.00530"
)
_EQUILIBRIUM_PROPAGATION = (
    "Scellier & Bengio, Equilibrium propagation: bridging the gap between energy-based models and backpropagation, "
    "Front. Comput. Neurosci. 2017, doi:10.3389/fncom.2017.00024"
)
_CENTERED = (
    "Laborieux et al., Scaling equilibrium propagation to deep ConvNets by drastically reducing its gradient estimator bias, "
    "Front. Neurosci. 2021, doi:10.3389/fnins.2021.633674"
)
_ADJOINT = (
    "Pineda, Generalization of back-propagation to recurrent neural networks, Phys. Rev. Lett. 1987, "
    "doi:10.1103/PhysRevLett.59.2229"
)
_ALMEIDA = (
    "Almeida, A learning rule for asynchronous perceptrons with feedback in a combinatorial environment, IEEE ICNN 1987"
)
_PHANTOM = "Geng et al., On training implicit models, NeurIPS 2021, arXiv:2111.05177"
_UNROLLED = (
    "Ernoult et al., Updates of equilibrium prop match gradients of backprop through time in an RNN with static input, "
    "NeurIPS 2019, arXiv:1905.13633"
)
_NON_CONSERVATIVE = "Scurria et al., Equilibrium propagation for non-conservative systems, 2026, arXiv:2602.03670"
_KOLEN_POLLACK = (
    "Kolen & Pollack, Backpropagation without weight transport, IEEE ICNN 1994, doi:10.1109/ICNN.1994.374486"
)
_AKROUT = "Akrout et al., Deep learning without weight transport, NeurIPS 2019, arXiv:1904.05391"
_GMRES = "Saad & Schultz, GMRES: a generalized minimal residual algorithm, SIAM J. Sci. Stat. Comput. 1986, doi:10.1137/0907058"
_ANDERSON = (
    "Walker & Ni, Anderson acceleration for fixed-point iterations, SIAM J. Numer. Anal. 2011, doi:10.1137/10078356X"
)
_WEAK_FEEDBACK = (
    "Xie & Seung, Equivalence of backpropagation and contrastive Hebbian learning in a layered network, Neural Comput. 2003, "
    "doi:10.1162/089976603762552988"
)

_ESTIMATOR = {
    "one_sided": (_EQUILIBRIUM_PROPAGATION,),
    "centered": (_EQUILIBRIUM_PROPAGATION, _CENTERED),
    "holomorphic": (_EQUILIBRIUM_PROPAGATION, _HOLOMORPHIC, _LABORIEUX_2024),
    "exact_response": (_LABORIEUX_2024, _GMRES),
    "adjoint": (_ADJOINT, _GMRES),
    "continuous_time": (_HOLOMORPHIC, _LABORIEUX_2024),
    "recurrent_backprop": (_ALMEIDA, _ADJOINT),
    "neumann": (_PHANTOM,),
    "unrolled": (_UNROLLED,),
    "corrected": (_NON_CONSERVATIVE,),
    "dyadic": (_NON_CONSERVATIVE,),
}
_HOMEOSTASIS = {
    "none": (),
    "jacobian": (_LABORIEUX_2024,),
    "antisymmetric": (_LABORIEUX_2024,),
    "rotation": (_LABORIEUX_2024,),
    "local": (_LABORIEUX_2024,),
    "kolen_pollack": (_KOLEN_POLLACK, _AKROUT),
    "weight_mirror": (_AKROUT,),
}
_SHARING = ("jacobian", "antisymmetric", "rotation", "local")
_SOLVER = {"newton": (_GMRES,), "anderson": (_ANDERSON,)}


def citations(config: Config) -> list[str]:
    """Each paper once, in the order of the options."""
    found = [*_SOLVER.get(config.solver.kind, ()), *_ESTIMATOR[config.estimator.kind]]
    found += _HOMEOSTASIS[config.homeostasis.kind]
    if config.homeostasis.kind in _SHARING and _shares(config):
        found.append(_KOLEN_POLLACK)
    if config.system.kind in ("mlp", "cnn") and config.system.feedback != "none" and config.system.feedback_gain != 1:
        found.append(_WEAK_FEEDBACK)
    return list(dict.fromkeys(found))


def _shares(config: Config) -> bool:
    """Whether pairs of weights, where there are any, learn from the sum of their gradients."""
    pairs = config.system.kind == "network" or (config.system.kind != "loop" and config.system.feedback == "untied")
    return pairs if config.homeostasis.shared_updates == "auto" else config.homeostasis.shared_updates
