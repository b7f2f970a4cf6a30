"""Tests that need a circuit simulator."""

import os
import shutil

import pytest

needs_ngspice = pytest.mark.skipif(
    shutil.which("ngspice") is None and "EQUIPROP_NGSPICE" not in os.environ,
    reason="ngspice is not installed (with EQUIPROP_NGSPICE=1 that fails, as in .ci/run)",
)
