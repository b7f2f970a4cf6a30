"""The problems that are compared on: their data, and their equilibria and gradients in double precision by NumPy.

All are r = φ(rH + c) with a cost C of r, a row a sample; then dC/dc = δ with δ = (∂C/∂r + δHᵀ)·φ'.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from worker import JUDGED

Arrays = Mapping[str, np.ndarray]
FIRST, SECOND, OUT = LAYERS = slice(0, 256), slice(256, 512), slice(512, 522)


@dataclass
class Equation:
    """One batch.

    - `activation`: φ of rH + c; `slope`: φ' as a function of r.
    - `cost_gradient`: ∂C/∂r of every sample.
    - `parts`: the gradients of the mean of C, of r and δ.
    """

    coupling: np.ndarray
    injection: np.ndarray
    activation: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    cost_gradient: Callable[[np.ndarray], np.ndarray]
    parts: Callable[[np.ndarray, np.ndarray], list[np.ndarray]]

    def residual(self, r: np.ndarray) -> np.ndarray:
        return self.activation(r @ self.coupling + self.injection) - r

    def gradient(self) -> np.ndarray:
        r = np.zeros_like(self.injection)
        while np.abs(step := self.residual(r)).max() > 1e-13:
            r += step
        slope = self.slope(r)
        matrix = np.eye(r.shape[1]) - slope[:, :, None] * self.coupling
        delta = np.linalg.solve(matrix, (slope * self.cost_gradient(r))[:, :, None])[:, :, 0]
        return np.concatenate([part.ravel() for part in self.parts(r, delta)])


def digits() -> dict[str, np.ndarray]:
    """scikit-learn's digits, enlarged to 28 by 28, in random order."""
    images, labels = load_digits(return_X_y=True)
    images = np.kron(images.reshape(-1, 8, 8) / 16, np.ones((1, 3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).reshape(-1, 784)
    order = np.random.default_rng(0).permutation(len(images))
    return {"x": images[order].astype(np.float32), "y": labels[order]}


def random_tanh() -> dict[str, np.ndarray]:
    """z = tanh(Wz + Ux + b) with a spectral radius of 0.8, and targets y."""
    rng = np.random.default_rng(0)
    W = rng.normal(size=(256, 256))
    arrays = {
        "W": 0.8 * W / np.abs(np.linalg.eigvals(W)).max(),
        "U": rng.normal(size=(256, 64)) / 8,
        "b": 0.1 * rng.normal(size=256),
        "x": rng.normal(size=(1500, 64)),
        "y": np.tanh(rng.normal(size=(1500, 256))),
    }
    return {name: a.astype(np.float32) for name, a in arrays.items()}


def chain(to_second: np.ndarray, to_first: np.ndarray, to_out: np.ndarray, from_out: np.ndarray) -> np.ndarray:
    """H of two hidden layers and an output."""
    H = np.zeros((522, 522))
    H[FIRST, SECOND], H[SECOND, FIRST], H[SECOND, OUT], H[OUT, SECOND] = to_second, to_first, to_out, from_out
    return H


def tied(a: Arrays, x: np.ndarray, y: np.ndarray) -> Equation:
    """Hard sigmoids, a linear output, squared error."""
    b1, b2, b3, W0, W1, W2 = (a[str(i)] for i in range(6))
    low, high = (np.repeat(ends, (512, 10)) for ends in ((0.0, -np.inf), (1.0, np.inf)))

    def parts(r: np.ndarray, delta: np.ndarray) -> list[np.ndarray]:
        M = r.T @ delta / len(x)
        both_ways = [M[s, t] + M[t, s].T for s, t in ((FIRST, SECOND), (SECOND, OUT))]
        return [*(delta[:, layer].mean(0) for layer in LAYERS), x.T @ delta[:, FIRST] / len(x), *both_ways]

    return Equation(
        chain(W1, W1.T, W2, W2.T),
        np.pad(x @ W0, ((0, 0), (0, 266))) + np.concatenate([b1, b2, b3]),
        activation=lambda u: np.clip(u, low, high),
        slope=lambda r: (low < r) & (r < high),
        cost_gradient=lambda r: np.pad(r[:, OUT] - np.eye(10)[y], ((0, 0), (512, 0))),
        parts=parts,
    )


def untied(a: Arrays, x: np.ndarray, y: np.ndarray) -> Equation:
    """Sigmoids, cross entropy of a linear readout. The gradient is that of the kernels between layers."""
    kernels = [a[f"{name}/kernel"] for name in ("l1-l2", "l2-l1", "l2-out", "out-l2")]
    biases = np.concatenate([a[f"{name}/bias"] for name in ("in-l1", "l1-l2", "l2-out")])

    def cost_gradient(r: np.ndarray) -> np.ndarray:
        p = np.exp(r[:, OUT] @ a["readout/kernel"] + a["readout/bias"])
        error = p / p.sum(1, keepdims=True) - np.eye(10)[y]
        return np.pad(error @ a["readout/kernel"].T, ((0, 0), (512, 0)))

    def parts(r: np.ndarray, delta: np.ndarray) -> list[np.ndarray]:
        M = r.T @ delta / len(x)
        return [x.T @ delta[:, FIRST] / len(x), M[FIRST, SECOND], M[SECOND, FIRST], M[SECOND, OUT], M[OUT, SECOND]]

    return Equation(
        chain(*kernels),
        np.pad(x @ a["in-l1/kernel"], ((0, 0), (0, 266))) + biases,
        activation=lambda u: 1 / (1 + np.exp(2 - 4 * u)),
        slope=lambda r: 4 * r * (1 - r),
        cost_gradient=cost_gradient,
        parts=parts,
    )


def dense_tanh(a: Arrays, x: np.ndarray, y: np.ndarray) -> Equation:
    return Equation(
        a["W"].T,
        x @ a["U"].T + a["b"],
        activation=np.tanh,
        slope=lambda r: 1 - r**2,
        cost_gradient=lambda r: r - y,
        parts=lambda r, delta: [delta.T @ r / len(x), delta.T @ x / len(x), delta.mean(0)],
    )


PROBLEMS = {"step": (digits, tied), "deq": (random_tanh, dense_tanh), "holo": (digits, untied)}
"""What makes the data, and the equation of a batch, by the name of the comparison."""


def equations(comparison: str, arrays: Arrays) -> list[Equation]:
    """Of the batches that are judged."""
    double = {name: a.astype(float) if a.dtype == np.float32 else a for name, a in arrays.items()}
    return [PROBLEMS[comparison][1](double, double["x"][batch], double["y"][batch]) for batch in JUDGED]
