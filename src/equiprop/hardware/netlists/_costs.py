"""Gradients of costs as formulas of voltages."""

from typing import Any

import numpy as np

from equiprop.errors import InputError
from equiprop.hardware.netlists._circuit import Circuit, number
from equiprop.numerics import AbstractCost, SoftmaxCrossEntropy, SoftmaxReadout, SquaredError


def cost_gradients(circuit: Circuit, cost: AbstractCost, reads: list[str], target: Any) -> list[str]:
    """∂C/∂r of each output, of one sample. Raises `InputError` for a cost whose gradient is no formula here, or no target."""
    if target is None:
        raise InputError("is needed, as there is a nudge", path="target")
    outputs, wanted = len(reads), np.asarray(target)
    if isinstance(cost, SquaredError):
        return [f"v({read})-({number(y)})" for read, y in zip(reads, _one_row(wanted, outputs), strict=True)]
    if isinstance(cost, SoftmaxReadout):
        weight, bias = np.asarray(cost.weight, float), np.asarray(cost.bias, float)
    elif isinstance(cost, SoftmaxCrossEntropy):
        weight, bias = np.eye(outputs), np.zeros(outputs)
    else:
        hint = "choose squared_error, softmax_cross_entropy or softmax_readout, or leave the nudge out"
        raise InputError("the gradient of this cost has no formula", path="cost", value=type(cost).__name__, hint=hint)
    classes = len(bias)
    desired = _one_row(wanted, classes)
    for k in range(classes):
        terms = [f"({number(weight[i, k])})*v({read})" for i, read in enumerate(reads) if weight[i, k]]
        circuit.voltage(f"z{k}", f"z{k}", " + ".join([*terms, f"({number(bias[k])})"]))
    for k in range(classes):
        # No exponential of it can be too large where another class is the right one.
        parts = " + ".join(f"exp(v(z{other})-v(z{k}))" for other in range(classes))
        circuit.voltage(f"d{k}", f"d{k}", f"{number(desired.sum())}/( {parts} ) - ({number(desired[k])})")
    return [
        " + ".join(f"({number(weight[i, k])})*v(d{k})" for k in range(classes) if weight[i, k]) or "0"
        for i in range(outputs)
    ]


def _one_row(target: np.ndarray, size: int) -> np.ndarray:
    """A target of one sample as numbers, labels as one-hot."""
    if np.issubdtype(target.dtype, np.integer) and target.size == 1 and size > 1:
        return np.eye(size)[int(target.ravel()[0])]
    if target.size != size:
        raise InputError(f"must be of one sample, a label or {size} numbers", path="target")
    return target.astype(float).ravel()
