"""Activations against SciPy and naive complex arithmetic; derivatives against complex finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from equiprop.errors import InputError
from equiprop.numerics import ACTIVATIONS, activation

NAMES = list(ACTIVATIONS.members())
HOLOMORPHIC = [name for name in NAMES if activation(name).holomorphic]


def naive(name, z):
    """The formula of the docstring, in NumPy's own complex arithmetic."""
    match name:
        case "shifted_sigmoid":
            return 1 / (1 + np.exp(-4 * z + 2))
        case "dsilu":
            return 0.5 * z / (1 + np.exp(-z)) + (1 - 0.5 * z) / (1 + np.exp(2 - z))
        case "tanh":
            return np.tanh(z)
        case "identity":
            return z
        case "relu":
            return np.where(np.real(z) > 0, z, 0)
        case "hard_sigmoid":
            return np.where(np.real(z) < 0, 0, np.where(np.real(z) > 1, 1, z))
    raise AssertionError(name)


RNG = np.random.default_rng(0)
REAL = np.concatenate([RNG.uniform(-8, 8, 300), [0, 0.5, 1]])
# Away from the poles, which for these functions lie at |Im z| ≥ π/4.
COMPLEX = RNG.uniform(-6, 6, 300) + 1j * RNG.uniform(-0.7, 0.7, 300)


@pytest.mark.parametrize("name", NAMES)
def test_real_values(name):
    assert np.allclose(activation(name)(jnp.asarray(REAL)), naive(name, REAL), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_complex_values(name):
    assert np.allclose(activation(name)(jnp.asarray(COMPLEX)), naive(name, COMPLEX), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_derivative_is_the_same_in_every_direction(name):
    """Holomorphic: f'(z) by automatic differentiation equals the difference quotient along any complex direction."""
    function, z = activation(name), jnp.asarray(COMPLEX)
    derivative = jax.jit(jax.vmap(jax.grad(function, holomorphic=True)))(z)
    along = jax.jit(lambda tangent: jax.jvp(function, (z,), (tangent,))[1])
    for angle in (0, 0.5, np.pi / 2, 2.5):
        step = 1e-5 * np.exp(1j * angle)
        quotient = (naive(name, COMPLEX + step) - naive(name, COMPLEX - step)) / (2 * step)
        assert np.allclose(derivative, quotient, rtol=1e-6, atol=1e-8)
        assert np.allclose(along(np.full(COMPLEX.shape, step)), derivative * step, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dtype_is_kept(name, dtype):
    assert activation(name)(jnp.ones(3, dtype)).dtype == jnp.dtype(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shifted_sigmoid", "tanh"])
@pytest.mark.parametrize("size", [-1e4, -300.0, 300.0, 1e4])
def test_saturates_without_overflow(name, size):
    """exp(1e4) is infinite; the functions and their derivatives are not."""
    limit = {"shifted_sigmoid": expit(4 * size - 2), "tanh": np.tanh(size)}[name]
    z = jnp.asarray(size + 0.3j)
    assert np.allclose(activation(name)(z), limit)
    assert np.isfinite(jax.grad(activation(name), holomorphic=True)(z))


@pytest.mark.parametrize(
    ("name", "pole"),
    [
        ("shifted_sigmoid", 0.5 + 0.25j * np.pi),
        ("shifted_sigmoid", 0.5 - 0.75j * np.pi),
        ("tanh", 0.5j * np.pi),
        ("dsilu", 1j * np.pi),
        ("dsilu", 2 - 1j * np.pi),
    ],
)
def test_singularity_distance_at_a_pole(name, pole):
    """The function really blows up there like 1/distance, and the reported distance is the distance."""
    a = activation(name)
    for distance in (1e-4, 1e-5):
        z = pole + distance * np.exp(0.7j)
        assert np.isclose(a.singularity_distance(jnp.asarray(z)), distance)
        # f·distance tends to the modulus of the residue, which is not zero.
        residue = abs(complex(a(jnp.asarray(z)))) * distance
        assert residue == pytest.approx(abs(naive(name, pole + 1e-6)) * 1e-6, rel=0.01)
        assert residue > 0.1


def test_nearest_pole_is_found_by_search():
    poles = np.array([0.5 + 1j * np.pi / 4 * (2 * k + 1) for k in range(-6, 6)])
    found = activation("shifted_sigmoid").singularity_distance(jnp.asarray(COMPLEX))
    assert np.allclose(found, np.abs(poles - COMPLEX[:, None]).min(axis=1))


def test_entire_function_has_no_singularity():
    assert np.isinf(activation("identity").singularity_distance(jnp.ones(2))).all()


def test_kinks_are_marked():
    assert not activation("relu").holomorphic
    assert not activation("hard_sigmoid").holomorphic
    assert np.isclose(activation("hard_sigmoid").singularity_distance(jnp.asarray(0.8 + 1j)), 0.2)


def test_unknown_name():
    with pytest.raises(InputError, match=r"activation = 'tahn': is not known; choose one of.*did you mean 'tanh'"):
        activation("tahn")
