"""Graphs: what is refused, how they are coloured, how they are read from files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equiprop.errors import InputError
from equiprop.systems import Connection, Population, Topology, chain, loop, read_topology, topology_from_mapping
from networks import skip_and_lateral

GOOD = {
    "populations": {"input": {"size": 4}, "h": {"size": 3, "activation": "tanh"}, "output": {"size": 2}},
    "connections": [
        {"source": "input", "target": "h", "feedback": "none"},
        {"source": "h", "target": "output", "angle": 30},
    ],
}


def changed(**changes):
    data = json.loads(json.dumps(GOOD))
    return data | changes


def with_connection(**connection):
    return changed(connections=[*GOOD["connections"], connection])


BAD = [
    (changed(popultions={}), "there is no key 'popultions'.*did you mean 'populations'"),
    (changed(populations=3), "needs a table 'populations'"),
    (changed(output="h2"), "output = 'h2': is not known; choose one of h, output"),
    (changed(populations=GOOD["populations"] | {"x": {"size": 0}}), r"populations\.x\.size = 0: must be at least 1"),
    (
        changed(populations=GOOD["populations"] | {"x": {"size": "3"}}),
        r"x\.size = '3': must be a whole number, or a list",
    ),
    (changed(populations=GOOD["populations"] | {"x": {"size": True}}), r"x\.size = true: must be a whole number"),
    (changed(populations=GOOD["populations"] | {"x": 3}), r"populations\.x: must be a table, not 3"),
    (
        changed(populations=GOOD["populations"] | {"x": {"size": 2, "activation": "sin"}}),
        r"populations\.x\.activation = 'sin': is not known",
    ),
    (changed(populations=GOOD["populations"] | {"x": {}}), r"populations\.x\.size: is missing"),
    (changed(populations=GOOD["populations"] | {"x": {"size": 2}}), "x cannot reach the output 'output'"),
    (changed(connections=GOOD["connections"][1:]), "input cannot reach the output"),
    (changed(connections=GOOD["connections"][:1]), "h cannot reach the output|input, h cannot reach"),
    (with_connection(source="h", target="outptu"), "target = 'outptu': is not known.*did you mean 'output'"),
    (with_connection(source="h", target="output"), "h->output exists already"),
    (with_connection(source="output", target="h"), "output->h exists already|h->output exists already"),
    (with_connection(source="h", target="input"), "the input is clamped"),
    (with_connection(source="input", target="output"), "feedback = 'untied': the input is clamped, write 'none'"),
    (with_connection(source="h", target="h", feedback="maybe"), "feedback = 'maybe': is not known"),
    (with_connection(source="h", target="h", angle=200), "angle = 200.0: must be between 0 and 180"),
    (with_connection(source="h", target="h", weight=2), "there is no key 'weight'"),
    (
        changed(connections=[GOOD["connections"][0], GOOD["connections"][1] | {"residual": True}]),
        r"h->output\.residual = true: goes with weights between two populations of the same shape.*from \[3\] to \[2\]",
    ),
    (with_connection(source="h", target="h", residual=True), r"h->h\.residual = true: goes with"),
    (
        changed(populations=GOOD["populations"] | {"h": {"size": 3, "name": "g"}}),
        r"populations\.h: there is no key 'name'",
    ),
    (
        changed(populations=GOOD["populations"] | {"input": {"size": 4, "activation": "tanh"}}),
        r"populations\.input\.activation = 'tanh': the input is clamped and has none",
    ),
    (
        changed(populations=GOOD["populations"] | {"input": {"size": 4, "mobility": 0.5}}),
        r"populations\.input\.mobility = 0\.5: the input is clamped and has none",
    ),
    (
        with_connection(source="h", target="h", feedback="tied", angle=30),
        r"h->h\.angle = 30\.0: is not used by feedback = 'tied'",
    ),
    (
        changed(
            populations=GOOD["populations"] | {"h": {"size": [2, 2, 1]}},
            connections=[*GOOD["connections"], {"source": "h", "target": "h", "kind": "local"}],
        ),
        r"connections\.h->h\.feedback = 'untied': a lateral connection of this kind has no transpose of its kind",
    ),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[m[:30] for _, m in BAD])
def test_refused(data, message):
    with pytest.raises(InputError, match=message) as error:
        topology_from_mapping(data)
    assert "\n" not in str(error.value)


def test_doubled_name():
    with pytest.raises(InputError, match="'input' is listed twice"):
        Topology((Population("input", 2), Population("input", 2), Population("output", 1)), ())


def test_no_input():
    with pytest.raises(InputError, match="one called 'input'"):
        Topology((Population("output", 1),), ())


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"graph.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps(GOOD))
    else:
        import tomli_w

        path.write_text(tomli_w.dumps(GOOD))
    topology = read_topology(path)
    assert topology == topology_from_mapping(GOOD)
    assert topology.population("h").activation == "tanh"
    assert topology.connections[1] == Connection("h", "output", "untied", 30.0)


@pytest.mark.parametrize(("name", "text"), [("g.toml", "a = = 3"), ("g.json", "{"), ("missing.toml", None)])
def test_bad_files(tmp_path, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=name):
        read_topology(tmp_path / name)


def test_a_sweep_goes_from_the_input_to_the_output():
    along = ("hidden_1",), ("hidden_2",), ("hidden_3",), ("output",)
    assert chain((4, 3, 3, 3, 2), activation="tanh").in_turn() == along
    assert len(loop((4, 3, 3, 2), activation="tanh").in_turn()) == 3
    with pytest.raises(InputError, match="at least two hidden"):
        loop((4, 3, 2), activation="tanh")


@given(data=st.data())
def test_turns_in_any_graph(data):
    """Each population once, and no edge inside a group (lateral connections aside)."""
    n = data.draw(st.integers(1, 7))
    names = [f"p{i}" for i in range(n)] + ["output"]
    extra = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), unique=True, max_size=12))
    # "output" sorts before "p…": pairs among the others in one order, and every one of them to the output.
    pairs = {(a, b) for a, b in extra if a < b and a != "output"} | {(name, "output") for name in names[:-1]}
    connections = [Connection("input", name, "none") for name in names]
    connections += [Connection(a, b, data.draw(st.sampled_from(["tied", "untied", "none"]))) for a, b in sorted(pairs)]
    graph = Topology(tuple(Population(name, 1) for name in ["input", *names]), tuple(connections))
    groups = graph.in_turn()
    assert sorted(name for group in groups for name in group) == sorted(names)
    where = {name: i for i, group in enumerate(groups) for name in group}
    assert all(where[a] != where[b] for a, b in pairs)
    assert len(groups) <= n + 1


def test_general_example_is_legal():
    assert [c.name for c in skip_and_lateral().connections if c.lateral] == ["b->b", "a->a"]


@pytest.mark.parametrize("text", ["5", "null", "[]"])
def test_a_file_that_holds_no_table(tmp_path, text):
    (tmp_path / "net.json").write_text(text)
    with pytest.raises(InputError, match=r"net\.json: is not valid JSON \(expected an object, got "):
        read_topology(tmp_path / "net.json")


@pytest.mark.parametrize(
    ("connections", "paired"),
    [
        ((), True),
        ((Connection("a", "a", "tied"),), True),
        ((Connection("a", "a"),), False),
        ((Connection("a", "a", "none"),), False),
        ((Connection("a", "output", "none"),), False),
        ((Connection("input", "output", "none"),), True),
    ],
)
def test_what_else_could_be_asymmetric_than_pairs(connections, paired):
    populations = (Population("input", 3), Population("a", 3), Population("b", 3), Population("output", 2))
    line = (Connection("input", "a", "none"), Connection("a", "b"), Connection("b", "output"))
    assert Topology(populations, line + connections).paired == paired


@pytest.mark.parametrize(("feedback", "paired"), [("tied", True), ("none", False)])
def test_of_what_has_no_pairs_tied_weights_alone_are_symmetric(feedback, paired):
    topology = chain((4, 3, 2), activation="tanh", feedback=feedback)
    assert topology.paired == paired and not topology.pairs
