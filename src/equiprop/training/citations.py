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
_GMRES = "Saad & Schultz, GMRES: a generalized minimal residual algorithm, SIAM J. Sci. Stat. Comput. 1986, doi:10.1137/0907058"

_ESTIMATOR = {
    "one_sided": (_EQUILIBRIUM_PROPAGATION,),
    "centered": (_EQUILIBRIUM_PROPAGATION, _CENTERED),
    "holomorphic": (_EQUILIBRIUM_PROPAGATION, _HOLOMORPHIC, _LABORIEUX_2024),
    "exact_response": (_LABORIEUX_2024, _GMRES),
    "adjoint": (_ADJOINT, _GMRES),
}
_HOMEOSTASIS = {"none": (), "jacobian": (_LABORIEUX_2024,)}


def citations(config: Config) -> list[str]:
    """Each paper once, in the order of the options."""
    found = [*_ESTIMATOR[config.estimator.kind], *_HOMEOSTASIS[config.homeostasis.kind]]
    return list(dict.fromkeys(found))
