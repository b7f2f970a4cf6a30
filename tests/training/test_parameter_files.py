"""Parameters as files: every name and every type comes back, or is refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from equiprop.errors import InputError
from equiprop.numerics import AbstractCost, SquaredError
from equiprop.systems import System
from equiprop.training import write_parameters


class Own(System):
    """A system of one's own, whose parameters have names that NumPy has for its arguments."""

    cost: AbstractCost
    file: Any
    allow_pickle: Any

    def force(self, state: Any, injection: Any, only: Any = None) -> Any:
        raise NotImplementedError

    def initial_state(self, x: Any) -> Any:
        raise NotImplementedError

    def output(self, activity: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_parameter_may_have_any_name(tmp_path: Path, suffix: str) -> None:
    path = write_parameters(Own(SquaredError(), np.ones(2), np.arange(3.0)), tmp_path / f"w{suffix}")
    found = dict(np.load(path)) if suffix == ".npz" else load_file(path)
    np.testing.assert_array_equal(found["file"], np.ones(2))
    np.testing.assert_array_equal(found["allow_pickle"], np.arange(3.0))


def test_a_type_that_a_file_cannot_hold_is_an_input_error(tmp_path: Path) -> None:
    system = Own(SquaredError(), np.ones(2, np.complex128), np.ones(2))
    with pytest.raises(InputError, match=r"w\.safetensors: cannot be written \(.*complex128.*; choose \.npz") as caught:
        write_parameters(system, tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)
    assert dict(np.load(write_parameters(system, tmp_path / "w.npz")))["file"].dtype == np.complex128
