"""Papers that several estimators rest on."""

HOMEOSTASIS = (
    "Laborieux & Zenke, Improving equilibrium propagation without weight symmetry through Jacobian homeostasis, "
    "ICLR 2024, arXiv:2309.02214"
)
HOLOMORPHIC = (
    "Laborieux & Zenke, Holomorphic equilibrium propagation computes exact gradients through finite size oscillations, "
    "NeurIPS 2022, arXiv:2209.00530"
)
EQUILIBRIUM_PROPAGATION = (
    "Scellier & Bengio, Equilibrium propagation: bridging the gap between energy-based models and backpropagation, "
    "Front. Comput. Neurosci. 2017, doi:10.3389/fncom.2017.00024"
)
CENTERED = (
    "Laborieux et al., Scaling equilibrium propagation to deep ConvNets by drastically reducing its gradient estimator bias, "
    "Front. Neurosci. 2021, doi:10.3389/fnins.2021.633674"
)
ADJOINT = (
    "Pineda, Generalization of back-propagation to recurrent neural networks, Phys. Rev. Lett. 1987, "
    "doi:10.1103/PhysRevLett.59.2229"
)
ALMEIDA = (
    "Almeida, A learning rule for asynchronous perceptrons with feedback in a combinatorial environment, IEEE ICNN 1987"
)
NON_CONSERVATIVE = "Scurria et al., Equilibrium propagation for non-conservative systems, 2026, arXiv:2602.03670"
