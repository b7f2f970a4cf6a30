"""Small run directories, written where a test wants them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from reporting_runs import write_run_into

WriteRun = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Writes a run directory under `tmp_path` and returns its path."""
    return partial(write_run_into, tmp_path)
