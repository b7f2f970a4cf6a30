"""What the studies of hardware conclude from rows whose answer is known."""

import pytest

from equiprop.studies import STUDIES, StudySettings, Table

SEEDS = (0, 1, 2)


def concluded(name, trained, measured=(), preset="standard"):
    study, settings = STUDIES.find(name)(), StudySettings.read(name, preset)
    return study.conclude(Table("Trained", list(trained)), Table("Measured", list(measured)), settings)


def trained(errors, cosine=0.5, **given):
    """Of each arm three seeds, with a mean as given."""
    for arm, error in errors.items():
        for seed in SEEDS:
            numbers = {
                "test_error_percent": error + (seed - 1) * len(arm) / 20,
                "cosine_to_adjoint.total": cosine,
                "gradient_bar": 0.3,
            }
            causes = {f"gradient_bar_causes.{cause}": 0.1 for cause in ("noise", "asymmetry", "nudge")}
            causes["gradient_bar_causes.mismatch"] = 0.2
            yield {"arm": arm, "seed": seed, "chosen": f"learning rate of {arm}", **numbers, **causes, **given}


def test_methods_on_chips_are_ranked_against_none_and_against_the_ideal_device():
    errors = {"none": 30.0, "none-ideal": 25.0, "corrected": 20.0, "corrected-ideal": 19.0}
    outcome = concluded("imperfect", trained(errors))
    (table,) = outcome.tables
    none, corrected = table.rows
    assert none["against none"] is None and corrected["against none"].mean == pytest.approx(-10)
    assert (none["gap"].mean, corrected["gap"].mean) == pytest.approx((5, 1))
    assert corrected["chosen"] == "learning rate of corrected"
    assert corrected["chosen, ideal"] == "learning rate of corrected-ideal"
    assert (
        outcome.facts == {"best": corrected["method"], "downhill": 2} and "most of all mismatch" in outcome.verdict[-1]
    )
    assert concluded("imperfect", trained(errors, cosine=-0.1)).facts["downhill"] == 0


@pytest.mark.parametrize(("cosine", "follows"), [(0.999, True), (0.98, False)])
def test_a_frequency_is_safe_that_is_so_on_every_seed(cosine, follows):
    rows = []
    for seed, (safe, late) in enumerate([(0.02, 0.1), (0.005, 0.06), (0.01, 0.2)]):
        about = {"arm": "phases", "seed": seed, "level": "none"}
        rows.append({**about, "by": "safe", "frequency": safe, "tracking": late, "error": 0.05})
        for frequency in (0.005, 0.01, 0.05, 0.1):
            figures = {
                "norm_ratio": 1.0,
                "tracking": frequency,
                "error": 3 * frequency**1.5,
                "excluded": 0.0,
                "noise": 0.01,
            }
            # What is above the safe frequency of its own seed does not count.
            figures["cosine"] = cosine if frequency <= safe else 0.1
            rows += [
                {**about, "by": by, "frequency": frequency, **figures}
                for by in ("periodic state", "in time, with noise")
            ]
    outcome = concluded("substrate", trained({"phases": 4.0, "oscillating": 4.5}), rows)
    assert {
        "late": [0.06, 0.2],
        "follows": follows,
        "least_cosine": cosine,
        "safe": {"none": 0.005},
    }.items() <= outcome.facts.items()
    assert (outcome.facts["factor"], outcome.facts["power"]) == pytest.approx((3, 1.5))
    assert outcome.verdict[0].startswith("Yes" if follows else "No") and "keep t below 0.06" in outcome.verdict[1]


def test_the_error_of_a_carrier_falls_with_its_power():
    rows = []
    for seed in SEEDS:
        about = {"arm": "complex", "seed": seed, "cosine": 1.0, "excluded": 0.0}
        rows.append({**about, "by": "nothing", "scheme": "two_units", "size": 0.0, "error": 1e-6})
        for scheme, power in (("quadrature", -2), ("amplitude_phase", -1)):
            for carrier in (1.0, 2.0, 5.0, 10.0, 20.0):
                found = {"by": "carrier", "scheme": scheme, "size": carrier, "error": carrier**power}
                rows.append({**about, **found})
        rows += [
            {**about, "by": "error of the channels", "scheme": "two_units", "size": e, "error": 3 * e}
            for e in (0.01, 0.1)
        ]
    facts = concluded("phase_coding", trained({"complex": 4.0}), rows).facts
    assert facts["quadrature"] == {"power": pytest.approx(-2), "needed": 10.0}
    assert facts["amplitude_phase"] == {"power": pytest.approx(-1), "needed": None}
    assert facts["gain_error"] == pytest.approx(1) and facts["two_units"] == pytest.approx(1e-6)
