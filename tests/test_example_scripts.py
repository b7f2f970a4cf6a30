"""Every script of `examples/` runs as a user runs it, in the precision that is the default, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[1] / "examples"


def numbers(text, pattern):
    """Of every line that has the pattern, the numbers in it."""
    found = [tuple(map(float, each)) for each in re.findall(pattern, text)]
    assert found, text
    return found


def number(text, pattern):
    found = re.search(pattern, text)
    assert found, text
    return float(found.group(1))


N = r"(-?[\d.]+)"


def check_arrays(text, folder):
    assert number(text, rf"test error {N} %") < 20
    assert len(re.findall(r"^ ?\[+ *\d+ +\d+ +\d+\]+$", text, flags=re.M)) == 3
    assert (folder / "runs/wine/weights.npz").is_file() and (folder / "runs/wine/report.html").is_file()


def check_hopfield_regression(text, folder):
    ((error, variance),) = numbers(text, rf"mean squared error {N}, of the targets' variance {N}")
    assert error < 0.1 * variance


def check_attention(text, folder):
    without, treated = numbers(text, rf"error +{N} %  symmetry {N}  cosine to the exact gradient {N}")
    assert treated[1] > without[1] + 0.1 and treated[2] > without[2] + 0.2
    assert max(treated[0], without[0]) < 40


def check_layer_in_a_network(text, folder):
    assert number(text, rf"cosine to the exact one {N}") > 0.999
    assert number(text, rf"training error {N} %") < 10


def check_two_outputs(text, folder):
    assert number(text, rf"agrees with {N} %") > 65


def check_scheduled_nudge(text, folder):
    constant, cosine, own = numbers(text, rf"off by up to {N}% -> {N}%")
    assert cosine[1] < constant[1] / 3 and own[1] < constant[1] / 3


def check_five_seeds(text, folder):
    ((mean, deviation, count),) = numbers(text, rf"validation error {N} ± {N} % over {N} seeds")
    assert count == 5 and 0 < deviation < mean < 50


def check_fine_tuning(text, folder):
    before, after = (float(each) for each in re.findall(rf": validation error {N} %", text))
    assert after < before - 10


def check_wandb_offline(text, folder):
    (record,) = folder.glob("wandb/offline-run-*")
    assert [*record.glob("run-*.wandb")]


CHECKS = {name.removeprefix("check_"): check for name, check in globals().items() if name.startswith("check_")}


def test_every_example_is_checked_and_listed():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == set(CHECKS)
    assert all(f"[{name}.py]({name}.py)" in (FOLDER / "README.md").read_text(encoding="utf-8") for name in names)


@pytest.mark.parametrize("name", CHECKS)
def test_example(name, tmp_path):
    quick = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "WANDB_SILENT": "true", "HOME": str(tmp_path),
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"], cwd=tmp_path, env=quick, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    CHECKS[name](ended.stdout, tmp_path)
