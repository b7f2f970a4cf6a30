"""What is handed out: one version everywhere, and archives that are the same whenever they are built."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from compatibility import OLDEST, PROJECT, constraints, lower_bounds
from packaging.requirements import Requirement

import equiprop as ep

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("file", "says"), [("CITATION.cff", r"^version: (.+)$"), ("CHANGELOG.md", r"^## (\S+)")])
def test_one_version(file, says):
    assert re.findall(says, (ROOT / file).read_text("utf-8"), re.M)[0] == ep.__version__


def test_what_is_offered_is_there_and_is_ours():
    offered = dir(ep)
    assert {"mlp", "estimate", "InputError", "hardware", "__version__"} <= set(offered)
    assert not {"Mapping", "inspect", "importlib", "Any", "printable"} & set(offered)
    assert all(getattr(ep, name) is not None for name in offered)
    everything = {}
    exec("from equiprop import *", everything)
    assert set(offered) == set(everything) - {"__builtins__"}
    with pytest.raises(AttributeError, match="has no attribute 'printable'"):
        ep.printable  # noqa: B018


def test_everything_that_is_needed_has_a_lower_bound_that_can_be_tried():
    """`make compat` installs just those."""
    bounds = lower_bounds(PROJECT["dependencies"])
    assert len(bounds) == len(PROJECT["dependencies"]) and "jax" in bounds
    assert constraints(OLDEST, "newest") == ""
    assert constraints(OLDEST, "oldest").splitlines() == [f"{name}=={version}" for name, version in bounds.items()]
    assert constraints((3, 99), "oldest") == f"jax=={bounds['jax']}\n"


PERMISSIVE = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
    ),
    # Of files, not of the programs that use them.
    "MPL-2.0",
    # As packages say it that have no SPDX expression yet.
    *("Apache Software License", "Apache 2.0", "BSD License", "3-Clause BSD License", "MIT License", "Public Domain"),
    *("Mozilla Public License 2.0 (MPL 2.0)", "Python Software Foundation License", "ISC License (ISCL)"),
    "Historical Permission Notice and Disclaimer (HPND)",
}
EXTRAS = {*PROJECT["optional-dependencies"]} - {"test", "lint", "bench"}


def licences(name, extras, found):
    """What each distribution below one says of itself, by name: every part of an expression, or names of which one is enough."""
    try:
        about = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return
    key = (name, *sorted(extras))
    if key in found:
        return
    said = about.metadata.get("License-Expression")
    trove = [line.rpartition(":: ")[2] for line in about.metadata.get_all("Classifier", []) if "License :: " in line]
    if trove and not said:
        found[key] = [{one} for one in trove]
    else:
        expression = said or (about.metadata.get("License") or "").partition("\n")[0]
        found[key] = [set(re.split(r" AND | OR ", re.sub(r"[()]", "", expression)))]
    for needed in map(Requirement, about.requires or ()):
        if needed.marker is None or any(needed.marker.evaluate({"extra": each}) for each in extras or {""}):
            licences(needed.name, needed.extras, found)


@pytest.mark.parametrize("extra", ["", *sorted(EXTRAS)])
def test_whatever_is_installed_with_it_may_be_used_by_everyone(extra):
    found = {}
    licences("equiprop", {extra}, found)
    assert len(found) > 30
    for name, choice in found.items():
        assert any(each <= PERMISSIVE for each in choice), (name, choice)


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
