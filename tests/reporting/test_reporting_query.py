"""Runs as a table of SQL: the values, what is refused, several seeds as one, and files."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from reporting_runs import MANIFEST, SUMMARY, write_run_into

from equiprop.errors import InputError
from equiprop.reporting import COLUMNS, RunTable, query_runs

WriteRun = Callable[..., Path]


def _config(**training: Any) -> dict[str, Any]:
    return {
        "dataset": "digits",
        "system": {"kind": "mlp", "hidden": [8]},
        "estimator": {"kind": "centered", "nudge": 0.1},
        "training": {"epochs": 3, "seed": 0, **training},
    }


def _names(table: RunTable) -> list[str]:
    return [run.name for run in table.runs]


@pytest.fixture
def three(write_run: WriteRun, tmp_path: Path) -> Path:
    """Of three estimators, with 8.25, 4.5 and 6 % of errors; the last reads no nudge."""
    write_run("a", estimator="holomorphic")
    write_run("b", estimator="centered", seed=1, summary=SUMMARY | {"test_error_percent": 4.5, "symmetry": 0.6})
    write_run("c", estimator="adjoint", summary=SUMMARY | {"test_error_percent": 6.0, "symmetry": None})
    return tmp_path


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("test_error_percent < 7", "bc"),
        ("test_error_percent < 7 and estimator.kind = 'centered'", "b"),
        ("TEST_ERROR_PERCENT < 7 AND Estimator.Kind = 'centered'", "b"),
        ("estimator.nudge is null or test_error_percent > 8", "ac"),
        ("estimator.kind = 'estimator.kind'", ""),
        ("runs.estimator.kind = 'adjoint' -- estimator.kind = 'centered'", "c"),
        ("estimator.kind.upper() = 'ADJOINT'", "c"),
        ("\"estimator.kind\" = 'adjoint'", "c"),
        ("test_error_percent = (select min(test_error_percent) from runs)", "b"),
        ("path in (select path from (from runs where run = 'a') natural join runs)", ""),
        ("(select count(column_name) > 40 from (describe runs))", "abc"),
        ("system.hidden = [16, 8] and cosine_to_adjoint.total > 0.9", "abc"),
        ("state = 'finished' and len(warnings) = 0", "abc"),
        ('"weight_angle_deg.h1<->out" = 30', "abc"),
        ("estimator.kind=centered", "b"),
        ("estimator.kind='centered'", "b"),
        ("training.seed=1", "b"),
        ("system.hidden=[16, 8]", "abc"),
        ("test_error_percent=6", "c"),
        ("estimator.nudge=half", ""),
        (["test_error_percent < 7", "training.seed=0"], "c"),
        ([], "abc"),
    ],
)
def test_conditions_select_runs(three: Path, where: str | list[str], expected: str) -> None:
    assert _names(query_runs(three, where=where)) == list(expected)


def test_conditions_hold_of_all_runs_and_not_of_those_that_the_others_leave(three: Path) -> None:
    conditions = ["estimator.kind=adjoint", "test_error_percent > (select min(test_error_percent) from runs)"]
    assert _names(query_runs(three, where=conditions)) == ["c"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("run", "abc"),
        ("test_error_percent", "bca"),
        ("training.seed", "acb"),
        ("estimator.nudge", "abc"),
        ("symmetry", "bac"),
        ("cosine_to_adjoint.total", "abc"),
    ],
)
def test_runs_are_sorted_by_any_column_and_those_without_it_come_last(three: Path, sort: str, expected: str) -> None:
    assert _names(query_runs(three, sort=sort)) == list(expected)


def test_runs_are_in_the_order_of_their_paths_with_numbers_as_such(write_run: WriteRun, tmp_path: Path) -> None:
    for name in ("run-10", "run-9", "a/run-11"):
        write_run(name)
    assert _names(query_runs(tmp_path)) == ["run-11", "run-9", "run-10"]


def test_every_setting_and_every_number_of_the_summary_is_a_column(three: Path) -> None:
    table = query_runs(three)
    columns = table.columns()
    assert list(columns.values)[: 3 + len(COLUMNS)] == ["path", "state", "warnings", *(c.key for c in COLUMNS)]
    assert len(columns) == 3
    first = columns.rows()[0]
    assert first["path"] == str(three / "a")
    assert first["estimator"] == "holomorphic (N=4, |β|=0.5)"
    for key, value, kind in [
        ("estimator.kind", "holomorphic", "VARCHAR"),
        ("estimator.points", 4, "BIGINT"),
        ("homeostasis.strength", 0.1, "DOUBLE"),
        ("system.hidden", [16, 8], "BIGINT[]"),
        ("dataset", "digits", "VARCHAR"),
        ("cosine_to_adjoint.h1", 0.83, "DOUBLE"),
        ("cosine_total", 0.905, "DOUBLE"),
        ("converged_fraction", 0.9996, "DOUBLE"),
        ("converged_percent", 100 * 0.9996, "DOUBLE"),
        ("certificate_angle_deg", None, "DOUBLE"),
        ("certificate_reason", "S is not negative definite", "VARCHAR"),
        ("warnings", [], "VARCHAR[]"),
    ]:
        assert (first[key], columns.types[key]) == (value, kind), key
    assert len(set(columns.values)) == len(columns.values) == len(table.names)


def test_a_setting_that_is_a_word_or_a_number_is_text(write_run: WriteRun, tmp_path: Path) -> None:
    for name, strength in (("a", "auto"), ("b", 0.5), ("c", True)):
        write_run(name, manifest=MANIFEST | {"config": {"homeostasis": {"strength": strength}}})
    table = query_runs(tmp_path)
    assert table.columns(["homeostasis.strength"]).values["homeostasis.strength"] == ["auto", "0.5", "true"]
    assert _names(table.where(["try_cast(homeostasis.strength as double) > 0.4"])) == ["b"]
    assert _names(table.where(["homeostasis.strength=0.5"])) == ["b"]
    assert _names(table.where(["homeostasis.strength='auto'"])) == ["a"]
    with pytest.raises(InputError, match=r"explicit cast is required; .* try_cast\(NAME as double\)"):
        table.where(["homeostasis.strength > 0.4"])


def test_a_table_in_the_place_of_a_number_is_columns_of_its_own(write_run: WriteRun, tmp_path: Path) -> None:
    schedule = {"schedule": "cosine", "from": 0.5, "to": 0.05}
    for name, nudge in (("a", schedule), ("b", 0.5)):
        write_run(name, manifest=MANIFEST | {"config": {"estimator": {"nudge": nudge}}})
    table = query_runs(tmp_path)
    assert table.columns(["estimator.nudge", "estimator.nudge.to"]).rows() == [
        {"estimator.nudge": None, "estimator.nudge.to": 0.05},
        {"estimator.nudge": 0.5, "estimator.nudge.to": None},
    ]
    assert _names(table.where(['estimator.nudge={schedule = "cosine", from = 0.5}'])) == ["a"]


def test_names_that_differ_in_capital_letters_alone_are_both_there(write_run: WriteRun, tmp_path: Path) -> None:
    cosines = {"H": 0.25, "h": 0.5, 'a "b".c': 0.75, "State": 1.0}
    write_run('it\'s "odd" v1.0', summary={"cosine_to_adjoint": cosines, "State": 7})
    table = query_runs(tmp_path)
    (row,) = table.columns().rows()
    assert (row["cosine_to_adjoint.H"], row["cosine_to_adjoint.h_"], row['cosine_to_adjoint.a "b".c']) == (
        0.25,
        0.5,
        0.75,
    )
    assert (row["run"], row["State_"]) == ('it\'s "odd" v1.0', 7)
    assert len(table.where(['"cosine_to_adjoint.a ""b"".c" = 0.75 and run = \'it\'\'s "odd" v1.0\'']).runs) == 1


def test_what_is_no_number_comes_after_all_numbers(write_run: WriteRun, tmp_path: Path) -> None:
    for name, bar in (("a", float("nan")), ("b", float("inf")), ("c", None), ("d", 2.0)):
        write_run(name, summary={"error_bar": bar})
    assert _names(query_runs(tmp_path, where="error_bar < 3")) == ["d"]
    assert _names(query_runs(tmp_path, sort="error_bar")) == ["d", "b", "a", "c"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select estimator.kind, test_error_percent from runs where training.seed = 0 order by 2",
         [("adjoint", 6.0), ("holomorphic", 8.25)]),
        ("select training.seed as seed, avg(test_error_percent) as error from runs group by all order by error",
         [(1, 4.5), (0, 7.125)]),
        ("select r.run from runs r where r.estimator.nudge is null", [("c",)]),
        ("select count(*) from runs", [(3,)]),
        ("with best as (from runs where test_error_percent < 5) select run, dataset from best", [("b", "digits")]),
        ("select count(column_name) > 40 from (describe runs)", [(True,)]),
        ("select count(name) > 40 from pragma_table_info('runs')", [(True,)]),
        ("select r.symmetry from (select runs as r from runs where run = 'b')", [(0.6,)]),
        # What is missing is never equal, and in some column every run lacks something.
        ("select count(dataset) from runs a natural join runs b where b.symmetry is not null", [(0,)]),
        ("select A.symmetry from (select R as a from runs r where run = 'b')", [(0.6,)]),
        ("select 1 as a, 2 as a, 3 as A", [(1, 2, 3)]),
        ("select run from runs where false", []),
    ],
)  # fmt: skip
def test_queries(three: Path, query: str, expected: list[tuple[Any, ...]]) -> None:
    found = query_runs(three).sql(query)
    assert [tuple(row.values()) for row in found.rows()] == expected
    assert len(found) == len(expected)


def test_columns_of_an_answer_are_called_as_in_the_query(three: Path) -> None:
    found = query_runs(three, where="test_error_percent < 5").sql(
        "select estimator.kind, symmetry as s, 1 as S from runs"
    )
    assert found.types == {"estimator.kind": "VARCHAR", "s": "DOUBLE", "S_": "INTEGER"}
    assert found.rows()[0]["s"] == 0.6


@pytest.mark.parametrize(
    "query",
    [
        "",
        "-- nothing",
        "select 1; select 2",
        "drop table runs",
        "insert into runs select * from runs",
        "with a as (select 1) insert into runs select * from runs",
        "copy runs to 'stolen.csv'",
        "attach 'stolen.db'",
        "set threads = 1",
        "install httpfs",
        "call pragma_version()",
        "export database 'stolen'",
    ],
)
def test_anything_but_one_statement_that_reads_is_refused(three: Path, query: str) -> None:
    with pytest.raises(InputError, match=r"^sql = .*: must be one statement, and read only"):
        query_runs(three).sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "from read_text('FILE')",
        "from read_csv('FILE')",
        "from 'FILE'",
        "from glob('FILE')",
        "from read_json('https://example.org/x.json')",
        "from sniff_csv('FILE')",
    ],
)
def test_a_query_reaches_no_file_and_no_network(three: Path, query: str) -> None:
    file = three / "secret.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"^sql = .*(is|are) disabled") as caught:
        query_runs(three).sql(query.replace("FILE", str(file)))
    assert "\n" not in str(caught.value)


def test_a_query_reads_no_variable_of_python(three: Path) -> None:
    secret = duckdb.sql("select 1 as a")
    with pytest.raises(InputError, match=r"Table with name secret does not exist!; the table is called runs$"):
        query_runs(three).sql("from secret")
    del secret


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("estimator.kin = 1", r"there is no column 'estimator\.kin'; did you mean 'estimator\.kind'\?"),
        ("estimatr.kind = 1", r"there is no column 'estimatr\.kind'; did you mean 'estimator\.kind'\?"),
        ("test_eror_percent < 5", r"there is no column 'test_eror_percent'; did you mean 'test_error_percent'\?"),
        ("nudge < 5", r"there is no column 'nudge'; did you mean 'estimator\.nudge'\?"),
        ("xyz < 5", r"there is no column 'xyz'; settings are named section\.key, as estimator\.kind"),
        ("estimatr.kind=centered", r"there is no column 'estimatr\.kind'; did you mean 'estimator\.kind'\?"),
        ("optimizer.learning_rates={}", r"there is no column 'optimizer\.learning_rates'.*"),
        ("test_error_percent <", r"Parser Error: syntax error at .*"),
        ("", r"Parser Error: .*"),
        ("test_error_percent > 1) or (1 = 1", r"Parser Error: syntax error at or near \"\)\""),
        ("1 = 1; drop table runs", r"Parser Error: .*"),
        ("estimator.kind = 3", r"Conversion Error: Could not convert string '\w+' to INT32.*"),
        ("nosuch(run)", r"Catalog Error: Scalar Function with name nosuch does not exist!"),
    ],
)  # fmt: skip
def test_a_condition_that_cannot_be_asked_is_refused_in_one_line(three: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^where = {_escaped(text)}: {reason}$"):
        query_runs(three, where=text)


def _escaped(text: str) -> str:
    return "".join(rf"\{sign}" if not sign.isalnum() and sign not in " _" else sign for sign in repr(text))


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("selec 1", r'Parser Error: syntax error at or near "selec"'),
        ("select estimator.knd from runs", r"there is no column 'estimator\.knd'; did you mean 'estimator\.kind'\?"),
        ('select "estimator.knd" from runs', r"there is no column 'estimator\.knd'; did you mean 'estimator\.kind'\?"),
        ("select run from nope", r"Catalog Error: Table with name nope does not exist!; the table is called runs"),
        (
            "select run,\n sum(test_error_percent) from runs",
            r'Binder Error: column "run" must appear in the GROUP BY.*',
        ),
    ],
)
def test_a_query_that_fails_is_refused_in_one_line(three: Path, query: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"^sql = .*: {reason}$") as caught:
        query_runs(three).sql(query)
    assert "\n" not in str(caught.value)


def test_a_column_to_sort_by_that_is_not_there_is_refused(three: Path) -> None:
    with pytest.raises(
        InputError, match=r"^sort = 'nudge': there is no column 'nudge'; did you mean 'estimator.nudge'"
    ):
        query_runs(three, sort="nudge")


def test_a_folder_without_runs_is_an_empty_table(tmp_path: Path) -> None:
    table = query_runs(
        tmp_path, where=["estimator.kind=centered", "test_error_percent < 5"], sort="symmetry", over_seeds=True
    )
    assert table.runs == [] and len(table.columns()) == 0
    assert table.sql("select count(*) as n from runs").rows() == [{"n": 0}]
    assert query_runs(tmp_path, where="run like 'x%' or len(warnings) > 0 or path = 'x'").runs == []
    with pytest.raises(InputError, match="there is no column"):
        query_runs(tmp_path, where="x")
    with pytest.raises(InputError, match=r"^runs = '.*nowhere': is not a folder"):
        query_runs(tmp_path / "nowhere")


def test_nothing_that_holds_leaves_the_columns(three: Path) -> None:
    table = query_runs(three, where="test_error_percent < 0", sort="estimator.nudge")
    assert (
        table.runs == [] and table.sql("from runs where estimator.kind like 'h%' and estimator.nudge < 1").rows() == []
    )
    assert table.columns().types == query_runs(three).columns().types


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_hold_every_column(three: Path, suffix: str) -> None:
    table = query_runs(three, sort="test_error_percent")
    file = three / "a 'new' folder" / f"table.{suffix}"
    table.columns().write(file)
    read = duckdb.connect().execute(f"select * from read_{suffix}(?)", [str(file)])
    names = [name for name, *_ in read.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in read.fetchall()]
    assert names == list(table.names)
    assert [row["run"] for row in rows] == ["b", "c", "a"]
    assert [row["estimator.points"] for row in rows] == [None, None, 4]
    assert [row["weight_angle_deg.in<->h1"] for row in rows] == [12.0] * 3
    hidden = [16, 8]
    assert rows[0]["system.hidden"] == (hidden if suffix == "parquet" else str(hidden))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_files_hold_the_answer_to_a_query(three: Path, suffix: str) -> None:
    query = "select run as r, test_error_percent::decimal(8, 3) as e, ['x'] as l, date '2020-01-02' as d from runs order by e"
    file = three / f"answer.{suffix}"
    query_runs(three).sql(query).write(file)
    read = duckdb.connect().execute(f"select r, e, len(l::varchar[]), year(d) from read_{suffix}(?)", [str(file)])
    assert [(r, float(e), n, y) for r, e, n, y in read.fetchall()] == [
        ("b", 4.5, 1, 2020), ("c", 6.0, 1, 2020), ("a", 8.25, 1, 2020)
    ]  # fmt: skip


def test_files_that_cannot_be_written_are_refused_in_one_line(three: Path) -> None:
    columns = query_runs(three).columns()
    for name, reason in [
        ("table.txt", r"must end in \.csv or \.parquet"),
        ("table", r"must end in"),
        ("a/config.toml/table.csv", r"cannot be written \("),
    ]:
        with pytest.raises(InputError, match=rf"^out = '.*{name}': {reason}") as caught:
            columns.write(three / name)
        assert "\n" not in str(caught.value)
    (three / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"^out = '.*folder\.csv': cannot be written \("):
        columns.write(three / "folder.csv")


def _write_seeds(
    root: Path, seeds: Iterable[int], prefix: str = "run", epochs: int = 3, **changed: Any
) -> dict[int, dict[str, Any]]:
    """Runs that differ in their seed alone; their summaries."""
    found = {}
    for seed in seeds:
        rng = np.random.default_rng([seed, len(prefix)])
        summary = SUMMARY | {
            "test_error_percent": rng.uniform(2, 9),
            "cosine_to_adjoint": {"h1": rng.uniform(), "total": rng.uniform()},
            "seconds": rng.uniform(1, 2),
        }
        manifest = MANIFEST | {"config": _config(seed=seed, epochs=epochs)} | changed
        write_run_into(root, f"{prefix}-{seed}", summary=summary, manifest=manifest)
        found[seed] = summary
    return found


def test_runs_that_differ_in_their_seed_alone_become_one(tmp_path: Path) -> None:
    summaries = _write_seeds(tmp_path, (0, 1, 2, 5))
    write_run_into(tmp_path, "wider", manifest=MANIFEST | {"config": _config() | {"system": {"hidden": [9]}}})
    table = query_runs(tmp_path, over_seeds=True)
    assert _names(table) == ["run-0 + 3", "wider"]
    row, other = table.columns().rows()
    errors = [each["test_error_percent"] for each in summaries.values()]
    cosines = [each["cosine_to_adjoint"]["total"] for each in summaries.values()]
    assert row["seeds"] == [0, 1, 2, 5] and other["seeds"] == [0]
    assert row["test_error_percent"] == pytest.approx(np.mean(errors), rel=1e-14)
    assert row["std.test_error_percent"] == pytest.approx(np.std(errors, ddof=1), rel=1e-13)
    assert row["cosine_total"] == row["cosine_to_adjoint.total"] == pytest.approx(np.mean(cosines), rel=1e-14)
    assert row["std.cosine_to_adjoint.total"] == pytest.approx(np.std(cosines, ddof=1), rel=1e-13)
    assert row["path"] == str(tmp_path) and row["epochs"] == 3
    assert other["test_error_percent"] == 8.25 and other["std.test_error_percent"] is None
    assert "training.seed" not in table.names
    (text,) = [c.of(table.runs[0]).text for c in COLUMNS if c.key == "test_error_percent"]
    assert text == f"{np.mean(errors):.2f} ± {np.std(errors, ddof=1):.2f}"


def test_conditions_hold_of_the_single_runs_and_the_order_is_that_of_the_means(tmp_path: Path) -> None:
    first = _write_seeds(tmp_path, (0, 1, 2))
    second = _write_seeds(tmp_path, (0, 1, 2), "longer", epochs=9)
    table = query_runs(tmp_path, where="training.seed < 2", sort="test_error_percent", over_seeds=True)
    means = [(each[0]["test_error_percent"] + each[1]["test_error_percent"]) / 2 for each in (first, second)]
    assert [row["test_error_percent"] for row in table.columns().rows()] == pytest.approx(sorted(means))
    assert [row["seeds"] for row in table.columns().rows()] == [[0, 1], [0, 1]]


def _write_directory(root: Path, name: str, seeds: Iterable[int]) -> None:
    """A directory of several seeds, as `equiprop train --seeds` leaves it."""
    seeds = list(seeds)
    several = {"config": _config(seed=seeds[0], seeds=len(seeds))}
    write_run_into(
        root, name, summary=SUMMARY | {"test_error_percent": 5.5, "seeds": seeds}, manifest=MANIFEST | several
    )
    for seed in seeds:
        config = {"config": _config(seed=seed, seeds=1)}
        summary = SUMMARY | {"test_error_percent": 5.0 + seed}
        write_run_into(root / name, f"seed-{seed}", summary=summary, manifest=MANIFEST | config)


def test_the_runs_of_a_directory_of_several_seeds_count_once(tmp_path: Path) -> None:
    _write_directory(tmp_path, "two", (0, 1))
    write_run_into(tmp_path / "two", "another", manifest=MANIFEST | {"config": _config(epochs=7)})
    assert _names(query_runs(tmp_path)) == ["another", "two/seed-0", "two/seed-1"]
    assert query_runs(tmp_path).sql(
        "select avg(test_error_percent) as e from runs where training.seeds = 1"
    ).rows() == [{"e": 5.5}]
    table = query_runs(tmp_path, over_seeds=True)
    assert _names(table) == ["another", "two"]
    row = table.columns().rows()[1]
    assert (row["seeds"], row["test_error_percent"], row["path"]) == ([0, 1], 5.5, str(tmp_path / "two"))
    assert row["std.test_error_percent"] == pytest.approx(np.sqrt(0.5))
    assert _names(query_runs(tmp_path / "two")) == ["another", "two/seed-0", "two/seed-1"]


def test_a_directory_whose_single_runs_are_gone_counts_itself(tmp_path: Path) -> None:
    _write_directory(tmp_path, "two", (0, 1))
    for seed in (0, 1):
        shutil.rmtree(tmp_path / "two" / f"seed-{seed}")
    _write_seeds(tmp_path, (7,))
    for over_seeds in (False, True):
        table = query_runs(tmp_path, over_seeds=over_seeds, where="run = 'two'")
        (row,) = table.columns().rows()
        assert (row["test_error_percent"], row["seeds"]) == (5.5, [0, 1])
    assert _names(query_runs(tmp_path, over_seeds=True)) == ["run-7", "two"]


def test_a_seed_that_is_there_again_is_in_a_row_of_its_own(tmp_path: Path) -> None:
    _write_directory(tmp_path, "two", (0, 1))
    shutil.copytree(tmp_path / "two" / "seed-1", tmp_path / "again")
    table = query_runs(tmp_path, over_seeds=True)
    assert {row["run"]: row["seeds"] for row in table.columns().rows()} == {"again": [1], "two": [0, 1]}


def test_runs_of_a_directory_and_others_like_them_become_one(tmp_path: Path) -> None:
    _write_directory(tmp_path, "two", (0, 1))
    write_run_into(tmp_path, "more", manifest=MANIFEST | {"config": _config(seed=2, seeds=1)})
    (row,) = query_runs(tmp_path, over_seeds=True).columns().rows()
    assert (row["run"], sorted(row["seeds"]), row["path"]) == ("two/seed-0 + 2", [0, 1, 2], str(tmp_path))


@pytest.mark.parametrize(
    "changed",
    [{"dataset_checksum": "sha256:other"}, {"sources": {"mine.py:Mine": "1"}}, {"config": _config(seed=1, epochs=4)}],
)
def test_runs_on_other_data_or_by_other_code_stay_apart(tmp_path: Path, changed: dict[str, Any]) -> None:
    _write_seeds(tmp_path, (0,))
    _write_seeds(tmp_path, (1,), **changed)
    assert len(query_runs(tmp_path, over_seeds=True).runs) == 2


def test_runs_on_other_graphs_stay_apart(tmp_path: Path) -> None:
    for name, graph in (("a", "x = 1"), ("b", "x = 2"), ("c", "x = 1")):
        config = _config(seed=ord(name)) | {"system": {"kind": "network", "topology": "topology.toml"}}
        (write_run_into(tmp_path, name, manifest=MANIFEST | {"config": config}) / "topology.toml").write_text(graph)
    assert _names(query_runs(tmp_path, over_seeds=True)) == ["a + 1", "b"]


def test_unfinished_and_damaged_runs_are_no_part_of_a_mean(tmp_path: Path) -> None:
    _write_seeds(tmp_path, (0, 1, 2, 3))
    (tmp_path / "run-2" / "summary.json").unlink()
    (tmp_path / "run-3" / "summary.json").write_text("{")
    table = query_runs(tmp_path, over_seeds=True)
    assert [(run.name, run.state) for run in table.runs] == [
        ("run-0 + 1", "finished"), ("run-2", "unfinished"), ("run-3", "unfinished")
    ]  # fmt: skip


def test_a_certificate_that_some_seeds_lack_is_not_the_mean_of_the_others(tmp_path: Path) -> None:
    for seed, angle in ((0, 10.0), (1, None)):
        write_run_into(
            tmp_path, f"r{seed}", manifest=MANIFEST | {"config": _config(seed=seed)}, summary={"certificate_angle_deg": angle}
        )  # fmt: skip
    (run,) = query_runs(tmp_path, over_seeds=True).runs
    assert run.summary is not None and run.summary["certificate_angle_deg"] is None


def test_numbers_without_bound_in_a_seed_are_said_in_the_mean(tmp_path: Path) -> None:
    for seed, loss in ((0, 1.0), (1, float("inf")), (2, float("-inf"))):
        manifest = MANIFEST | {"config": _config(seed=seed)}
        write_run_into(tmp_path, f"r{seed}", manifest=manifest, summary={"test_loss": loss, "seconds": 1.5})
    (two,) = query_runs(tmp_path, over_seeds=True, where="training.seed < 2").runs
    assert two.summary is not None
    assert two.summary["test_loss"] == float("inf") and np.isnan(two.summary["std"]["test_loss"])
    (three,) = query_runs(tmp_path, over_seeds=True).runs
    assert three.summary is not None and np.isnan(three.summary["test_loss"])


def test_the_configuration_is_that_in_the_manifest(write_run: WriteRun, tmp_path: Path) -> None:
    write_run("new", manifest=MANIFEST | {"config": {"estimator": {"kind": "neumann", "clip": float("inf")}}})
    write_run("old")
    write_run("none", manifest=None)
    write_run("longer", manifest=MANIFEST | {"config": {"training": {"epochs": 1}}, "extended": [{"epochs": 1}]})
    table = query_runs(tmp_path)
    rows = {row["run"]: row for row in table.columns().rows()}
    assert (rows["new"]["estimator.kind"], rows["new"]["estimator.clip"]) == ("neumann", float("inf"))
    assert {rows[name]["estimator.kind"] for name in ("old", "none", "longer")} == {"holomorphic"}
    # What a run that goes on for more epochs was begun with is not what it has.
    assert rows["longer"]["training.epochs"] == 3
    assert "manifest.json is missing" in rows["none"]["warnings"][0]


def test_epochs_are_read_only_where_there_is_no_summary(write_run: WriteRun, tmp_path: Path) -> None:
    for name, summary in (("finished", SUMMARY), ("unfinished", None)):
        (write_run(name, summary=summary) / "metrics.jsonl").write_text('{"epoch": 1, "symmetry": 0.25}\n{"epo')
    finished, unfinished = query_runs(tmp_path).columns(["state", "epochs", "symmetry", "warnings"]).rows()
    assert finished == {"state": "finished", "epochs": 3.0, "symmetry": 0.8, "warnings": []}
    assert (unfinished["epochs"], unfinished["symmetry"]) == (1.0, 0.25)
    assert any("cut off" in warning for warning in unfinished["warnings"])


def test_runs_of_version_0_1(write_run: WriteRun, tmp_path: Path) -> None:
    folder = write_run(
        "old", manifest={"versions": {"equiprop": "0.1.0"}}, summary={"settled_fraction": 0.5, "epochs": 2}
    )
    (folder / "manifest.json").write_text("{}")
    (row,) = query_runs(tmp_path, where="converged_fraction = 0.5 and estimator.points = 4").columns().rows()
    assert row["converged_percent"] == 50 and "settled_fraction" not in row


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("manifest.json", "{"),
        ("manifest.json", "[1]"),
        ("summary.json", ""),
        ("config.toml", "dataset = "),
        ("summary.json", None),
    ],
)
def test_a_run_that_cannot_be_read_does_not_hide_the_others(three: Path, file: str, content: str | None) -> None:
    if content is None:
        (three / "b" / file).unlink()
        (three / "b" / file).mkdir()
    else:
        (three / "b" / file).write_text(content)
    table = query_runs(three)
    assert _names(table) == ["a", "b", "c"]
    row = table.columns().rows()[1]
    assert (row["state"], row["estimator.kind"], row["test_error_percent"]) == ("unfinished", None, None)
    assert row["warnings"][0].startswith("cannot be read: ") and file in row["warnings"][0]
    assert _names(query_runs(three, where="test_error_percent < 7")) == ["c"]
    assert _names(query_runs(three, sort="test_error_percent", over_seeds=True)) == ["c", "a", "b"]


def test_settings_of_any_shape_do_not_stop_a_query(write_run: WriteRun, tmp_path: Path) -> None:
    odd = {
        "a": [[1, 2], []],
        "b": [1, "x"],
        "c": [{"d": 1}],
        "e": 2**62,
        "f": "\ud800",
        "g": "nul\0",
        "h": None,
        "i": [],
    }
    write_run("a", manifest=MANIFEST | {"config": {"system": odd, "training": 3}})
    write_run("b", manifest=MANIFEST | {"config": {"system": {"e": 1.5, "i": ["x", None]}}})
    first, second = query_runs(tmp_path).columns([f"system.{key}" for key in odd]).rows()
    assert first == {
        "system.a": [[1, 2], []], "system.b": ["1", "x"], "system.c": ["{d = 1}"], "system.e": 2**62,
        "system.f": "\\ud800", "system.g": "nul\0", "system.h": None, "system.i": [],
    }  # fmt: skip
    assert second["system.i"] == ["x", None]
    assert query_runs(tmp_path).sql("from runs").rows()[0]["system.e"] == float(2**62)
    assert len(query_runs(tmp_path, over_seeds=True).runs) == 2


def test_runs_of_the_same_name_are_told_apart(write_run: WriteRun, tmp_path: Path) -> None:
    for name in ("one/run", "two/run", "other"):
        write_run(name)
    assert _names(query_runs(tmp_path)) == ["one/run", "other", "two/run"]
    assert _names(query_runs(tmp_path, where="path like '%two%'")) == ["two/run"]
