"""Circuits against ngspice, which is an implementation of the same physics by other people; and its reader against damage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equiprop.errors import EquipropError, InputError
from equiprop.hardware import Device, Lines, Mismatch, Timing, Units
from equiprop.hardware.netlists import COUPLINGS, check_circuit, netlist, read_raw, simulate, transient
from equiprop.numerics import activation
from equiprop.solvers import GaussSeidel
from equiprop.systems import Connection, LayeredNetwork, Population, Stage, Topology, convolutional, from_force, mlp
from networks import IMAGE, batch, network
from simulator import needs_ngspice

SOLVER = GaussSeidel(tolerance=1e-10, max_steps=5000, nudged_max_steps=5000)
X, Y = batch(n=1)
EVERYTHING = Device(
    mismatch=Mismatch(gain=0.1),
    units=Units(gain=0.1, offset=0.05, saturation=2.0),
    timing=Timing(spread=0.2, pole=0.1, delay=0.2, delay_stages=2, slew=0.5),
)


def random_circuit(seed: int) -> tuple[LayeredNetwork, jax.Array, jax.Array]:
    """Of 5 to 60 units in one to three populations on a random graph, asymmetric, with one of the activations; and a sample."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(2, 24, draw.integers(1, 4)).tolist()
    activations = ("tanh", "shifted_sigmoid", "dsilu", "hard_sigmoid")
    names = [f"p{k}" for k in range(len(sizes))]
    populations = [Population("input", 4)]
    populations += [Population(n, s, activations[draw.integers(4)]) for n, s in zip(names, sizes, strict=True)]
    populations.append(Population("output", 3, "tanh"))
    order = [*names, "output"]
    connections = [Connection("input", name, "none") for name in names]
    for k, source in enumerate(order):
        for target in order[k:]:
            if source == target and source != "output":
                connections.append(Connection(source, target, "untied", 90.0))
            elif source != target:
                feedback = ("untied", "none", "tied")[draw.integers(3)]
                connections.append(Connection(source, target, feedback, *((70.0,) if feedback == "untied" else ())))
    system = LayeredNetwork.create(
        Topology(tuple(populations), tuple(connections)),
        classes=3,
        key=jax.random.key(seed),
        gain=0.6,
        cost=("squared_error", "softmax_readout", "softmax_cross_entropy")[seed % 3],
    )
    return system, jnp.asarray(draw.normal(size=(1, 4))), jnp.asarray(draw.integers(0, 3, 1))


@needs_ngspice
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_circuits_have_the_same_equilibria_responses_and_transients(seed):
    system, x, y = random_circuit(seed)
    found = check_circuit(system, x, y, nudge=0.1, until=4.0 if seed < 5 else None, solver=SOLVER)
    assert found.operating_point < 1e-4 and found.nudged_point is not None and found.nudged_point < 1e-4
    assert found.error_vector is not None and found.error_vector < 1e-3
    assert found.transient is None if seed >= 5 else found.transient is not None and found.transient < 0.01


@needs_ngspice
@pytest.mark.parametrize("couplings", COUPLINGS)
def test_a_chip_with_all_that_is_wrong_with_it(couplings):
    chip = EVERYTHING.instance(network("untied"), 1)
    found = check_circuit(chip, X, Y, nudge=0.1, couplings=couplings, solver=SOLVER)
    assert found.operating_point < 1e-7 and found.error_vector is not None and found.error_vector < 1e-6
    assert found.program.startswith("ngspice-")


@needs_ngspice
@pytest.mark.slow
@pytest.mark.parametrize("couplings", COUPLINGS)
def test_a_transient_with_lagging_wires_and_slew(couplings):
    chip = EVERYTHING.instance(network("tied"), 1)
    found = check_circuit(chip, X, Y, until=5.0, couplings=couplings, solver=SOLVER)
    assert found.transient is not None and found.transient < 1e-3 and found.error_vector is None


@needs_ngspice
@pytest.mark.parametrize("kind", ["tanh", "shifted_sigmoid", "dsilu", "hard_sigmoid", "relu", "identity"])
def test_formulas_are_their_functions(kind):
    points = np.linspace(-3, 3, 13)
    lines = [f"V{k} u{k} 0 {point}" for k, point in enumerate(points)]
    lines += [f"B{k} r{k} 0 V={{{activation(kind).formula(f'v(u{k})')}}}" for k in range(len(points))]
    values = simulate("\n".join(["* formulas", *lines, ".op", ".end"]) + "\n")
    found = np.array([values[f"v(r{k})"][0] for k in range(len(points))])
    np.testing.assert_allclose(found, activation(kind)(jnp.asarray(points)), atol=1e-9)


@needs_ngspice
def test_what_the_simulator_refuses_is_told():
    with pytest.raises(EquipropError, match=r"ngspice.*(failed|has no|is cut off)"):
        simulate("* nonsense\nB1 a 0 V={nonsense(1)}\n.op\n.end\n")


def test_a_missing_simulator_is_told():
    with pytest.raises(InputError, match="no-such-spice is not installed; install it: apt install ngspice"):
        simulate("* empty\n.end\n", program="no-such-spice")


def test_the_text_is_ascii_with_one_analysis_and_a_line_break_at_its_end():
    system = mlp(6, (4,), 3, key=jax.random.key(0))
    for analysis in (".op", transient(1.0, 0.1)):
        text = netlist(system, X, analysis)
        assert text.isascii() and text.endswith(".end\n") and text.startswith("* ")
        assert sum(line == ".op" or line.startswith(".tran ") for line in text.splitlines()) == 1
        assert max(map(len, text.splitlines())) <= 132
    assert "uic" in text and ".ic v(u0)=0" in text


@pytest.mark.parametrize(
    ("system", "options", "message"),
    [
        (
            from_force(lambda p, u, x: p * x - u, jnp.ones(6), initial_state=np.zeros(6)),
            {},
            "has no circuit that is known here",
        ),
        (mlp(6, (4,), 3, key=jax.random.key(0)), {"couplings": "wires"}, "couplings = 'wires': must be one of sources"),
        (mlp(6, (4,), 3, key=jax.random.key(0)), {"nudge": 0.1}, "target: is needed, as there is a nudge"),
        (mlp(6, (4,), 3, key=jax.random.key(0)), {"ohms": 0.0}, "ohms = 0.0: must be above 0"),
    ],
)
def test_what_is_no_circuit_is_refused(system, options, message):
    with pytest.raises(InputError, match=message):
        netlist(system, X, **options)


def test_pooling_and_several_samples_are_refused():
    topology = convolutional(IMAGE, (Stage(3), Stage(3, pool=2)), activation="tanh")
    pooled = LayeredNetwork.create(topology, classes=3, key=jax.random.key(0))
    with pytest.raises(InputError, match="a network with pooling is no circuit"):
        netlist(pooled, jnp.zeros((1, *IMAGE)))
    with pytest.raises(InputError, match="x: must be one sample"):
        netlist(network("tied"), batch(n=2)[0])


RAW = """Title: * a
Date: today
Plotname: Operating Point
Flags: real
No. Variables: 2
No. Points: 1
Variables:
\t0\tv(u0)\tvoltage
\t1\tv(r0)\tvoltage
Values:
 0\t1.500000000000000e+00
\t-2.500000000000000e-01
"""


def test_a_raw_file_is_read():
    values = read_raw(RAW)
    assert set(values) == {"v(u0)", "v(r0)"}
    np.testing.assert_array_equal(values["v(r0)"], [-0.25])


@given(st.integers(0, len(RAW) - 3))
def test_a_raw_file_that_is_cut_off_is_refused(end):
    with pytest.raises(InputError, match="the raw file"):
        read_raw(RAW[:end])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("Flags: real", "Flags: complex"), "not real ones"),
        (("No. Points: 1", "No. Points: many"), "does not say how many"),
        (("-2.5", "minus"), "what is no number"),
        ((" 0\t1.5", " 1\t1.5"), "out of order"),
        (("v(r0)\tvoltage", ""), "does not name all"),
    ],
)
def test_a_raw_file_that_is_damaged_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        read_raw(RAW.replace(*change))


def read_by_ngspice(g, r):
    """The currents of the columns of a crossbar for a volt on each row alone, with wires of so many ohms between its cells."""
    rows, columns = g.shape
    read = np.zeros(g.shape)
    for driven in range(rows):
        lines = ["crossbar"]
        for i in range(rows):
            lines.append(f"v{i} d{i} 0 {float(i == driven)}")
            for j in range(columns):
                lines += [
                    f"rr{i}_{j} {f'r{i}_{j - 1}' if j else f'd{i}'} r{i}_{j} {r!r}",
                    f"rg{i}_{j} r{i}_{j} c{i}_{j} {float(1 / g[i, j])!r}",
                    f"rc{i}_{j} c{i}_{j} {f'c{i + 1}_{j}' if i + 1 < rows else '0'} {r!r}",
                ]
        found = simulate("\n".join([*lines, ".options reltol=1e-10 abstol=1e-16 vntol=1e-13", ".op", ".end", ""]))
        read[driven] = [np.ravel(found[f"v(c{rows - 1}_{j})"])[0] / r for j in range(columns)]
    return read


@needs_ngspice
def test_the_wires_of_a_crossbar_lose_what_they_do_in_ngspice():
    """To first order in their resistance: what is left falls with its square."""
    g = np.random.default_rng(1).uniform(0.1, 1, (5, 4))
    errors = []
    for r in (1e-2, 1e-3):
        found = np.asarray(Lines(resistance=r, conductance=1.0).stored(jnp.asarray(g), ()))
        right = read_by_ngspice(g, r)
        errors.append(np.abs(found - right).max())
        assert errors[-1] < 0.25 * np.abs(g - right).max()
    assert 60 < errors[0] / errors[1] < 125
