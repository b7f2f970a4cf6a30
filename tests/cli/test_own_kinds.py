"""A user's own estimator, solver, homeostasis, activation and system: one file, named on the command line, and nothing else."""

import ast
import inspect
import json
import shutil
import tomllib
from pathlib import Path

import pytest
from test_cli import call

from equiprop.errors import InputError
from equiprop.experiment import RunDirectory
from equiprop.reporting import read_run
from tiers import quick_where

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("own_kinds.py")
FEW = (
    "--training.limit", "100", "--epochs", "1", "--batch-size", "20", "--training.diagnostic-samples", "20", "--quiet",
)  # fmt: skip
OWN = (
    "--estimator", "mine.py:Iterated", "--estimator.terms", "200", "--solver.kind", "mine.py:Damped", "--solver.rate", "0.6",
    "--homeostasis", "mine.py:Decay", "--strength", "1e-3", "--system.activation", "mine.py:Softsign", "--hidden", "8",
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs, each trained from the folder in which the file lies."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copy(SOURCE, folder / "mine.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        from equiprop.cli.main import main

        for name, options in (
            ("kinds", OWN),
            ("system", ("--system.kind", "mine.py:make_system", "--system.size", "14")),
        ):
            with pytest.raises(SystemExit) as stop:
                main(["train", *FEW, *options, "--out", name])
            assert not stop.value.code
    return folder


def test_none_is_longer_than_25_lines():
    kinds = [node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert len(kinds) == 5 and all(len(ast.unparse(node).splitlines()) <= 25 for node in kinds)


def test_what_is_recorded(runs):
    written = tomllib.loads((runs / "kinds" / "config.toml").read_text())
    assert written["estimator"]["kind"] == f"{runs / 'mine.py'}:Iterated" and written["estimator"]["terms"] == 200
    assert written["solver"]["kind"] == f"{runs / 'mine.py'}:Damped"
    assert written["solver"]["rate"] == 0.6 and written["homeostasis"]["strength"] == 1e-3
    manifest = json.loads((runs / "kinds" / "manifest.json").read_text())
    papers = ("Solver", "Estimator", "Homeostasis", "Activation")
    assert all(f"{name}, A journal 2026" in manifest["citations"] for name in papers)
    assert manifest["labels"]["estimator"] == "the iterated response" and manifest["labels"]["homeostasis"] == "decay"
    assert set(manifest["sources"]) == {
        f"{runs / 'mine.py'}:{name}" for name in ("Iterated", "Damped", "Decay", "Softsign")
    }
    own = tomllib.loads((runs / "system" / "config.toml").read_text())["system"]
    assert own == {"kind": f"{runs / 'mine.py'}:make_system", "size": 14}


@pytest.mark.parametrize("name", quick_where(lambda name: name == "system", ["kinds", "system"]))
def test_every_command_takes_them(capsys, runs, name):
    """From another folder."""
    run = runs / name
    assert call(capsys, "evaluate", run, "--json")[0] == 0
    code, out, _ = call(capsys, "diagnose", run, "--samples", "20", "--json")
    found = json.loads(out)
    assert code == 0 and found["cosine_to_adjoint"]["total"] is not None and 0 <= found["symmetry"] <= 1
    own = (
        ("--estimators", f"{runs / 'mine.py'}:Iterated", "exact_response")
        if name == "kinds"
        else ("--estimators", "centered")
    )
    code, out, _ = call(capsys, "compare", run, "--samples", "20", "--json", *own)
    rows = json.loads(out)["rows"]
    assert code == 0 and len(rows) == len(own) - 1 and all(row["refused"] is None for row in rows)
    if name == "kinds":
        assert rows[0]["cosine"] == pytest.approx(rows[1]["cosine"], abs=1e-3)
    assert call(capsys, "train", "--resume", run, "--quiet")[0] == 0


def test_report(capsys, runs):
    code, _, _ = call(capsys, "report", runs / "kinds", runs / "system", "--out", runs / "page")
    page = (runs / "page" / "report.html").read_text()
    assert code == 0 and "the iterated response" in page and "decay" in page
    assert "Estimator, A journal 2026" in page
    summary = read_run(runs / "kinds").summary
    assert summary is not None and summary["cosine_to_adjoint"]["total"] is not None


def test_a_source_that_has_changed_is_refused(runs, tmp_path):
    shutil.copytree(runs / "system", tmp_path / "run")
    before = (runs / "mine.py").read_text()
    (runs / "mine.py").write_text(before + "\n# changed\n")
    with pytest.raises(InputError, match=r"its source has changed since the run in .* began; put it back as it was"):
        RunDirectory.open(tmp_path / "run").resolved_config()
    (runs / "mine.py").write_text(before)
    assert inspect.isclass(RunDirectory.open(runs / "kinds").resolved_config().estimator.member)


def test_what_is_no_kind_is_told(capsys, runs, monkeypatch):
    monkeypatch.chdir(runs)
    for options, message in (
        (("--estimator", "mine.py:Damped"), "is not a subclass of AbstractEstimator"),
        (("--estimator", "mine.py:Itrated"), "mine.py has no 'Itrated'"),
        (("--estimator", "yours.py:Iterated"), "yours.py: there is no such file"),
        (
            ("--estimator", "mine.py:Iterated", "--nudge", "0.1"),
            "estimator.nudge: is not used by estimator.kind = 'mine.py:Iterated'",
        ),
        (("--estimator", "mine.py:Iterated", "--estimator.terms", "0"), "estimator.terms = 0: must be at least 1"),
    ):
        code, out, err = call(capsys, "train", *FEW, *options, "--out", "none")
        assert code == 2 and out == "" and message in err and err.count("\n") == 1, err
        assert not (runs / "none").exists()
