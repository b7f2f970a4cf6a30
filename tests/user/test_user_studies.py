"""Every study with its quick preset, from start to verdict."""

import json

import pytest
from commands import equiprop

from equiprop.studies import STUDIES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", STUDIES.members())
def test_every_study_ends_in_a_verdict(tmp_path, name):
    out = tmp_path / "study"
    said = equiprop("study", name, "--preset", "quick", "--out", out)
    found = json.loads((out / "study.json").read_text())
    assert (
        found["failed"] == {}
        and all(" ".join(one.split()) in " ".join(said.split()) for one in found["verdict"])
        and found["trained"]
    )
    page = (out / "README.md").read_text()
    assert found["question"] in page and all(one in page for one in found["verdict"])
    assert all((out / f"{line}.png").is_file() for line in _pictures(page))


def _pictures(page):
    return [line.rpartition("(")[2].removesuffix(".png)") for line in page.splitlines() if line.startswith("![")]
