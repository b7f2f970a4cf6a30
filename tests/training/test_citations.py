"""A run names the papers that it rests on, and no others."""

import dataclasses

import pytest

from equiprop.training.citations import citations
from equiprop.training.config import Config, EstimatorConfig, HomeostasisConfig, SolverConfig, SystemConfig

PLAIN = Config(system=SystemConfig(feedback_gain=1.0), homeostasis=HomeostasisConfig("none"))
ALONE = HomeostasisConfig("jacobian", shared_updates=False)


@pytest.mark.parametrize(
    ("changes", "paper"),
    [
        ({"estimator": EstimatorConfig(kind="holomorphic")}, "arXiv:2209.00530"),
        ({"solver": SolverConfig(kind="newton")}, "doi:10.1137/0907058"),
        ({"solver": SolverConfig(kind="anderson")}, "doi:10.1137/10078356X"),
        ({"homeostasis": ALONE}, "arXiv:2309.02214"),
        ({"system": SystemConfig()}, "doi:10.1162/089976603762552988"),
    ],
)
def test_each_option_has_its_papers(changes, paper):
    assert paper not in "".join(citations(PLAIN))
    assert paper in "".join(citations(dataclasses.replace(PLAIN, **changes)))


@pytest.mark.parametrize(
    ("system", "shared", "expected"),
    [("mlp", "auto", True), ("mlp", False, False), ("loop", "auto", False), ("network", "auto", True)],
)
def test_shared_updates_are_those_of_kolen_and_pollack(system, shared, expected):
    homeostasis = HomeostasisConfig("jacobian", shared_updates=shared)
    config = dataclasses.replace(PLAIN, system=SystemConfig(kind=system), homeostasis=homeostasis)
    assert ("Kolen & Pollack" in "".join(citations(config))) == expected
