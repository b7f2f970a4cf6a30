"""Studies: statistics against SciPy, a small one from start to verdict, and the settings of ours."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import equiprop.studies._work as work
from equiprop.cli.main import main
from equiprop.data import DatasetInfo, load
from equiprop.errors import InputError
from equiprop.files import read_json, read_toml
from equiprop.reporting import Panel, read_study
from equiprop.studies import (
    PRESETS,
    STUDIES,
    AbstractStudy,
    Chart,
    Outcome,
    Row,
    StudySettings,
    Table,
    run_study,
)
from equiprop.studies.vision import _recovered

SHAPES = {"fashion_mnist": ((28, 28), 10), "cifar10": ((32, 32, 3), 10), "cifar100": ((32, 32, 3), 100)}

TOML = """
[config]
dataset = "digits"
system = { hidden = [6] }
training = { epochs = 1, limit = 40, batch_size = 20, diagnostic_samples = 0 }

[arms.plain]
label = "a nudge"

[arms.exact]
label = "the exact gradient"
estimator = { kind = "adjoint" }

[measure]
arms = ["plain"]
weights = 2

[presets.quick]
seeds = 2
measure = { weights = 3 }

[presets.paper]
arms = ["exact"]
measure = { arms = ["exact"] }
config = { training = { epochs = 7 } }
"""


class Small(AbstractStudy):
    kind = "small"
    question = "Is a nudge as good as the exact gradient?"
    published = ({"arm": "exact", "test_error_percent": 1.5, "source": "somebody"},)

    def measure(self, run, settings) -> list[Row]:
        weights = (
            run.system.weights[0] if isinstance(run.system.weights, tuple) else next(iter(run.system.weights.values()))
        )
        return [{"size": i, "norm": float(np.linalg.norm(weights)) + i} for i in range(settings["weights"])]

    def conclude(self, trained, measured, settings):
        means = trained.over_seeds(("arm",), ("test_error_percent",))
        sizes = measured.over_seeds(("size",), ("norm",))
        apart = trained.difference("test_error_percent", "plain", "exact")
        curve = sizes.curve(0, "size", "norm")
        panel = Panel("Norm", "", [curve], across="size")
        means = Table("Trained", [{**means.rows[0], "apart": apart}, *means.rows[1:]])
        facts = {"apart": apart.mean, "none": float("nan")}
        return Outcome(
            [f"{apart} points."],
            [means, Table("Sizes", sizes.rows)],
            [Chart("norm", "Norms", "Up.", [panel], ["plain"])],
            facts,
        )


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(TOML)
    return lambda preset="quick", **given: StudySettings.read("small", preset, path=file, **given)


def test_means_and_differences_are_those_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=5), rng.normal(1.0, size=5)
    rows = [{"arm": "a", "seed": i, "x": v} for i, v in enumerate(a.tolist())]
    rows += [{"arm": "b", "seed": i, "x": v} for i, v in enumerate(b.tolist())]
    # What has no partner counts for nothing in a difference, what is no number for nothing in a mean.
    table = Table("t", [{"arm": "a", "seed": 9, "x": 100.0}, *rows, {"arm": "b", "seed": 10, "x": None}])
    mean = table.where(arm="b").mean("x")
    assert (mean.mean, mean.deviation, mean.seeds) == pytest.approx((b.mean(), b.std(ddof=1), 5))
    assert str(Table("t", [{"x": 5.645} for _ in range(3)]).mean("x")) == "5.645 ± 0"
    apart = table.where().difference("x", "a", "b")
    assert apart.seeds == 5 and apart.mean == pytest.approx((a - b).mean())
    assert apart.p == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert apart.effect == pytest.approx((a - b).mean() / (a - b).std(ddof=1))
    grouped = table.over_seeds(("arm",), ("x",))
    assert [row["arm"] for row in grouped.rows] == ["a", "b"] and grouped.rows[1]["x"] == mean
    (first, _) = csv.DictReader(grouped.csv().splitlines())
    assert set(first) == {"arm", "x", "x_std", "x_seeds"} and float(first["x_seeds"]) == 6
    assert grouped.markdown().splitlines()[3] == f"| b | {mean} |"
    assert Table("t", [{"of |β|": "N = 1, |β| = 0.5"}]).markdown().splitlines()[2] == r"| N = 1, \|β\| = 0.5 |"
    one = Table("t", rows[:1]).difference("x", "a", "b")
    assert one.seeds == 0 and np.isnan(one.mean)


def test_a_preset_changes_what_it_names_and_nothing_else(settings):
    quick, paper = settings(), settings("paper", seeds=4)
    assert (quick.seeds, list(quick.arms), quick.measure) == (2, ["plain", "exact"], {"arms": ["plain"], "weights": 3})
    assert (paper.seeds, list(paper.arms), paper.measure["weights"]) == (4, ["exact"], 2)
    config = paper.config_of(paper.arms["exact"])
    assert (config.training["epochs"], config.training["limit"], config.estimator.kind) == (7, 40, "adjoint")
    assert settings("standard").seeds == 1


def test_an_arm_for_each_of_some_values(tmp_path):
    text = """
[arms.nudge]
label = "EP"
each = { "estimator.nudge" = [0.1, 0.2], "system.hidden" = [[4], [4, 3]] }

[arms.exact]
label = "{kind}"
each = { "estimator.kind" = ["adjoint"] }

[measure]
arms = ["nudge"]

[presets.quick]
each.nudge = { "estimator.nudge" = [0.3] }
"""
    file = tmp_path / "each.toml"
    file.write_text(text)
    standard, quick = (StudySettings.read("each", preset, path=file) for preset in ("standard", "quick"))
    assert list(standard.arms) == ["nudge-0.1-4", "nudge-0.1-4x3", "nudge-0.2-4", "nudge-0.2-4x3", "exact-adjoint"]
    assert list(quick.arms) == ["nudge-0.3-4", "nudge-0.3-4x3", "exact-adjoint"]
    arm = standard.arms["nudge-0.2-4x3"]
    assert arm.label == "EP, nudge 0.2, hidden 4x3" and arm.values == {"estimator.nudge": 0.2, "system.hidden": [4, 3]}
    assert standard.arms["exact-adjoint"].label == "adjoint"
    config = standard.config_of(arm)
    assert (config.estimator.values["nudge"], config.system.values["hidden"]) == (0.2, (4, 3))
    assert [standard.measures(each) for each in standard.arms.values()] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("text", "preset", "message"),
    [
        (TOML, "slow", "preset = 'slow'"),
        ("[arm.a]\n", "quick", "arm"),
        ("[arms.a]\nestimator = { nudgge = 1.0 }\n", "quick", r"arms\.a\.estimator.*nudgge"),
        ('[arms.a]\n[presets.quick]\narms = ["b"]\n', "quick", r"presets\.quick\.arms"),
        ("[arms.a]\n[presets.quick]\nseeds = 0\n", "quick", "seeds = 0"),
        ("arms = 3\n", "quick", "arms"),
        ("[arms]\na = 3\n", "quick", r"arms\.a"),
        ("[presets.quick]\nepochs = 3\n", "quick", "presets.quick.*epochs"),
        ('[arms.a]\n[measure]\narms = ["b"]\n', "quick", r"measure\.arms = 'b'"),
        ('[arms.a]\neach = { "estimator.nudge" = 0.1 }\n', "quick", r"arms\.a\.each.*0\.1"),
        ('[arms.a]\nlabel = "{x}"\neach = { "estimator.nudge" = [0.1] }\n', "quick", r"arms\.a\.label.*nudge"),
        (
            '[arms.a]\n[presets.quick]\neach = { b = { "estimator.nudge" = [0.1] } }\n',
            "quick",
            r"presets\.quick\.each.*b",
        ),
        ('[arms.a]\nchosen_by = "b"\n[arms.b]\n', "quick", r"arms\.a\.chosen_by = 'b'"),
        ("", "quick", "arms: names no arm"),
        ("[arms.a]\n[measure]\narms = []\n", "quick", r"measure\.arms: names no arm"),
    ],
)
def test_settings_that_are_wrong_are_refused(text, preset, message, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        StudySettings.read("wrong", preset, path=file)


@pytest.mark.slow
def test_a_study_goes_on_where_it_stopped_and_ends_in_a_verdict(settings, tmp_path, monkeypatch):
    out, told = tmp_path / "out", []
    real, calls = work.train_or_resume, []

    def interrupted(config, folder, **given):
        calls.append(folder.name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(config, folder, **given)

    monkeypatch.setattr(work, "train_or_resume", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(Small(), settings(), out, told.append)
    monkeypatch.setattr(work, "train_or_resume", real)
    before = (out / "plain" / "summary.json").stat().st_mtime_ns
    measured = (out / "measured" / "plain-seed-0.json").stat().st_mtime_ns
    outcome = run_study(Small(), settings(), out, told.append)
    assert (out / "plain" / "summary.json").stat().st_mtime_ns == before
    assert (out / "measured" / "plain-seed-0.json").stat().st_mtime_ns == measured
    found = json.loads((out / "study.json").read_text())
    assert found["verdict"] == list(outcome.verdict) and found["facts"]["none"] is None and found["failed"] == {}
    assert [(row["arm"], row["seed"]) for row in found["trained"]] == [
        ("plain", 0), ("plain", 1), ("exact", 0), ("exact", 1)
    ]  # fmt: skip
    assert len(found["measured"]) == 6 and found["published"][0]["source"] == "somebody"
    page = (out / "README.md").read_text()
    assert all(part in page for part in (Small.question, *outcome.verdict, "## Published", "![Norms](norm.png)", "±"))
    assert (out / "norm.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (out / "norm.svg").read_text()
    first = found["tables"]["Trained"][0]
    assert (first["apart"], first["apart_seeds"]) == (found["facts"]["apart"], 2) and "apart_p" in first
    read = read_study(out)
    assert [table.title for table in read.tables] == ["Trained", "Sizes", "Published"] and read.verdict == tuple(
        outcome.verdict
    )
    assert read.charts[0].svg == (out / "norm.svg").read_text() and [arm.name for arm in read.arms] == [
        "plain",
        "exact",
    ]
    rows = list(csv.DictReader((out / "sizes.csv").read_text().splitlines()))
    assert [row["size"] for row in rows] == ["0", "1", "2"]
    with pytest.raises(InputError, match="other settings"):
        run_study(Small(), settings(seeds=3), out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    with pytest.raises(InputError, match="is no study"):
        run_study(Small(), settings(), other)


ROWS = '[{"arm": "plain", "seed": 0, "size": 1}]'


@pytest.mark.parametrize(
    "text",
    [
        '{"digest": "0", "rows": ' + ROWS + "}",
        '{"digset": "0", "rows": ' + ROWS + "}",
        '{"rows": ' + ROWS + "}",
        '{"rows": {"arm": "plain"}}',
        '{"rows": [{"arm": "plain"}]}',
        '{"rows": [1]}',
        "{}",
    ],
)
def test_rows_that_are_not_as_they_were_measured_are_refused(tmp_path, text):
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"rows\.json: does not hold what was measured; remove it"):
        work._measured_before(file)
    rows = json.loads(ROWS)
    file.write_text(json.dumps({"digest": work._digest(rows), "rows": rows}, indent=1))
    assert work._measured_before(file) == rows


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (
            ("plain", "exact"),
            "no arm was trained to its end, and nothing follows; plain: it diverged; exact: it diverged",
        ),
        (("plain",), "no arm that is measured was trained to its end, and nothing follows; plain: it diverged"),
    ],
)
def test_nothing_follows_from_arms_that_failed(failing, message, settings, tmp_path, monkeypatch):
    def trained(study, settings, arm, out, failed, tell):
        if arm.name in failing:
            failed[arm.name] = "it diverged"
        else:
            yield {"arm": arm.name, "seed": 0}, []

    monkeypatch.setattr(work, "_arm", trained)
    with pytest.raises(InputError, match=message):
        run_study(Small(), settings(), tmp_path / "out")


def test_a_damaged_folder_of_a_study_is_refused(settings, tmp_path, monkeypatch):
    file, mend = tmp_path / "study.toml", r"put study\.toml back as it was, or give another folder by out"
    for content, message in ((b"\xff", "is not valid text"), (b"seeds = 1\n", "holds a study of other settings")):
        file.write_bytes(content)
        with pytest.raises(InputError, match=f"{message}.*; {mend}"):
            run_study(Small(), settings(), tmp_path)
    monkeypatch.setattr(work, "train_or_resume", lambda *_, **__: {"failed_seeds": 3})
    with pytest.raises(InputError, match=r"plain/summary\.json: 'failed_seeds' is no table"):
        run_study(Small(), settings(), tmp_path / "out")


def test_what_is_left_of_differences_that_cancel_is_no_difference():
    # 4.4 − 4.2 and 4.2 − 4.4 are 0.2 and −0.2, which sum to something other than 0 once 4.1 − 4.1 is 4.1 − 0.1·41.
    values = {"a": [4.4, 4.2, 0.1 * 41], "b": [4.2, 4.4, 4.1]}
    assert sum(a - b for a, b in zip(values["a"], values["b"], strict=True)) != 0
    rows = [{"arm": arm, "seed": seed, "x": x} for arm, xs in values.items() for seed, x in enumerate(xs)]
    apart = Table("t", rows).difference("x", "a", "b")
    assert apart.mean == apart.effect == 0 and apart.deviation == pytest.approx(0.2) and "+0 ± 0.2 " in str(apart)


def test_what_is_recovered_is_a_share_or_said_in_words():
    assert [_recovered(gain, 2.0) for gain in (-1.0, 0.5, 5.0)] == ["nothing", "25 %", "all, and more"]


def test_what_is_no_number_is_in_no_difference():
    rows = [{"arm": arm, "seed": seed, "x": x} for arm in "ab" for seed, x in enumerate([1.0, "2", None])]
    assert Table("t", rows).difference("x", "a", "b").seeds == 1


@pytest.mark.slow
def test_an_arm_chooses_by_validation(tmp_path):
    file = tmp_path / "small.toml"
    arm = '[arms.chosen]\nchoose = { "optimizer.learning_rate" = [1e-6, 0.02] }\n'
    file.write_text(TOML.replace("[arms.plain]", arm + '[arms.same]\nchosen_by = "chosen"\n[arms.plain]'))
    settings, told, out = StudySettings.read("small", "quick", path=file, seeds=1), [], tmp_path / "out"
    run_study(Small(), settings, out, told.append)
    found = {}
    for trial in sorted((out / "chosen-choice").glob("trial-*")):
        rate = read_toml(trial / "config.toml")["optimizer"]["learning_rate"]
        found[rate] = read_json(trial / "summary.json")["validation_error_percent"]
    best = min(found, key=found.__getitem__)
    assert len(found) == 2 and f"  chosen by validation: learning rate {best}" in told
    for arm in ("chosen", "same"):
        assert read_toml(out / arm / "config.toml")["optimizer"]["learning_rate"] == best


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", STUDIES.members())
def test_every_study_of_ours_has_settings_for_every_preset(name, preset):
    settings = StudySettings.read(name, preset)
    assert (settings.name, settings.preset) == (name, preset)
    assert settings.arms and STUDIES.find(name).question
    assert any(map(settings.measures, settings.arms.values()))
    for arm in settings.arms.values():
        dataset = settings.config_of(arm).dataset
        shape, classes = SHAPES.get(dataset, ((), 0))
        names = tuple(map(str, range(classes)))
        settings.check(arm, DatasetInfo(dataset, shape, classes=names) if shape else load(dataset).info)


def test_an_arm_that_no_system_can_be_made_of_is_refused_before_any_is_trained(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(TOML + '\n[arms.last]\nsystem = { feedback = "none", feedback_gain = 1.0 }\n')
    message = r"^arms\.last\.system\.feedback_gain = 1\.0: is not used by feedback = 'none'"
    with pytest.raises(InputError, match=message):
        run_study(Small(), StudySettings.read("small", "quick", path=file), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_dir()] == []


def test_what_is_not_installed_is_said_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    settings = StudySettings.read("substrate", "quick")
    with pytest.raises(InputError, match=r"diffrax, which is not installed; pip install 'equiprop\[hardware\]'"):
        run_study(STUDIES.find("substrate")(), settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_studies_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", "--json"])
    assert ended.value.code == 0
    assert set(json.loads(capsys.readouterr().out)) == set(STUDIES.members())
    with pytest.raises(SystemExit) as ended:
        main(["study", "subsrate"])
    assert ended.value.code == 2 and "substrate" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_of_ones_own_runs_from_the_command_line(tmp_path, capsys):
    (tmp_path / "small.toml").write_text(TOML)
    place = f"{Path(__file__)}:Small"
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "study",
                place,
                "--preset",
                "quick",
                "--seeds",
                "1",
                "--settings",
                str(tmp_path / "small.toml"),
                "--out",
                str(tmp_path / "o"),
                "--json",
            ]
        )
    assert ended.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"][0].endswith("points.") and set(found["tables"]) == {"Trained", "Sizes"}
