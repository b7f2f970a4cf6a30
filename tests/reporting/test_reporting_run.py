"""A run directory is read whole, its damage is said, and what is no run is refused in one line."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from equiprop.errors import InputError
from equiprop.reporting import find_runs, html_report, read_run, read_runs

WriteRun = Callable[..., Path]


def test_a_finished_run_is_read_whole(write_run: WriteRun) -> None:
    run = read_run(write_run())
    assert run.name == "homeostasis"
    assert run.state == "finished"
    assert run.warnings == ()
    assert run.config["system"]["hidden"] == [16, 8]
    assert run.manifest["device"] == "cpu"
    assert [epoch["epoch"] for epoch in run.metrics] == [1, 2, 3]
    assert run.summary is not None
    assert run.summary["test_error_percent"] == 8.25
    assert dataclasses.is_dataclass(run)
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.name = "other"  # type: ignore[misc]


def test_the_name_of_the_folder_one_stands_in(write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_run())
    assert read_run(".").name == "homeostasis"


def test_a_half_written_last_line_is_excluded_and_said(write_run: WriteRun) -> None:
    run = read_run(write_run(summary=None, epochs=2, tail='{"epoch": 3, "train_lo'))
    assert [epoch["epoch"] for epoch in run.metrics] == [1, 2]
    assert any("cut off" in warning and "line 3" in warning for warning in run.warnings)


def test_a_last_line_cut_inside_a_character_is_excluded(write_run: WriteRun) -> None:
    folder = write_run(epochs=1)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write('{"note": "é'.encode()[:-1])
    run = read_run(folder)
    assert len(run.metrics) == 1
    assert len(run.warnings) == 1


def test_a_complete_last_line_without_its_newline_counts(write_run: WriteRun) -> None:
    run = read_run(write_run(epochs=1, tail=json.dumps({"epoch": 2})))
    assert len(run.metrics) == 2
    assert run.warnings == ()


def test_a_run_without_summary_is_unfinished(write_run: WriteRun) -> None:
    run = read_run(write_run(summary=None, epochs=2))
    assert run.state == "unfinished"
    assert run.summary is None
    assert "2 of 3 epochs" in run.warnings[0]


def test_a_run_that_has_only_just_begun(write_run: WriteRun) -> None:
    folder = write_run(summary=None)
    (folder / "metrics.jsonl").unlink()
    run = read_run(folder)
    assert run.metrics == []
    assert "0 of 3 epochs" in run.warnings[0]


def test_a_missing_manifest_is_said(write_run: WriteRun) -> None:
    run = read_run(write_run(manifest=None))
    assert run.manifest == {}
    assert "manifest.json" in run.warnings[0]


def test_a_resumed_run_replaces_the_epochs_it_repeats(write_run: WriteRun) -> None:
    tail = json.dumps({"epoch": 2, "train_loss": 0.25}) + "\n"
    run = read_run(write_run(epochs=3, tail=tail))
    assert [epoch["epoch"] for epoch in run.metrics] == [1, 2]
    assert run.metrics[-1]["train_loss"] == 0.25
    assert any("goes back to epoch 2" in warning for warning in run.warnings)


def test_values_that_are_not_finite_are_said_once(write_run: WriteRun) -> None:
    tail = "".join(f'{{"epoch": {epoch}, "train_loss": NaN}}\n' for epoch in (4, 5))
    run = read_run(write_run(tail=tail))
    assert [warning for warning in run.warnings if "train_loss" in warning and "epoch 4" in warning] == list(
        run.warnings
    )


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("config.toml", "dataset = ", "TOML"),
        ("config.toml", b"\xff\xfe", "TOML"),
        ("manifest.json", "{", "JSON"),
        ("manifest.json", "[1]", "JSON"),
        ("summary.json", "", "JSON"),
        ("metrics.jsonl", '{"epoch": 1\n{"epoch": 2}\n', "JSON on line 1"),
        ("metrics.jsonl", "3\n{}\n", "JSON on line 1"),
    ],
)
def test_a_corrupt_file_is_refused_in_one_line(
    write_run: WriteRun, file: str, content: str | bytes, expected: str
) -> None:
    folder = write_run()
    (folder / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=expected) as caught:
        read_run(folder)
    message = str(caught.value)
    assert file in message
    assert "restore" in message
    assert "\n" not in message


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^run = '.*nothing': does not exist; give the folder of a run"):
        read_run(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^run = '.*file': is a file; give the folder of a run"):
        read_run(tmp_path / "file")
    with pytest.raises(
        InputError, match=r"^run = .*: is not a run, it has no config\.toml; give one that `equiprop train` wrote"
    ):
        read_run(tmp_path)


def test_runs_are_found_in_order_and_the_rest_passed_over(write_run: WriteRun, tmp_path: Path) -> None:
    for name in ("sweep/seed-10", "sweep/seed-2", "alone", ".hidden/run", "alone/checkpoints/copy"):
        write_run(name)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.toml").write_text("this is = 'of another tool'")
    assert [run.name for run in find_runs(tmp_path)] == ["alone", "seed-2", "seed-10"]
    assert [run.name for run in find_runs(tmp_path / "alone")] == ["alone"]


def test_a_broken_run_does_not_stop_the_listing(write_run: WriteRun, tmp_path: Path) -> None:
    write_run("good")
    (write_run("bad") / "summary.json").write_text("{")
    bad, good = find_runs(tmp_path)
    assert (bad.state, good.state) == ("unfinished", "finished")
    assert "cannot be read" in bad.warnings[0]


def test_a_root_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^runs = '.*nothing': is not a folder; give the folder"):
        find_runs(tmp_path / "nothing")


@pytest.mark.slow
def test_of_several_runs_a_damaged_one_is_named_and_the_others_are_read(write_run: WriteRun, tmp_path: Path) -> None:
    good, bad = write_run("good"), write_run("bad")
    (bad / "summary.json").write_text('{"epochs": ' + "9" * 400 + "}")
    first, second = read_runs([bad, good])
    assert (first.name, first.config, second) == ("bad", {}, read_run(good))
    assert first.warnings[0].startswith(f"cannot be read: {bad / 'summary.json'}: is not valid JSON (a whole number")
    assert "cannot be read" in html_report([first, second])
    with pytest.raises(InputError, match="is not valid JSON"):
        read_runs([bad])
    with pytest.raises(InputError, match="does not exist"):
        read_runs([good, tmp_path / "none"])


@pytest.mark.parametrize("name", ["manifest.json", "summary.json", "metrics.jsonl"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(write_run: WriteRun, tmp_path: Path, name: str) -> None:
    write_run("good")
    bad = write_run("bad", summary=None)
    (bad / name).unlink(missing_ok=True)
    os.mkfifo(bad / name)
    assert [run.state for run in find_runs(tmp_path)] == ["unfinished", "finished"]
    assert "is a device or a pipe; give a file" in find_runs(tmp_path)[0].warnings[0]
