"""Every notebook runs from top to bottom, with its sliders as they are, and shows what it says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

FOLDER = Path(__file__).parents[1] / "notebooks"


def check_two_biases(found):
    off = found["by_nudge"]
    assert off[1] > off[2] > off[4] > off[6] > off[8] and off[8] < 1e-3
    assert found["by_asymmetry"] > 0.5 and found["left"] < 5e-3
    assert found["lengths"] == pytest.approx(1, abs=1e-9) and 0 < found["angle"] <= found["most"]


def check_homeostasis(found):
    assert found["cosines"]["homeostasis"] > 0.99 and found["cosines"]["none"] < 0.8
    assert found["angles"]["homeostasis"] < 1 and found["angles"]["none"] > 45
    assert found["bars"]["homeostasis"] < 0.1 < found["bars"]["none"]


def check_device(found):
    assert found["downhill"] == 1 and np.all(found["cosines"] > 0.4) and len(found["cosines"]) == 10
    assert {"nudge", "noise", "mismatch"} <= {cause for cause, size in found["causes"].items() if size > 0.03}


def check_layer(found):
    assert found["cosine"] > 0.999
    assert found["losses"][-1] < 0.5 * found["losses"][0] and found["error"] < 25


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_notebook(path):
    spec = importlib.util.spec_from_file_location(f"notebook_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, found = module.app.run()
    globals()[f"check_{path.stem}"](found)
