"""Families: how members are found by kind, module, file and entry point, and what is said where they are not."""

import importlib.metadata
import sys
from importlib.metadata import EntryPoint

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.errors import InputError
from equiprop.estimators import ESTIMATORS, Centered
from equiprop.homeostasis import HOMEOSTASES
from equiprop.kinds import is_reference, kind_of, label_of, load_reference, source_digest
from equiprop.numerics import ACTIVATIONS, COSTS, activation
from equiprop.solvers import SOLVERS, GaussSeidel, relax
from equiprop.systems import (
    CONNECTIONS,
    RECIPES,
    Connection,
    LayeredNetwork,
    Population,
    Topology,
    is_holomorphic,
    mlp,
    topology_from_mapping,
)

FAMILIES = {
    "activation": ACTIVATIONS,
    "connection": CONNECTIONS,
    "cost": COSTS,
    "estimator": ESTIMATORS,
    "homeostasis": HOMEOSTASES,
    "solver": SOLVERS,
    "system": RECIPES,
}

OWN = '''
"""Members of a user's own."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from equiprop.numerics import AbstractActivation, number, real_linear
from equiprop.solvers import GaussSeidel
from equiprop.systems import AbstractOperation

loaded = []
loaded.append(1)


class Sine(AbstractActivation):
    holomorphic = True

    def __call__(self, u):
        return jnp.sin(u)


class Undeclared(AbstractActivation):
    """|u|, whatever it says of itself: nothing."""

    def __call__(self, u):
        return jnp.abs(u)


class Slow(GaussSeidel):
    label = "slow sweeps"
    patience: float = number(2.0, "Not used.", above=0)


class Named(GaussSeidel):
    kind = "named"
    label = "sweeps that say what they are called"


@dataclass(frozen=True)
class Shifted(AbstractOperation):
    """Each unit to the one that is `by` places further, times a weight of its own."""

    by: int = 1
    scale: float = 1.0

    @property
    def weight_shape(self):
        return self.source

    @property
    def fan_in(self):
        return 1

    def apply(self, weight, r):
        return real_linear(lambda a: self.scale * jnp.roll(a * weight, self.by, axis=1), r)


class Nothing:
    pass


def function(inputs, outputs, *, key, width=3):
    raise AssertionError
'''


@pytest.fixture
def own(tmp_path):
    """A file of a user's own."""
    path = tmp_path / "own_members.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The same as a module in the working directory, which is not on the path of the program."""
    name = f"own_module_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("name", FAMILIES)
def test_members_are_found_by_the_kind_in_their_own_body(name):
    family = FAMILIES[name]
    members = family.members()
    assert family.name == name and len(members) > 2
    base = load_reference(family.base)
    for kind, member in members.items():
        assert issubclass(member, base) and vars(member)["kind"] == kind == kind_of(member)
        assert family.find(kind) is member
        assert label_of(member)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_unknown_kind_lists_the_known_ones_and_the_nearest(name):
    family = FAMILIES[name]
    first = next(iter(family.members()))
    with pytest.raises(InputError, match=rf"^{name} = '{first}x': is not known; choose one of .*{first}") as error:
        family.find(first + "x")
    assert str(error.value).endswith(f"did you mean {first!r}?") and "\n" not in str(error.value)


def test_a_member_by_the_path_of_its_file(own):
    slow = SOLVERS.find(f"{own}:Slow")
    assert issubclass(slow, GaussSeidel) and slow().patience == 2
    assert label_of(slow) == "slow sweeps"


def test_a_member_by_a_path_from_the_working_directory(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    assert SOLVERS.find("own_members.py:Slow") is SOLVERS.find(f"{own}:Slow")
    assert SOLVERS.find("./own_members.py:Slow") is SOLVERS.find(f"{own}:Slow")


def test_a_member_by_the_module_of_the_working_directory(module):
    assert issubclass(SOLVERS.find(f"{module}:Slow"), GaussSeidel)


def test_a_member_of_an_installed_module():
    assert SOLVERS.find("equiprop.solvers:GaussSeidel") is GaussSeidel


def test_a_file_is_loaded_once(own):
    SOLVERS.find(f"{own}:Slow")
    ACTIVATIONS.find(f"{own}:Sine")
    assert load_reference(f"{own}:loaded") == [1]


def test_files_of_the_same_name_are_told_apart(tmp_path):
    for folder, value in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"value = {value}\n")
    assert [load_reference(f"{tmp_path / folder / 'mine.py'}:value") for folder in "ab"] == [1, 2]


def refused(family, kind, message):
    with pytest.raises(InputError, match=message) as error:
        family.find(kind)
    assert "\n" not in str(error.value)


def test_a_class_of_another_family_is_refused(own):
    refused(
        ESTIMATORS, f"{own}:Slow", r"^estimator = '.*own_members\.py:Slow': is not a subclass of AbstractEstimator$"
    )
    refused(SOLVERS, f"{own}:Nothing", "^solver = .*: is not a subclass of AbstractSolver$")
    refused(SOLVERS, f"{own}:loaded", "^solver = .*: is not a subclass of AbstractSolver$")
    refused(SOLVERS, "equiprop.estimators:Centered", "is not a subclass of AbstractSolver")


def test_a_name_that_is_not_there_is_refused(own):
    refused(SOLVERS, f"{own}:Fast", r"own_members\.py has no 'Fast'$")
    refused(SOLVERS, "equiprop.solvers:Fast", r"equiprop\.solvers has no 'Fast'$")


def test_a_module_that_is_not_there_is_refused(tmp_path):
    reason = "cannot be imported .ModuleNotFoundError: No module named 'no_such_module'.$"
    refused(SOLVERS, "no_such_module:Slow", f"no_such_module {reason}")
    refused(SOLVERS, f"{tmp_path / 'missing.py'}:Slow", r"missing\.py: there is no such file$")
    refused(SOLVERS, f"{tmp_path}:Slow", "cannot be imported")
    refused(SOLVERS, ":Slow", "cannot be imported")
    refused(SOLVERS, "equiprop.solvers:", r"equiprop\.solvers has no ''$")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('broken')", "RuntimeError: broken"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("class Slow(:", "SyntaxError: "),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why_in_one_line_and_may_be_mended(tmp_path, text, reason):
    path = tmp_path / "broken.py"
    path.write_text(text)
    refused(SOLVERS, f"{path}:Slow", rf"broken\.py cannot be imported \({reason}")
    path.write_text(OWN + "\n# mended\n")
    assert issubclass(SOLVERS.find(f"{path}:Slow"), GaussSeidel)


def test_members_of_installed_packages_are_found_by_their_entry_point(own, monkeypatch):
    points = {
        "equiprop.solver": [EntryPoint("slow", f"{own.stem}:Slow", "equiprop.solver")],
        "equiprop.estimator": [EntryPoint("wrong", f"{own.stem}:Slow", "equiprop.estimator")],
        "equiprop.cost": [EntryPoint("gone", "no_such_module:Cost", "equiprop.cost")],
    }
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.get(group, []))
    monkeypatch.syspath_prepend(own.parent)
    try:
        assert SOLVERS.find("slow").__name__ == "Slow" and "gauss_seidel" in SOLVERS.members()
        refused(ESTIMATORS, "wrong", "is not a subclass of AbstractEstimator")
        refused(COSTS, "gone", r"entry point gone = no_such_module:Cost cannot be imported")
    finally:
        sys.modules.pop(own.stem, None)


@pytest.mark.parametrize("value", ["own_members:Named", "own_members:Slow"])
def test_a_class_of_an_installed_package_is_named_by_its_entry_point(own, monkeypatch, value):
    """Whatever it calls itself: it is found by no other name."""
    points = importlib.metadata.EntryPoints([EntryPoint("lazy", value, "equiprop.solver")])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **how: points.select(**how))
    monkeypatch.syspath_prepend(own.parent)
    try:
        assert kind_of(SOLVERS.find("lazy")) == "lazy"
    finally:
        sys.modules.pop(own.stem, None)


@pytest.mark.parametrize("where", ["file", "module"])
def test_a_class_without_a_kind_is_named_by_where_it_is_and_found_there(where, request):
    reference = str(request.getfixturevalue({"file": "own", "module": "module"}[where]))
    for name, label in (("function", "function"), ("Nothing", "Nothing"), ("Sine", "Sine")):
        member = load_reference(f"{reference}:{name}")
        assert kind_of(member) == f"{reference}:{name}" and label_of(member) == label
        assert load_reference(kind_of(member)) is member
    assert kind_of(Centered) == kind_of(Centered()) == "centered"


@pytest.mark.parametrize("where", ["file", "module"])
def test_a_class_that_says_its_kind_but_is_not_installed_is_named_by_where_it_is(where, request):
    reference = str(request.getfixturevalue({"file": "own", "module": "module"}[where])) + ":Named"
    assert kind_of(load_reference(reference)) == kind_of(load_reference(reference)()) == reference


def test_a_class_below_one_that_has_a_kind_does_not_take_its_name(own):
    """What is written into a run must lead back to it."""
    slow = SOLVERS.find(f"{own}:Slow")
    assert kind_of(slow) == kind_of(slow()) == f"{own}:Slow" and SOLVERS.find(kind_of(slow)) is slow


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("module:Class", True),
        ("package.module:Class", True),
        ("path/to/file.py:Class", True),
        ("/a b/file.py:function", True),
        ("tanh", False),
        ("module:", False),
        (":Class", False),
        ("module.Class", False),
        ("module:Class.method", False),
    ],
)
def test_what_has_the_form_of_a_reference(text, expected):
    assert is_reference(text) is expected


def test_the_digest_is_that_of_the_file(own, module):
    import hashlib

    expected = hashlib.sha256(OWN.encode()).hexdigest()
    assert source_digest(f"{own}:Slow") == source_digest(f"{module}:Slow") == expected
    own.write_text(OWN + "\n")
    assert source_digest(f"{own}:Slow") != expected


def own_topology(reference, kind="Shifted", **settings):
    populations = (
        Population("input", 4),
        Population("a", 4, f"{reference}:Sine", mobility=0.5),
        Population("output", 4, "tanh"),
    )
    connections = (
        Connection("input", "a", "none"),
        Connection("a", "output", "untied", kind=f"{reference}:{kind}", **settings),
    )
    return Topology(populations, connections)


@pytest.mark.parametrize("where", ["file", "module"])
def test_activations_and_connections_of_ones_own_in_a_network(where, request):
    """Forces against NumPy: what leads forward, and what leads back as its transpose."""
    reference = request.getfixturevalue({"file": "own", "module": "module"}[where])
    topology = own_topology(reference, by=2, scale=0.5)
    system = LayeredNetwork.create(topology, classes=4, key=jax.random.key(0), cost="squared_error")
    rng = np.random.default_rng(0)
    x, a, b = (rng.normal(size=(3, 4)) for _ in range(3))
    w_in, w, v = (np.asarray(system.weights[n]) for n in ("input->a", "a->output", "output->a"))
    assert w.shape == v.shape == (4,) and np.abs(w).max() <= 1
    force = system.force({"a": jnp.asarray(a), "output": jnp.asarray(b)}, system.injection(jnp.asarray(x)))
    assert np.allclose(force["output"], 0.5 * np.roll(np.sin(a) * w, 2, axis=1) - b)
    assert np.allclose(force["a"], x @ w_in + 0.5 * 0.5 * v * np.roll(np.tanh(b), -2, axis=1) - a)
    assert (
        system.holomorphic is True
        and np.isinf(np.asarray(activation(f"{reference}:Sine").singularity_distance(jnp.ones(2)))).all()
    )
    assert relax(system, jnp.asarray(x), GaussSeidel(tolerance=1e-9, max_steps=1000)).converged.all()


def test_what_an_activation_of_ones_own_does_not_say_is_tested(own):
    system = mlp(4, (6,), 3, key=jax.random.key(0), activation=f"{own}:Undeclared")
    assert system.holomorphic is None
    assert not is_holomorphic(system, jnp.ones((2, 4)))


def test_settings_of_a_connection_of_ones_own_are_checked(own):
    with pytest.raises(
        InputError,
        match=r"^connections\.a->output: there is no key 'bye': the keys are by, scale; did you mean 'by'\?$",
    ):
        own_topology(own, bye=2)
    with pytest.raises(InputError, match=r"^connections\.a->output\.by = '2': must be a whole number$"):
        own_topology(own, by="2")
    with pytest.raises(InputError, match=r"connections\.a->output.*has no 'Shifter'$"):
        own_topology(own, kind="Shifter")
    with pytest.raises(
        InputError, match=r"connections\.a->output\.connection = .*:Sine': is not a subclass of AbstractOperation$"
    ):
        own_topology(own, kind="Sine")


def test_activations_and_connections_of_ones_own_in_a_topology_file(own):
    data = {
        "populations": {
            "input": {"size": 4},
            "a": {"size": 4, "activation": f"{own}:Sine", "mobility": 0.5},
            "output": {"size": 4, "activation": "tanh"},
        },
        "connections": [
            {"source": "input", "target": "a", "feedback": "none"},
            {"source": "a", "target": "output", "kind": f"{own}:Shifted", "by": 2, "scale": 0.5},
        ],
    }
    assert topology_from_mapping(data) == own_topology(own, by=2, scale=0.5)
    data["populations"]["a"]["activation"] = f"{own}:Shifted"
    with pytest.raises(InputError, match=r"populations\.a.*:Shifted': is not a subclass of AbstractActivation$"):
        topology_from_mapping(data)
