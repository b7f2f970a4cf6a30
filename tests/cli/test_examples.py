"""The experiments that come with the project, and the README's example, do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from equiprop.data import names
from equiprop.experiment import SECTIONS, Config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.toml")), ids=lambda p: p.stem)
def test_experiments_are_valid(path):
    config = Config.from_file(path)
    assert config.dataset in names()
    for section in SECTIONS:
        getattr(config, section).create()


@pytest.mark.slow
def test_readme_example_runs():
    """The Python of the README, as it stands there."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S))
    quick = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    answer = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=quick)
    assert answer.returncode == 0, answer.stderr
    assert len(answer.stdout.splitlines()) >= 1
