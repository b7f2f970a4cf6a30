"""`equiprop runs` as a user calls it: what it prints and writes, and one line for every mistake."""

import io
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb
import numpy as np
import pytest

from equiprop.cli.main import main
from equiprop.data import load
from equiprop.experiment import Config
from equiprop.experiment._run_directory import RunDirectory
from reporting.reporting_runs import MANIFEST, SUMMARY, write_run_into

ERRORS = {"a": 8.25, "b": 4.5, "c": 6.0}


def call(capsys, *arguments):
    """The exit code, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs a, b and c of one holomorphic and two centred estimators; b and c differ in their seed alone."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, error) in enumerate(ERRORS.items()):
        kind = "holomorphic" if name == "a" else "centered"
        write_run_into(Path("runs"), name, estimator=kind, seed=seed, summary=SUMMARY | {"test_error_percent": error})
    return tmp_path / "runs"


def read(query: str) -> list:
    return duckdb.connect().execute(query).fetchall()


def found(capsys, *arguments) -> list[str]:
    code, out, err = call(capsys, "runs", *arguments, "--json")
    assert code == 0, err
    return [run["run"] for run in json.loads(out)["runs"]]


def test_the_table(capsys, folder):
    code, out, _ = call(capsys, "runs")
    assert code == 0 and "3 runs in runs" in out
    assert re.search(
        r"a +holomorphic \(N=4, \|β\|=0\.5\) +jacobian \(strength 0\.1\) +3 +8\.25 +0\.905 +0\.800 +99\.9", out
    )
    assert call(capsys, "runs", "--quiet") == (0, "", "")


def test_json_has_the_keys_of_the_table(capsys, folder):
    code, out, _ = call(capsys, "runs", folder, "--where", "run = 'a'", "--json")
    assert code == 0 and json.loads(out) == {
        "runs": [
            {
                "path": str(folder / "a"),
                "state": "finished",
                "warnings": [],
                "run": "a",
                "estimator": "holomorphic (N=4, |β|=0.5)",
                "homeostasis": "jacobian (strength 0.1)",
                "epochs": 3.0,
                "test_error_percent": 8.25,
                "test_loss": None,
                "validation_error_percent": 8.0,
                "cosine_total": 0.905,
                "cosine_smallest": 0.83,
                "gradient_bar_percent": None,
                "symmetry": 0.8,
                "weight_angle_deg": 30.0,
                "converged_percent": 100 * 0.9996,
                "excluded_percent": None,
                "seconds": 4.5,
            }
        ]
    }


def test_conditions(capsys, folder):
    assert found(capsys, "--where", "test_error_percent < 7 and estimator.kind = 'centered'") == ["b", "c"]
    assert found(capsys, "--where", "estimator.kind=centered", "training.seed=2") == ["c"]
    assert found(capsys, "--where", "estimator.kind=centered", "--where", "test_error_percent < 5") == ["b"]
    assert found(capsys, "--where", "test_error_percent < 0") == []


def test_order(capsys, folder):
    assert found(capsys, "--sort", "test_error_percent") == ["b", "c", "a"]
    out = call(capsys, "runs", "--sort", "estimator.points")[1]
    assert re.search(r"estimator\.points *\n.*\n +a .* 4 *\n +b .* – *\n +c .* – *\n", out)
    assert re.search(r"converged \(%\) +seconds", call(capsys, "runs", "--sort", "seconds")[1])


def test_over_seeds(capsys, folder):
    spread = np.std([4.5, 6.0], ddof=1)
    out = call(capsys, "runs", "--over-seeds")[1]
    assert re.search(rf"b \+ 1 +2 +centered .* 5\.25 ± {spread:.2f}", out) and re.search(
        r"a +1 +holomorphic .* 8\.25 ", out
    )
    code, out, _ = call(capsys, "runs", "--over-seeds", "--sort", "test_error_percent", "--json")
    one, other = json.loads(out)["runs"]
    assert code == 0 and (one["run"], one["seeds"], other["seeds"]) == ("b + 1", [1, 2], [0])
    assert (one["test_error_percent"], one["std"]["test_error_percent"]) == (5.25, pytest.approx(spread))
    assert one["std"]["cosine_to_adjoint"]["total"] == 0 and other["std"] is None


def test_a_query(capsys, folder):
    query = "select estimator.kind as kind, avg(test_error_percent) as error, count(*) as n from runs group by all order by error"
    code, out, _ = call(capsys, "runs", "--sql", query)
    assert code == 0 and re.search(r"kind +error +n *\n.*\n +centered +5\.25 +2 *\n +holomorphic +8\.25 +1 *\n", out)
    code, out, _ = call(capsys, "runs", "--sql", query, "--json")
    assert json.loads(out) == {
        "rows": [{"kind": "centered", "error": 5.25, "n": 2}, {"kind": "holomorphic", "error": 8.25, "n": 1}]
    }
    code, out, _ = call(
        capsys, "runs", "--over-seeds", "--where", "run != 'a'", "--sql", "select seeds from runs", "--json"
    )
    assert json.loads(out) == {"rows": [{"seeds": [1, 2]}]}


def test_json_of_what_json_has_no_kind_for(capsys, folder):
    query = "select 1.5 as a, date '2020-01-02' as b, 'nan'::double as c, {'x': [1.5]} as d, null as e, true as f"
    assert json.loads(call(capsys, "runs", "--sql", query, "--json")[1]) == {
        "rows": [{"a": 1.5, "b": "2020-01-02", "c": None, "d": {"x": [1.5]}, "e": None, "f": True}]
    }


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files(capsys, folder, suffix):
    code, out, _ = call(capsys, "runs", "--sort", "test_error_percent", "--out", f"tables/all.{suffix}")
    assert (code, out) == (0, f"table: tables/all.{suffix} (3 rows)\n")
    query = 'select run, "estimator.kind", "cosine_to_adjoint.total" from'
    assert read(f"{query} 'tables/all.{suffix}'") == [
        ("b", "centered", 0.905), ("c", "centered", 0.905), ("a", "holomorphic", 0.905)
    ]  # fmt: skip
    query = "select avg(test_error_percent) as error from runs where estimator.kind = 'centered'"
    code, out, _ = call(capsys, "runs", "--sql", query, "--out", f"mean.{suffix}", "--json")
    assert json.loads(out) == {"out": f"mean.{suffix}", "rows": 1}
    assert read(f"from 'mean.{suffix}'") == [(5.25,)]
    call(capsys, "runs", "--sql", "select run from runs where false", "--out", f"none.{suffix}")
    assert read(f"select count(*), any_value(columns(*)) from 'none.{suffix}'") == [(0, None)]
    assert call(capsys, "runs", "--over-seeds", "--out", f"seeds.{suffix}", "--quiet")[1] == ""
    assert read(f"select len(seeds::int[]) as n from 'seeds.{suffix}' order by n") == [(1,), (2,)]


def test_the_manifest_of_a_new_run_holds_its_configuration(capsys, tmp_path):
    config = Config().changed({"estimator.kind": "holomorphic", "estimator.clip": float("inf"), "training.seed": 7})
    RunDirectory.create(tmp_path / "new", config, load("digits").info, "equiprop train").unlock()
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert manifest["config"] == tomllib.loads((tmp_path / "new" / "config.toml").read_text())
    query = "select estimator.kind, training.seed, estimator.clip = 'inf' as off, epochs from runs"
    assert json.loads(call(capsys, "runs", tmp_path, "--sql", query, "--json")[1]) == {
        "rows": [{"estimator.kind": "holomorphic", "training.seed": 7, "off": True, "epochs": 0.0}]
    }


def test_runs_that_cannot_be_read_are_said(capsys, folder):
    (folder / "b" / "summary.json").write_text("{")
    code, out, _ = call(capsys, "runs")
    assert code == 0 and "runs/b: cannot be read: runs/b/summary.json: is not valid JSON" in out and "3 runs in" in out
    assert found(capsys, "--where", "len(warnings) > 0") == ["b"]


def test_a_long_table_looks_as_a_short_one(capsys, folder):
    short = [line.split() for line in call(capsys, "runs")[1].splitlines()]
    for number in range(101):
        write_run_into(folder, f"more-{number}", epochs=1, manifest=MANIFEST)
    long = [line.split() for line in call(capsys, "runs")[1].splitlines()]
    assert long[0][0] == "104" and len(long) == 3 + 1 + 104 + 1
    assert [line for line in short if line][1] == [line for line in long if line][1]
    assert all(line in long for line in short if line[:1] in (["a"], ["b"], ["c"]))
    assert ["more-100", *short[4][1:]] in long
    query = "select repeat('ab ', 100) as words, '模型' as wide, 1 as n from range(101)"
    lines = call(capsys, "runs", "--sql", query)[1].splitlines()
    assert max(map(len, lines)) <= 160 and "".join(lines).count("ab") == 100 * 101


MISTAKES = [
    (["--where", "x = 1"], r"--where = 'x = 1': there is no column 'x'; settings are named section\.key"),
    (["--where", "estimator.kin = 1"], r"there is no column 'estimator\.kin'; did you mean 'estimator\.kind'\?"),
    (["--where", "estimator.kin=1"], r"--where = 'estimator\.kin=1': there is no column 'estimator\.kin'"),
    (["--where", "test_error_percent <"], "Parser Error: syntax error at"),
    (["--sort", "nudge"], r"--sort = 'nudge': there is no column 'nudge'; did you mean 'estimator\.nudge'\?"),
    (["--sql", "selec 1"], "--sql = 'selec 1': Parser Error: syntax error at or near"),
    (["--sql", "select knd from runs"], "there is no column 'knd'; did you mean '.*kind'"),
    (["--sql", "drop table runs"], "must be one statement, and read only: one that begins with select, from or with"),
    (["--sql", "copy runs to 'x.csv'"], "must be one statement, and read only"),
    (["--sql", "select 1; select 2"], "must be one statement, and read only"),
    (["--sql", "from read_csv('runs/a/metrics.jsonl')"], "(is|are) disabled"),
    (["--sql", "from other"], "Table with name other does not exist!; the table is called runs"),
    (["--sql", "from runs", "--sort", "run"], "--sort: has no effect on --sql; write order by into the query"),
    (["--out", "x.txt"], r"--out = 'x\.txt': must end in \.csv or \.parquet"),
    (["--out", "runs/a/config.toml/x.csv"], "config.toml is not a folder that can be written to; give another"),
    (["--out", "runs"], "must end in"),
    (["--over"], "runs: .*--over"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_mistakes(capsys, folder, arguments, message):
    """Exit code 2, one line on standard error, nothing on standard output, nothing written."""
    before = sorted(Path().rglob("*"))
    code, out, err = call(capsys, "runs", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("equiprop: ") and err.count("\n") == 1
    assert re.search(message, err), err
    assert sorted(Path().rglob("*")) == before


def test_a_file_that_cannot_be_written(capsys, folder):
    Path("x.csv").mkdir()
    code, out, err = call(capsys, "runs", "--out", "x.csv")
    assert (code, out) == (2, "") and re.match(r"equiprop: --out = 'x\.csv': cannot be written \(.*\)\n$", err)


def test_it_needs_no_jax(folder):
    code = (
        "import sys\n"
        "from equiprop.cli.main import main\n"
        "try: main(['runs', '--where', 'test_error_percent < 9', '--over-seeds', '--sql', 'from runs'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "loaded = {'jax', 'equinox', 'optax', 'matplotlib', 'pandas'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_names_are_text_and_nothing_else(capsys, folder):
    """Neither markup, nor emoji, nor commands to the terminal, in short tables, long ones, titles and lines."""
    names = {"a[best]": "a[best]", "[red]x[/y]": "y]", ":smile:": ":smile:", "c\x1b[31m\n": r"c\x1b[31m\n"}
    for name in names:
        write_run_into(folder, name)
    (folder / "c\x1b[31m\n" / "summary.json").write_text("{")
    for more in range(0, 102, 101):
        for number in range(more):
            write_run_into(folder, f"more-{number}", epochs=1)
        code, out, _ = call(capsys, "runs", folder)
        assert code == 0 and all(shown in out for shown in names.values())
        assert not re.search(r"[\x00-\x09\x0b-\x1f]", out)
    code, out, err = call(capsys, "report", *(folder / name for name in names), "--out", folder / "[/x]")
    assert code == 0 and "a[best]" in out and "report: " in out and not re.search(r"[\x00-\x09\x0b-\x1f]", out + err)


def test_a_report_of_several_runs_is_where_they_are(capsys, folder):
    assert "report: runs/a/report.html" in call(capsys, "report", "runs/a")[1]
    assert "report: runs/report.html" in call(capsys, "report", "runs/a", folder / "b")[1]
    assert (folder / "report.html").read_text() != (folder / "a" / "report.html").read_text()


@pytest.mark.slow
def test_a_damaged_run_is_named_and_the_others_are_reported(capsys, folder):
    (folder / "b" / "manifest.json").write_text("[" * 5000)
    code, out, err = call(capsys, "report", *(folder / name for name in "abc"))
    assert code == 0 and "8.25" in out and "6.00" in out and (folder / "report.html").is_file()
    assert err.startswith(f"equiprop: warning: {folder / 'b'}: cannot be read: ") and err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_output_in_another_encoding_has_question_marks(folder, monkeypatch, encoding):
    for arguments in (
        ["runs"],
        ["report", folder / "a", folder / "b"],
        ["--help"],
        ["runs", "--help"],
        ["data", "list"],
    ):
        written = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
            patch.setattr(sys, "stdout", written)
            main([str(a) for a in arguments])
        assert not stop.value.code, arguments
        assert written.buffer.getvalue().decode(encoding)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["runs"], ["--help"], ["runs", "--help"]], ids=" ".join)
def test_a_reader_that_goes_away_and_a_full_disk_end_a_command_quietly(folder, arguments):
    command = [Path(sys.executable).parent / "equiprop", *arguments]
    reading, writing = os.pipe()
    os.close(reading)
    gone = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (gone.returncode, gone.stderr) == (1, "")
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            answer = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (answer.returncode, answer.stderr) == (1, "equiprop: output: No space left on device\n")
    closed = subprocess.run(
        [sys.executable, "-c", _CLOSED, *map(str, command)], capture_output=True, text=True, check=False
    )
    assert (closed.returncode, closed.stderr) == (0, "")


_CLOSED = "import os, sys; os.close(1); os.execv(sys.argv[1], sys.argv[1:])"
