"""A run names the papers that it rests on, and no others."""

import pytest

from equiprop.experiment import SECTIONS, Config

PLAIN = {
    "system.feedback_gain": 1.0,
    "homeostasis.kind": "none",
}
ALONE = {"homeostasis.kind": "jacobian", "homeostasis.shared_updates": False}


def citations(given):
    config = Config().changed(PLAIN).changed(given)
    return "".join(
        paper for section in SECTIONS if section != "reference" for paper in getattr(config, section).cited()
    )


@pytest.mark.parametrize(
    ("changes", "paper"),
    [
        ({"estimator.kind": "holomorphic"}, "arXiv:2209.00530"),
        ({"solver.kind": "newton"}, "doi:10.1137/0907058"),
        ({"solver.kind": "anderson"}, "doi:10.1137/10078356X"),
        (ALONE, "arXiv:2309.02214"),
        ({"system.feedback_gain": 0.05}, "doi:10.1162/089976603762552988"),
    ],
)
def test_each_option_has_its_papers(changes, paper):
    assert paper not in citations({})
    assert paper in citations(changes)


@pytest.mark.parametrize(("shared", "expected"), [(True, True), (False, False)])
def test_shared_updates_are_those_of_kolen_and_pollack(shared, expected):
    found = citations({"homeostasis.kind": "jacobian", "homeostasis.shared_updates": shared})
    assert ("Kolen & Pollack" in found) == expected
