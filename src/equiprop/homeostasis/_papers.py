"""Papers that several kinds of homeostasis rest on."""

LABORIEUX_2024 = (
    "Laborieux & Zenke, Improving equilibrium propagation without weight symmetry through Jacobian homeostasis, "
    "ICLR 2024, arXiv:2309.02214"
)
KOLEN_POLLACK = (
    "Kolen & Pollack, Backpropagation without weight transport, IEEE ICNN 1994, doi:10.1109/ICNN.1994.374486"
)
AKROUT = "Akrout et al., Deep learning without weight transport, NeurIPS 2019, arXiv:1904.05391"
