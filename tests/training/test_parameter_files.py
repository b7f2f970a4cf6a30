"""Parameters as files: every name and every type comes back, or is refused in one line."""

from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from safetensors.numpy import load_file

from equiprop.errors import InputError
from equiprop.training import write_parameters


class Some(eqx.Module):
    """A part of a system of one's own, with parameters of these names."""

    of: dict[str, Any]


@pytest.mark.parametrize("name", ["file", "allow_pickle", "arr_0", "input->hidden_1"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_parameter_may_have_any_name(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"

    class Named(eqx.Module):
        file: Any

    values = np.arange(3.0, dtype=np.float32)
    system: Any = Named(values) if name == "file" else Some({name: values})
    write_parameters(system, path)
    found = dict(np.load(path)) if suffix == ".npz" else load_file(path)
    (read,) = found.values()
    np.testing.assert_array_equal(read, values)


def test_a_type_that_a_file_cannot_hold_is_an_input_error(tmp_path: Path) -> None:
    system: Any = Some({"w": np.ones(2, np.complex128)})
    with pytest.raises(InputError, match=r"w\.safetensors: cannot be written \(.*complex128.*; choose \.npz") as caught:
        write_parameters(system, tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)
    path = write_parameters(system, tmp_path / "w.npz")
    (read,) = dict(np.load(path)).values()
    assert read.dtype == np.complex128
