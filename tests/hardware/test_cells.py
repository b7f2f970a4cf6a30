"""What becomes of weights, each by its formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.hardware import Drift, Lines, Mismatch, Programming, Quantisation, Stuck, Update, WeightRange

KEY = jax.random.key(7)
WEIGHTS = jnp.asarray(np.random.default_rng(0).uniform(-1.2, 1.2, (60, 50)))


def held(part, weights=WEIGHTS, key=KEY):
    return np.asarray(part.stored(weights, part.draw(weights, key=key)))


def within_errors(values, mean, deviation):
    """Whether the mean of independent values is within four of its standard errors."""
    return abs(np.mean(values) - mean) <= 4 * deviation / np.size(values) ** 0.5


@pytest.mark.parametrize("part", [Quantisation, Programming, Mismatch, Stuck, Drift, Lines, WeightRange, Update])
def test_by_default_nothing_is_wrong(part):
    assert part().is_off


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_weights_are_on_the_nearest_of_all_levels(bits):
    levels = np.linspace(-1, 1, 2**bits - 1)
    found = held(Quantisation(bits=bits))
    nearest = levels[np.abs(np.asarray(WEIGHTS)[..., None] - levels).argmin(axis=-1)]
    np.testing.assert_allclose(found, nearest, atol=1e-15)


def test_stochastic_rounding_is_right_on_average_and_never_more_than_a_level_away():
    part, weights = Quantisation(bits=3, rounding="stochastic"), jnp.full((300, 300), 0.4)
    found = held(part, weights)
    assert set(np.unique(found)) == {1 / 3, 2 / 3}
    assert within_errors(found, 0.4, np.std(found))


def test_levels_have_no_derivative_but_that_of_what_they_stand_for():
    slope = jax.grad(lambda w: Quantisation(bits=3).stored(w, ()))
    assert [float(slope(jnp.asarray(w))) for w in (0.1, -0.9, 1.5)] == [1, 1, 0]


@pytest.mark.parametrize(("lowest", "highest"), [(0.0, np.inf), (-np.inf, 0.7), (-0.2, 0.5)])
def test_a_cell_holds_no_less_and_no_more(lowest, highest):
    part = WeightRange(lowest=lowest, highest=highest)
    np.testing.assert_array_equal(held(part), np.clip(np.asarray(WEIGHTS), lowest, highest))
    slope = np.asarray(jax.vmap(jax.grad(lambda w: part.stored(w, ())))(WEIGHTS.ravel()))
    inside = (np.ravel(WEIGHTS) > lowest) & (np.ravel(WEIGHTS) < highest)
    np.testing.assert_array_equal(slope, inside.astype(float))


def test_a_range_of_weights_must_be_one():
    with pytest.raises(InputError, match=r"^highest = 0\.1: must be above lowest = 0\.2"):
        WeightRange(lowest=0.2, highest=0.1)


def test_what_is_written_scatters_about_what_was_meant():
    off = held(Programming(noise=0.05)) - np.asarray(WEIGHTS)
    assert within_errors(off, 0, 0.05)
    assert within_errors(off**2, 0.05**2, 2**0.5 * 0.05**2)


def test_cells_have_gains_and_offsets_of_their_own():
    gains = held(Mismatch(gain=0.1)) / np.asarray(WEIGHTS) - 1
    offsets = held(Mismatch(offset=0.02)) - np.asarray(WEIGHTS)
    for found, size in ((gains, 0.1), (offsets, 0.02)):
        assert within_errors(found, 0, size)
        assert within_errors(found**2, size**2, 2**0.5 * size**2)
    both = held(Mismatch(gain=0.1, offset=0.02))
    np.testing.assert_allclose(both, (1 + gains) * np.asarray(WEIGHTS) + offsets, atol=1e-12)


def test_cells_that_are_stuck_hold_nothing_or_full_scale():
    found = held(Stuck(at_zero=0.1, at_full_scale=0.2))
    zero, full = found == 0, np.abs(found) == 1
    assert within_errors(zero, 0.1, (0.1 * 0.9) ** 0.5)
    assert within_errors(full, 0.2, (0.2 * 0.8) ** 0.5)
    assert within_errors(found[full], 0, 1)
    np.testing.assert_array_equal(found[~zero & ~full], np.asarray(WEIGHTS)[~zero & ~full])


def test_no_more_cells_can_be_stuck_than_there_are():
    with pytest.raises(InputError, match=r"at_full_scale = 0\.6: with at_zero that is more than all cells"):
        Stuck(at_zero=0.5, at_full_scale=0.6)


def test_weights_fade_by_a_power_law():
    found = held(Drift(exponent=0.06, time=3600.0, reference_time=20.0))
    np.testing.assert_allclose(found, np.asarray(WEIGHTS) * (3620 / 20) ** -0.06, rtol=1e-6)
    np.testing.assert_array_equal(held(Drift(exponent=0.06, spread=0.02)), WEIGHTS)


def test_each_cell_fades_by_an_exponent_of_its_own_and_none_grows():
    found = held(Drift(exponent=0.06, spread=0.03, time=9.0))
    exponents = -np.log10(found / np.asarray(WEIGHTS))
    assert exponents.min() == 0
    # Of a normal number cut off two standard deviations below its mean.
    assert within_errors(exponents, 0.06 + 0.03 * 0.008491, 0.03)


def crossbar(g, r):
    """The matrix from the voltages on the rows to the currents of the columns, by Kirchhoff's laws at every node."""
    m, n = g.shape
    row, column = np.arange(m * n).reshape(m, n), m * n + np.arange(m * n).reshape(m, n)
    matrix, source = np.zeros((2 * m * n, 2 * m * n)), np.zeros((2 * m * n, m))

    def conduct(a, b, conductance):
        matrix[a, a] += conductance
        if b is not None:
            matrix[b, b] += conductance
            matrix[a, b] -= conductance
            matrix[b, a] -= conductance

    for i in range(m):
        for j in range(n):
            conduct(row[i, j], column[i, j], g[i, j])
            conduct(row[i, j], row[i, j - 1] if j else None, 1 / r)
            conduct(column[i, j], column[i + 1, j] if i + 1 < m else None, 1 / r)
        source[row[i, 0], i] = 1 / r
    voltages = np.linalg.solve(matrix, source)
    return (voltages[column[-1]] / r).T


def test_what_wires_lose_is_right_to_first_order():
    g = np.random.default_rng(1).uniform(0, 1, (5, 4))
    errors = []
    for r in (1e-3, 1e-4):
        exact = crossbar(g, r)
        found = held(Lines(resistance=r, conductance=1.0), jnp.asarray(g))
        errors.append(np.abs(found - exact).max())
        assert errors[-1] < 0.1 * np.abs(g - exact).max()
    assert 80 < errors[0] / errors[1] < 125


def test_one_cell_is_in_series_with_its_wires():
    found = held(Lines(resistance=50.0, conductance=2e-4), jnp.asarray([[-0.5]]))
    np.testing.assert_allclose(found, [[-0.5 / (1 + 2 * 50 * 1e-4)]])


def test_a_matrix_is_cut_into_tiles_that_know_nothing_of_each_other():
    part = Lines(resistance=10.0, tile=30)
    whole = held(part)
    for i in range(2):
        for j in range(2):
            piece = np.s_[30 * i : 30 * (i + 1), 25 * j : 25 * (j + 1)]
            np.testing.assert_allclose(whole[piece], held(Lines(resistance=10.0), WEIGHTS[piece]), rtol=1e-12)


def test_what_is_read_from_the_other_side_is_the_transpose():
    exact = crossbar(np.random.default_rng(1).uniform(0, 1, (5, 4)), 0.01)
    other = crossbar(np.random.default_rng(1).uniform(0, 1, (5, 4))[::-1, ::-1].T, 0.01)
    np.testing.assert_allclose(exact, other[::-1, ::-1].T, rtol=1e-12)


def change(asked, weight=0.0, **settings):
    asked = jnp.asarray(asked, float)
    made = Update(**settings).made_of(asked, jnp.full_like(asked, weight), cells=KEY, key=jax.random.key(9))
    return np.asarray(made)


def test_pulses_are_whole_and_right_on_average():
    made = change(np.full((200, 200), -0.0025), step=0.001)
    assert {round(-1000 * float(c), 9) for c in np.unique(made)} == {2.0, 3.0}
    assert within_errors(made, -0.0025, np.std(made))
    np.testing.assert_allclose(change([0.5, -0.5], step=0.01, most_pulses=7), [0.07, -0.07])


def test_up_and_down_are_not_the_same_way():
    np.testing.assert_allclose(change([0.01, -0.01], asymmetry=0.3), [0.013, -0.007])
    np.testing.assert_allclose(change([0.01, -0.01], weight=0.5, nonlinearity=0.8), [0.006, -0.014])
    np.testing.assert_allclose(change([0.01, -0.01], weight=1.0, nonlinearity=1.0), [0, -0.02], atol=1e-12)


def test_cells_learn_at_paces_of_their_own_and_pulses_scatter():
    asked = np.full((200, 200), 0.01)
    gains = change(asked, spread=0.2) / 0.01 - 1
    down = change(-asked, spread=0.2) / -0.01 - 1
    assert within_errors(gains**2, 0.04, 2**0.5 * 0.04)
    assert within_errors(gains * down, 0, 0.04)
    # Ten pulses scatter by √10 less than one.
    scatter = change(asked, step=0.001, variation=0.3) / 0.01 - 1
    assert within_errors(scatter**2, 0.09 / 10, 2**0.5 * 0.09 / 10)


def test_a_bias_comes_with_every_update():
    none, some = change(np.zeros((200, 200)), bias=1e-3), change(np.full((200, 200), 0.1), bias=1e-3)
    np.testing.assert_allclose(some - 0.1, none, atol=1e-12)
    assert within_errors(none**2, 1e-6, 2**0.5 * 1e-6)
