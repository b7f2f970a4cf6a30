"""Parameters that come back from a file, or from another program, are the system's again."""

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import equiprop as ep

X = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
A, B = (ep.mlp(4, (6,), 3, key=jax.random.key(seed)) for seed in (0, 1))


def state(system):
    return ep.relax(system, X).state["output"]


@pytest.mark.parametrize(("name", "read"), [("w.npz", np.load), ("w.safetensors", load_file)])
def test_what_was_written_is_read(tmp_path, name, read):
    again = ep.with_parameters(B, read(ep.write_parameters(A, tmp_path / name)))
    assert np.array_equal(state(again), state(A)) and not np.array_equal(state(B), state(A))
    assert jax.tree.structure(again) == jax.tree.structure(A)


def test_they_take_the_precision_of_the_system():
    half = {name: values.astype(np.float16) for name, values in ep.named_parameters(A).items()}
    again = ep.named_parameters(ep.with_parameters(B, half))
    assert all(again[name].dtype == values.dtype for name, values in ep.named_parameters(B).items())
    assert all(np.array_equal(again[name], half[name]) for name in half)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights.input->hidden": None}, "did you mean 'weights.input->hidden_1'"),
        ({"cost.bias": None}, "parameters: has no cost.bias"),
        ({"cost.bias": np.zeros(4)}, r"cost.bias: has the shape \(4,\), and the system's \(3,\)"),
        ({"cost.bias": np.zeros(3, complex)}, "cost.bias: must be real numbers, not complex128"),
    ],
)
def test_what_does_not_fit_is_refused(change, told):
    given = ep.named_parameters(A)
    for name, values in change.items():
        if values is None:
            given[name] = given.pop(name, np.zeros(1))
            if name == "cost.bias":
                del given[name]
        else:
            given[name] = values
    with pytest.raises(ep.InputError, match=told):
        ep.with_parameters(A, given)
