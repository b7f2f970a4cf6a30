"""What is handed out: one version everywhere, and archives that are the same whenever they are built."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from compatibility import OLDEST, PROJECT, constraints, lower_bounds

import equiprop as ep

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("file", "says"), [("CITATION.cff", r"^version: (.+)$"), ("CHANGELOG.md", r"^## (\S+)")])
def test_one_version(file, says):
    assert re.findall(says, (ROOT / file).read_text("utf-8"), re.M)[0] == ep.__version__


def test_everything_that_is_needed_has_a_lower_bound_that_can_be_tried():
    """`make compat` installs just those."""
    bounds = lower_bounds(PROJECT["dependencies"])
    assert len(bounds) == len(PROJECT["dependencies"]) and "jax" in bounds
    assert constraints(OLDEST, "newest") == ""
    assert constraints(OLDEST, "oldest").splitlines() == [f"{name}=={version}" for name, version in bounds.items()]
    assert constraints((3, 99), "oldest") == f"jax=={bounds['jax']}\n"


def built(folder, when):
    environment = os.environ | {"SOURCE_DATE_EPOCH": when}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.mark.slow
def test_archives_are_reproducible_and_whole(tmp_path):
    archives = built(tmp_path / "a", "1700000000")
    assert archives == built(tmp_path / "b", "1700000000") and len(archives) == 2
    (wheel,) = (tmp_path / "a").glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        f"equiprop/{p.relative_to(ROOT / 'src/equiprop').as_posix()}" for p in (ROOT / "src/equiprop").rglob("*.py")
    }
    settings = {f"equiprop/studies/settings/{p.name}" for p in (ROOT / "experiments/studies").glob("*.toml")}
    assert sources | settings | {"equiprop/py.typed"} <= held
    assert all(name.startswith(("equiprop/", f"equiprop-{ep.__version__}.dist-info/")) for name in held)
