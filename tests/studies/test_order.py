"""Whether methods come in the published order is said as it is."""

import pytest

from equiprop.studies import StudySettings, Table
from equiprop.studies._trained import order

SETTINGS = StudySettings.read("nudge", "standard")
# The dataset that the study trains on, and another one.
PUBLISHED = [
    {"arm": arm, "error %": 10.0 + i, "dataset": "fashion_mnist"}
    for i, arm in enumerate(("response", "exact", "continuous"))
]
ELSEWHERE = [{"arm": "response", "error %": 99.0, "dataset": "mnist"}]


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((3.0, 4.0, 5.0), "is the published one."),
        ((3.0, 5.0, 4.0), "is not quite the published one (Kendall's τ = 0.33)."),
        ((5.0, 4.0, 3.0), "is not the published one (Kendall's τ = -1)."),
    ],
)
def test_order(errors, said):
    arms = [row["arm"] for row in PUBLISHED]
    trained = [
        {"arm": a, "seed": s, "test_error_percent": e + s / 10}
        for a, e in zip(arms, errors, strict=True)
        for s in (0, 1)
    ]
    (sentence,) = order(Table("Trained", trained), SETTINGS, PUBLISHED + ELSEWHERE)
    assert sentence == f"The order of these 3 methods by error {said}"


def test_one_method_has_no_order():
    trained = [{"arm": "response", "seed": 0, "test_error_percent": 3.0}]
    assert not list(order(Table("Trained", trained), SETTINGS, PUBLISHED))
