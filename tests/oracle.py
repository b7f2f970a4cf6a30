"""The same physics in NumPy and SciPy, written independently of the library: dense matrices, no batches, no JAX."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import expit, log_softmax, softmax

from equiprop.systems import LayeredNetwork


def shifted_sigmoid(u):
    return expit(4 * u - 2)


def shifted_sigmoid_slope(u):
    return 4 * expit(4 * u - 2) * (1 - expit(4 * u - 2))


@dataclass
class Dense:
    """u̇ = r·M + input − u with r = φ(u), all populations in one vector; one sample at a time.

    What leads back from b to a is multiplied by μ_a/μ_b.
    """

    matrix: np.ndarray
    slices: dict[str, slice]
    network: LayeredNetwork

    @classmethod
    def of(cls, network: LayeredNetwork) -> "Dense":
        names = sorted(network.biases)
        sizes = [network.biases[n].shape[0] for n in names]
        ends = np.cumsum([0, *sizes])
        slices = {n: slice(a, b) for n, a, b in zip(names, ends[:-1], ends[1:], strict=True)}
        matrix = np.zeros((ends[-1], ends[-1]))
        for c in network.topology.connections:
            if c.source == "input":
                continue
            forward = np.asarray(network.weights[c.name])
            matrix[slices[c.source], slices[c.target]] += forward
            if c.source == c.target:
                if c.feedback == "tied":
                    matrix[slices[c.source], slices[c.target]] += forward.T
            elif c.feedback == "tied":
                matrix[slices[c.target], slices[c.source]] += cls.back(network, c) * forward.T
            elif c.feedback == "untied":
                feedback = np.asarray(network.weights[c.feedback_name]).T
                matrix[slices[c.target], slices[c.source]] += cls.back(network, c) * feedback
        return cls(matrix, slices, network)

    @staticmethod
    def back(network, connection):
        mobility = {p.name: p.mobility for p in network.topology.populations}
        return mobility[connection.source] / mobility[connection.target]

    @property
    def mobility(self):
        """μ of every unit."""
        result = np.ones(len(self.matrix))
        for p in self.network.topology.relaxing:
            result[self.slices[p.name]] = p.mobility
        return result

    def in_metric(self, jacobian):
        """M^(−½)·J·M^½, M = diag(μ): symmetric for a gradient system."""
        root = np.sqrt(self.mobility)
        return jacobian * root / root[:, None]

    def injection(self, x):
        result = np.zeros(len(self.matrix))
        for name, part in self.slices.items():
            result[part] += np.asarray(self.network.biases[name])
        for c in self.network.topology.connections:
            if c.source == "input":
                result[self.slices[c.target]] += x.ravel() @ np.asarray(self.network.weights[c.name])
        return result

    def force(self, u, x):
        return shifted_sigmoid(u) @ self.matrix + self.injection(x) - u

    def equilibrium(self, x):
        answer = optimize.root(lambda u: self.force(u, x), np.zeros(len(self.matrix)), tol=1e-13)
        assert np.abs(answer.fun).max() < 1e-11
        return answer.x

    def jacobian(self, u):
        """∂F/∂r, J_ij = M_ji − δ_ij/φ′(u_i)."""
        return self.matrix.T - np.diag(1 / shifted_sigmoid_slope(u))

    def cost(self, u, y):
        scores = self.scores(u)
        return -log_softmax(scores)[y]

    def scores(self, u):
        r = shifted_sigmoid(u)[self.slices["output"]]
        return r @ np.asarray(self.network.cost.weight) + np.asarray(self.network.cost.bias)

    def cost_gradient(self, u, y):
        p = softmax(self.scores(u))
        p[y] -= 1
        gradient = np.zeros(len(self.matrix))
        gradient[self.slices["output"]] = np.asarray(self.network.cost.weight) @ p
        return gradient

    def adjoint(self, u, y):
        return -np.linalg.solve(self.jacobian(u).T, self.cost_gradient(u, y))

    def response(self, u, y):
        """As it is read, divided by the mobility."""
        return -np.linalg.solve(self.jacobian(u), self.cost_gradient(u, y)) / self.mobility

    def parameter_gradient(self, u, x, y, delta):
        """δᵀ∂F/∂θ and the direct gradient of the readout, by parameter name, of one sample."""
        r = shifted_sigmoid(u)
        gradient = {}
        for c in self.network.topology.connections:
            if c.source == "input":
                gradient[c.name] = np.outer(x.ravel(), delta[self.slices[c.target]])
                continue
            pre, post = self.slices[c.source], self.slices[c.target]
            forward = np.outer(r[pre], delta[post])
            backward = np.outer(delta[pre], r[post]) * self.back(self.network, c)
            if c.source == c.target:
                gradient[c.name] = forward + backward if c.feedback == "tied" else forward
            elif c.feedback == "tied":
                gradient[c.name] = forward + backward
            else:
                gradient[c.name] = forward
                if c.feedback == "untied":
                    gradient[c.feedback_name] = backward
        for name, part in self.slices.items():
            gradient[name] = delta[part]
        p = softmax(self.scores(u))
        p[y] -= 1
        gradient["readout"] = np.outer(r[self.slices["output"]], p)
        gradient["readout bias"] = p
        return gradient

    def flat(self, state):
        """A state of the library as one matrix [batch, units]."""
        return np.concatenate([np.asarray(state[name]) for name in self.slices], axis=1)


def gradient_by_name(gradient: LayeredNetwork) -> dict[str, np.ndarray]:
    """A gradient of the library under the names of `Dense.parameter_gradient`."""
    result = {name: np.asarray(g) for name, g in gradient.weights.items()}
    result |= {name: np.asarray(g) for name, g in gradient.biases.items()}
    return result | {"readout": np.asarray(gradient.cost.weight), "readout bias": np.asarray(gradient.cost.bias)}
