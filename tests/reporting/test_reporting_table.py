"""The comparison table holds the numbers of the runs, and says where there are none."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from reporting_runs import SUMMARY

from equiprop.reporting import COLUMNS, comparison_rows, differences, read_run

WriteRun = Callable[..., Path]


def _texts(folder: Path) -> dict[str, str]:
    row = comparison_rows([read_run(folder)])[0]
    return dict(zip([column.key for column in COLUMNS], row.texts, strict=True))


def test_a_finished_run(write_run: WriteRun) -> None:
    assert _texts(write_run()) == {
        "run": "homeostasis",
        "estimator": "holomorphic (N=4, |β|=0.5)",
        "homeostasis": "jacobian (strength 0.1)",
        "epochs": "3",
        "test_error_percent": "8.25",
        "test_loss": "–",
        "validation_error_percent": "8.00",
        "cosine_total": "0.905",
        "cosine_smallest": "0.830 (h1)",
        "gradient_bar_percent": "–",
        "symmetry": "0.800",
        "weight_angle_deg": "30.0 (h1<->out)",
        "converged_percent": "99.9",
        "excluded_percent": "–",
        "seconds": "4.5",
    }


def test_the_numbers_behind_it_are_not_rounded(write_run: WriteRun) -> None:
    values = comparison_rows([read_run(write_run())])[0].values
    assert values["converged_percent"] == 100 * 0.9996
    assert values["cosine_smallest"] == 0.83
    assert values["run"] == "homeostasis"


def test_samples_excluded_from_the_gradient_are_shown(write_run: WriteRun) -> None:
    summary = {"converged_fraction": 1.0, "excluded_fraction": 0.25}
    assert _texts(write_run(summary=summary))["excluded_percent"] == "25.0"


@pytest.mark.parametrize("value", [1e307, -1e307, 10.0**6.5, 5e-324, 2**63 - 1, True, "x", [], {}, None, float("inf")])
def test_any_value_in_the_place_of_a_number_is_shown(write_run: WriteRun, value: object) -> None:
    assert all(_texts(write_run(summary=dict.fromkeys(SUMMARY, value))).values())


def test_what_is_no_fraction_is_told_as_it_is(write_run: WriteRun) -> None:
    summary = {"converged_fraction": 10.0**6.5, "excluded_fraction": 5e-324}
    texts = _texts(write_run(summary=summary))
    assert (texts["converged_percent"], texts["excluded_percent"]) == ("316227766.0", "0.0")


def test_the_bar_of_the_gradient_is_shown_with_its_largest_cause(write_run: WriteRun) -> None:
    causes = {"nudge": 0.021, "rounding": 0.003, "asymmetry": None}
    row = comparison_rows(
        [read_run(write_run(summary=SUMMARY | {"gradient_bar": 0.0312, "gradient_bar_causes": causes}))]
    )[0]
    assert "3.1 (nudge)" in row.texts and row.values["gradient_bar_percent"] == pytest.approx(3.12)


def test_an_unfinished_run_shows_its_last_epoch(write_run: WriteRun) -> None:
    texts = _texts(write_run(summary=None, epochs=2))
    assert texts["epochs"] == "2 of 3"
    assert texts["test_error_percent"] == "–"
    assert texts["validation_error_percent"] == "12.00"
    assert texts["cosine_smallest"] == "0.820 (h1)"
    assert texts["seconds"] == "3.0"


def test_a_quantity_not_measured_in_the_last_epoch_is_that_of_the_last_one_measured(write_run: WriteRun) -> None:
    tail = json.dumps({"epoch": 3, "symmetry": None}) + "\n"
    assert _texts(write_run(summary=None, epochs=2, tail=tail))["symmetry"] == "0.700"


def test_what_is_missing_is_a_dash(write_run: WriteRun) -> None:
    folder = write_run(epochs=0, summary={}, manifest={})
    (folder / "config.toml").write_text("system = 3\n")
    texts = _texts(folder)
    assert texts.pop("run") == "homeostasis"
    assert texts.pop("epochs") == "0"
    assert set(texts.values()) == {"–"}


def test_a_number_that_is_lost_is_not_hidden_behind_the_others(write_run: WriteRun) -> None:
    row = comparison_rows(
        [read_run(write_run(summary={"symmetry": float("inf"), "cosine_to_adjoint": {"h1": 0.9, "h2": float("nan")}}))]
    )[0]
    cells = dict(zip([column.key for column in COLUMNS], row.cells, strict=True))
    assert (cells["cosine_smallest"].text, cells["cosine_smallest"].number) == ("nan (h2)", None)
    assert (cells["symmetry"].text, cells["symmetry"].number) == ("inf", None)


def test_converged_is_100_only_when_every_sample_is(write_run: WriteRun) -> None:
    for name, fraction, expected in (("a", 0.99999, "99.9"), ("b", 1.0, "100.0"), ("c", 0.29, "29.0")):
        assert _texts(write_run(name, summary={"converged_fraction": fraction}))["converged_percent"] == expected


def test_settings_a_method_does_not_read_are_not_shown(write_run: WriteRun) -> None:
    texts = _texts(write_run(estimator="adjoint", homeostasis="none"))
    assert (texts["estimator"], texts["homeostasis"]) == ("adjoint", "none")
    assert _texts(write_run("b", estimator="centered"))["estimator"] == "centered (|β|=0.5)"


@pytest.mark.parametrize(
    ("strength", "shown"),
    [
        ('{hold = "symmetry", target = 0.9, start = 1.0, gain = 0.1}', "strength held for symmetry 0.9"),
        ('{schedule = "cosine", from = 1.0, to = 0.25}', "strength 1 to 0.25"),
    ],
)
def test_a_strength_that_changes_is_shown(write_run: WriteRun, strength: str, shown: str) -> None:
    folder = write_run()
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("strength = 0.1", f"strength = {strength}"))
    assert _texts(folder)["homeostasis"] == f"jacobian ({shown})"


def test_a_class_of_the_users_own_is_shown_by_its_name(write_run: WriteRun) -> None:
    folder = write_run()
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace('"holomorphic"', '"/home/me/mine.py:My_own"'))
    assert _texts(folder)["estimator"] == "My own (N=4, |β|=0.5)"


def test_runs_of_the_same_name_are_told_apart(write_run: WriteRun) -> None:
    paths = [write_run(name) for name in ("one/run", "two/run", "other")]
    runs = [read_run(path) for path in [*paths, paths[-1]]]
    names = [row.texts[0] for row in comparison_rows(runs)]
    assert names[:2] == ["one/run", "two/run"]
    assert len(set(names)) == 4


def test_only_the_settings_that_differ(write_run: WriteRun) -> None:
    runs = [read_run(write_run("a")), read_run(write_run("b", homeostasis="none", seed=1))]
    assert {difference.key: difference.values for difference in differences(runs)} == {
        "homeostasis": ("jacobian, strength = 0.1", "none"),
        "training.seed": ("0", "1"),
    }
