"""What the README prints of the main job is what `make run` prints."""

import re
from pathlib import Path

import pytest
from commands import equiprop

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUNS = ("homeostasis", "plain", "adjoint")
NUMBER = r"\d+(?:\.\d+)?"


def rows(table):
    """Name of a row: the text of every column."""
    lines = [re.split(r"  +", line.strip()) for line in table.splitlines() if re.search(r"\S  +\S", line)]
    assert all(len(cells) in (len(RUNS), len(RUNS) + 1) for cells in lines), lines
    return {cells[0]: cells[1:] for cells in lines if len(cells) > len(RUNS)}


def numbers(cell):
    return [float(n) for n in re.findall(NUMBER, cell)]


def test_the_main_job(tmp_path):
    """Row for row. On another processor means of three seeds are within their spread, and methods in the same order."""
    (printed,) = re.findall(
        r"^```\n( +homeostasis +plain +adjoint\n.*?)^report: ", (ROOT / "README.md").read_text(), re.M | re.S
    )
    theirs = rows(printed)
    for name in RUNS:
        equiprop("train", "--config", ROOT / f"experiments/digits_{name}.toml", "--out", tmp_path / name)
    ours = rows(equiprop("report", *(tmp_path / name for name in RUNS), "--out", tmp_path).partition("report: ")[0])
    assert ours.keys() == theirs.keys()
    # The bar of a gradient is small or large, and how small is chance; which of many equal connections is named, too.
    for name in theirs.keys() - {"seconds", "gradient bar (%)"}:
        for mine, told in zip(ours[name], theirs[name], strict=True):
            if "±" in told:
                (mean, spread, *_), (other, *_) = numbers(told), numbers(mine)
                assert abs(mean - other) <= 3 * spread + 0.01, (name, mine, told)
            elif "smallest" not in name and "angle" not in name:
                assert mine == told, name
    error, bar = ([numbers(cell)[0] for cell in ours[name]] for name in ("test error (%)", "gradient bar (%)"))
    assert error[1] > 2 * error[0] and bar[1] > 50 > 10 > max(bar[0], bar[2]), (error, bar)
