"""From a configuration to objects: what each key does, and what is refused before anything is written."""

import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop._jax import forget_programs, set_up
from equiprop.errors import InputError
from equiprop.experiment import Choice, Config, Trainer, train
from equiprop.experiment._trainer import dtype_of, make_system
from equiprop.homeostasis import JacobianHomeostasis
from equiprop.systems import cnn, mlp
from equiprop.training import SGD, AdamW, parameter_groups
from toy import config, dataset

DATA = dataset()


def test_settings_reach_the_objects():
    made = config(
        estimator={"kind": "holomorphic", "nudge": 0.2, "points": 4, "clip": 3.0, "branch_switch": "keep"},
        homeostasis={"strength": 0.5, "probes": 3, "samples": 2, "norm_term": False},
        solver={"kind": "jacobi", "damping": 0.2},
    )
    estimator, homeostasis, solver = (made.estimator.create(), made.homeostasis.create(), made.solver.create())
    assert (float(estimator.nudge), estimator.points, float(estimator.clip)) == (0.2, 4, 3.0)
    assert estimator.branch_switch == "keep"
    expected = JacobianHomeostasis(strength=0.5, probes=3, samples=2, shared_updates=False, norm_term=False)
    assert eqx.tree_equal(homeostasis, expected)
    assert float(solver.damping) == 0.2


REFUSED = [
    ({"estimator": {"kind": "centred"}}, "estimator.kind = 'centred': is not known.*did you mean 'centered'"),
    ({"estimator": {"points": 4}}, "estimator.points: is not used by estimator.kind = 'centered'"),
    ({"estimator": {"nudge": 0.0}}, "estimator.nudge = 0.0: must be a finite number other than 0"),
    ({"estimator": {"kind": "holomorphic", "points": 0}}, "estimator.points = 0: must be at least 1"),
    ({"estimator": {"clip": -1.0}}, r"estimator.clip = -1.0: must be a finite number above 0, or inf"),
    (
        {"estimator": {"branch_switch": "hide"}},
        "estimator.branch_switch = 'hide': is not known; choose one of drop, keep",
    ),
    (
        {"estimator": {"kind": "holomorphic"}, "system": {"activation": "relu"}},
        "estimator.points = 6: the system is not holomorphic",
    ),
    (
        {"system": {"kind": "cnn"}},
        r"system.preset: layer 3 would pool \[1, 1\] in windows of 2 for images of \[4, 4, 1\]",
    ),
    ({"system": {"kind": "cnn", "hidden": [8]}}, "system.hidden: is not used by system.kind = 'cnn'"),
    ({"system": {"kind": "cnn", "preset": "big"}}, "system.preset = 'big': is not known"),
    ({"system": {"preset": "small"}}, "system.preset: is not used by system.kind = 'mlp'"),
    ({"training": {"crop": -1}}, "training.crop = -1: must be at least 0"),
    ({"solver": {"kind": "secant"}}, "solver.kind = 'secant': is not known"),
    ({"solver": {"damping": 1.0}}, "solver.damping = 1.0: must be at least 0 and below 1"),
    ({"solver": {"tolerance": 0.0}}, "solver.tolerance = 0.0: must be a finite number above 0"),
    ({"homeostasis": {"kind": "jacobean"}}, "homeostasis.kind = 'jacobean': is not known.*did you mean 'jacobian'"),
    (
        {"homeostasis": {"kind": "none", "probes": 7}},
        "homeostasis.probes: is not used by homeostasis.kind = 'none', which takes no settings; leave it out",
    ),
    ({"homeostasis": {"probes": 0}}, "homeostasis.probes = 0: must be at least 1"),
    ({"system": {"activation": "sigmoid"}}, "system.activation = 'sigmoid': is not known"),
    ({"system": {"feedback": "random"}}, "system.feedback = 'random': is not known"),
    ({"system": {"weight_angle": 270.0}}, "system.weight_angle = 270.0: must be between 0 and 180 degrees"),
    (
        {"training": {"warm_start": True}, "estimator": {"kind": "continuous_time", "nudge": 0.05}},
        "training.warm_start = true: the estimator has no free phase",
    ),
    ({"system": {"feedback_gain": 0.0}}, "system.feedback_gain = 0.0: must be a finite number above 0"),
    (
        {"system": {"kind": "loop", "feedback": "tied"}},
        "^system.feedback: is not used by system.kind = 'loop'",
    ),
    ({"system": {"hidden": (4, 0)}}, r"system.hidden = \[4, 0\]: every population needs at least 1 unit"),
    (
        {"system": {"kind": "transformer"}},
        "system.kind = 'transformer': is not known; choose one of cnn, loop, mlp, network",
    ),
    (
        {"system": {"kind": "loop", "hidden": (4,)}},
        "a loop needs at least two hidden populations",
    ),
    (
        {"system": {"kind": "loop", "weight_angle": 10.0}},
        "^system.weight_angle: is not used by system.kind = 'loop'",
    ),
    ({"system": {"topology": "x.toml"}}, "system.topology: is not used by system.kind = 'mlp'"),
    ({"system": {"cost": "hinge"}}, "system.cost = 'hinge': is not known"),
    ({"system": {"gain": 0.0}}, "system.gain = 0.0: must be a finite number above 0"),
    ({"optimizer": {"kind": "adam"}}, "optimizer.kind = 'adam': is not known.*did you mean 'adamw'"),
    ({"optimizer": {"learning_rate": 0.0}}, "optimizer.learning_rate = 0.0: must be a finite number above 0"),
    ({"optimizer": {"weight_decay": -1.0}}, "optimizer.weight_decay = -1.0: must be a finite number at least 0"),
    ({"optimizer": {"momentum": 1.0}}, "optimizer.momentum = 1.0: must be at least 0 and below 1"),
    ({"optimizer": {"schedule": "linear"}}, "optimizer.schedule = 'linear': is not known"),
    (
        {"optimizer": {"learning_rates": {"input->hidden": 1.0}}},
        "learning_rates: there is no key 'input->hidden'.*did you",
    ),
    ({"optimizer": {"learning_rates": {"readout": -1.0}}}, "learning_rates.readout = -1.0: must be"),
    ({"training": {"epochs": 0}}, "training.epochs = 0: must be at least 1"),
    ({"training": {"batch_size": 121}}, "training.batch_size = 121: there are only 120 training samples"),
    ({"training": {"limit": 121}}, "training.limit = 121: toy has 120 training samples"),
    (
        {"training": {"precision": "float16"}},
        "training.precision = 'float16': is not known; choose one of float32, tensorfloat32, float64",
    ),
    ({"training": {"seed": -1}}, "training.seed = -1: must be at least 0"),
    ({"training": {"seed": 2**32}}, r"training.seed = 4294967296: must be below 2\^32"),
    (
        {"system": {"feedback": "none", "feedback_gain": 0.5}},
        "system.feedback_gain = 0.5: is not used by feedback = 'none'",
    ),
    (
        {"system": {"feedback": "tied", "weight_angle": 10.0}},
        "system.weight_angle = 10.0: is not used by feedback = 'tied'",
    ),
]


@pytest.mark.parametrize(("sections", "message"), REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_refused_and_nothing_written(tmp_path, sections, message):
    with pytest.raises(InputError, match=message) as error:
        train(config(**sections), tmp_path / "run", dataset=DATA)
    assert "\n" not in str(error.value)
    assert len(set(error.value.path[:2])) == len(error.value.path[:2]), "a section is named once"
    assert not (tmp_path / "run").exists()


def test_unknown_dataset(tmp_path):
    with pytest.raises(InputError, match="dataset = 'toy': is not known; choose one of digits"):
        train(config(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def write_graph(path, size=16):
    graph = {
        "populations": {"input": {"size": size}, "h": {"size": 5}, "output": {"size": 3}},
        "connections": [
            {"source": "input", "target": "h", "feedback": "none"},
            {"source": "h", "target": "output", "feedback": "tied"},
        ],
    }
    path.write_text(json.dumps(graph))
    return str(path)


def make(key=None, **settings):
    """A system of these settings for the toy data."""
    return make_system(Choice.of("system", settings), DATA.info, key=jax.random.key(0), dtype=jnp.float64)


def test_network_from_a_file(tmp_path):
    system = make(kind="network", topology=write_graph(tmp_path / "g.json"))
    assert set(system.weights) == {"input->h", "h->output"}


@pytest.mark.parametrize(
    ("size", "name", "message"), [(9, "g.json", "the inputs have 16 values"), (9, "", "needs a topology file")]
)
def test_network_that_does_not_fit(tmp_path, size, name, message):
    write_graph(tmp_path / "g.json", size)
    with pytest.raises(InputError, match=message):
        make(kind="network", topology=str(tmp_path / name) if name else "")


def test_costs_that_need_an_output_unit_per_class(tmp_path):
    write_graph(tmp_path / "g.json")
    graph = json.loads((tmp_path / "g.json").read_text())
    graph["populations"]["output"]["size"] = 5
    (tmp_path / "g.json").write_text(json.dumps(graph))
    with pytest.raises(InputError, match="needs one output unit a class, 3, not 5"):
        make(kind="network", topology=str(tmp_path / "g.json"), cost="squared_error")


@pytest.fixture(scope="module")
def system():
    return Trainer(config(), DATA).system


def step(optimizer, system, steps=1):
    """The change of the parameters by optimizer steps on a gradient of ones."""
    optimizer = optimizer.transformation(system, total_steps=4)
    params, state = system, optimizer.init(system)
    for _ in range(steps):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return jax.tree.map(jnp.subtract, params, system)


def test_sgd_with_momentum(system):
    moved = step(SGD(learning_rate=0.1, momentum=0.5, schedule="constant"), system, steps=2)
    assert all(np.allclose(m, -0.1 * (1 + 1.5)) for m in jax.tree.leaves(moved))


def test_cosine_reaches_zero_at_the_last_step(system):
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4))
    for steps in (1, 4):
        moved = step(SGD(learning_rate=0.1, momentum=0.0, schedule="cosine"), system, steps)
        assert np.allclose(moved.biases["output"], -rates[:steps].sum())


def test_weight_decay_spares_biases(system):
    system = eqx.tree_at(lambda s: s.biases["hidden_1"], system, system.biases["hidden_1"] + 1)
    moved = step(SGD(learning_rate=0.1, momentum=0.0, weight_decay=0.3), system)
    weight = system.weights["input->hidden_1"]
    assert np.allclose(moved.weights["input->hidden_1"], -0.1 * (1 + 0.3 * weight))
    assert np.allclose(moved.biases["hidden_1"], -0.1)


def test_adamw(system):
    moved = step(AdamW(learning_rate=0.1, weight_decay=0.3), system)
    weight = system.weights["input->hidden_1"]
    assert np.allclose(moved.weights["input->hidden_1"], -0.1 * (1 + 0.3 * weight), rtol=1e-5)


def test_learning_rate_by_connection(system):
    rates = {"input->hidden_1": 0.0, "output->hidden_1": 1.0, "output": 2.0, "readout": 3.0}
    moved = step(SGD(learning_rate=0.1, momentum=0.0, learning_rates=rates), system)
    assert (moved.weights["input->hidden_1"] == 0).all()
    assert np.allclose(moved.weights["output->hidden_1"], -1)
    assert np.allclose(moved.weights["hidden_1->output"], -0.1)
    assert np.allclose(moved.biases["output"], -2) and np.allclose(moved.cost.weight, -3)
    assert set(jax.tree.leaves(parameter_groups(system))) > set(rates)


def test_feedback_has_the_learning_rate_of_its_forward_weight_unless_it_has_one(system):
    for more, wanted in (({}, -1.0), ({"output->hidden_1": 0.5}, -0.5)):
        moved = step(SGD(momentum=0.0, learning_rates={"hidden_1->output": 1.0, **more}), system)
        assert np.allclose(moved.weights["hidden_1->output"], -1.0)
        assert np.allclose(moved.weights["output->hidden_1"], wanted)


def test_every_epoch_has_an_order_of_its_own():
    trainer = Trainer(config(), DATA)
    first = trainer.initial_train_state()
    second = eqx.tree_at(lambda s: s.epoch, first, first.epoch + 1)
    orders = [np.asarray(trainer.order(trainer.samples, state)) for state in (first, second, first)]
    assert all(np.array_equal(np.sort(order), np.arange(len(trainer.samples))) for order in orders)
    assert np.array_equal(orders[0], orders[2]) and not np.array_equal(orders[0], orders[1])


def test_float64_must_be_enabled():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(InputError, match="enable it in JAX first"):
            dtype_of("float64")
    finally:
        jax.config.update("jax_enable_x64", True)
    assert dtype_of("float32") == jnp.float32


def test_the_exact_gradient_beside_a_run_is_solved_as_asked_for():
    """Whatever the estimator: where the default Krylov space is too small, there would be nothing to compare with."""
    made = Trainer(config(reference={"linear_solver": {"restart": 7}}), DATA).components
    assert made.reference.linear_solver.restart == 7 and made.reference.clip is None
    with pytest.raises(InputError, match=r"reference\.linear_solver\.restart = 0: must be at least 1"):
        Trainer(config(reference={"linear_solver": {"restart": 0}}), DATA)


@pytest.mark.parametrize(
    ("system", "homeostasis", "expected"),
    [
        ({"kind": "mlp"}, {}, ("antisymmetric", 100.0, True, True)),
        ({"kind": "cnn", "preset": "deep_10"}, {}, ("antisymmetric", 100.0, True, True)),
        ({"kind": "mlp", "hidden": ()}, {}, ("none", None, None, None)),
        ({"kind": "mlp", "feedback": "tied"}, {}, ("none", None, None, None)),
        ({"kind": "mlp", "feedback": "tied"}, {"strength": 2.0}, ("jacobian", 2.0, False, None)),
        ({"kind": "mlp", "feedback": "tied"}, {"kind": "antisymmetric"}, ("antisymmetric", 0.3, False, True)),
        ({"kind": "mlp", "feedback": "none"}, {}, ("jacobian", 0.3, False, None)),
        ({"kind": "resistive", "hidden": (8,)}, {}, ("none", None, None, None)),
        ({"kind": "loop", "hidden": (4, 4)}, {}, ("jacobian", 0.3, False, None)),
        ({"kind": "loop", "hidden": (4, 4)}, {"kind": "antisymmetric"}, ("antisymmetric", 0.3, False, True)),
        ({"kind": "mlp"}, {"kind": "jacobian"}, ("jacobian", 0.3, False, None)),
        ({"kind": "mlp"}, {"kind": "jacobian", "feedback_only": True}, ("jacobian", 100.0, True, None)),
        ({"kind": "mlp"}, {"strength": 2.0}, ("antisymmetric", 2.0, True, True)),
        ({"kind": "mlp"}, {"kind": "antisymmetric", "balanced": False}, ("antisymmetric", 100.0, True, False)),
        ({"kind": "mlp"}, {"feedback_only": False}, ("antisymmetric", 0.3, False, True)),
        ({"kind": "mlp"}, {"kind": "kolen_pollack"}, ("kolen_pollack", 1.0, None, None)),
        ({"kind": "mlp"}, {"kind": "none"}, ("none", None, None, None)),
    ],
)
def test_what_auto_stands_for(system, homeostasis, expected):
    """Whatever is asked for by name is kept, and deciding twice is deciding once."""
    made = make(**({"hidden": (8,)} if system["kind"] == "mlp" and "hidden" not in system else {}) | system)
    decided = Choice.of("homeostasis", homeostasis).create().decide(made)
    found = Choice.of_object("homeostasis", decided)
    values = [found.values.get(name) for name in ("strength", "feedback_only", "balanced")]
    assert (found.kind, *values) == expected
    assert eqx.tree_equal(decided.decide(made), decided)


def test_any_graph_says_whether_it_has_pairs(tmp_path):
    for feedback, kind in (("untied", "antisymmetric"), ("none", "jacobian")):
        graph = {
            "populations": {"input": {"size": 16}, "a": {"size": 4}, "output": {"size": 3}},
            "connections": [
                {"source": "input", "target": "a", "feedback": "none"},
                {"source": "a", "target": "output", "feedback": feedback},
            ],
        }
        (tmp_path / "net.json").write_text(json.dumps(graph))
        network = make(kind="network", topology=str(tmp_path / "net.json"))
        assert Config().homeostasis.create().decide(network).kind == kind


def test_without_feedback_nothing_is_scaled_by_it():
    system = make(hidden=(4, 4), feedback="none")
    assert system.mobility is None
    with pytest.raises(InputError, match=r"feedback_gain = 0\.5: is not used by feedback = 'none'"):
        mlp(4, (3,), 2, key=jax.random.key(0), feedback="none", feedback_gain=0.5)
    deep = cnn((32, 32, 3), 2, key=jax.random.key(0), preset="deep_10", feedback="none")
    assert deep.mobility is None


def test_an_image_turned_round_is_refused(tmp_path):
    """Of as many pixels as those of the data set, but in another order."""
    network = {
        "populations": {"input": {"size": [1, 4, 4]}, "output": {"size": 3}},
        "connections": [{"source": "input", "target": "output", "feedback": "none"}],
    }
    (tmp_path / "net.json").write_text(json.dumps(network))
    with pytest.raises(InputError, match=r"populations\.input\.size = \[1, 4, 4\]: the inputs are \[4, 4, 1\]"):
        make(kind="network", topology=str(tmp_path / "net.json"))


@pytest.mark.slow
def test_the_default_homeostasis_where_some_weights_have_no_partner(tmp_path):
    """A light hand on all weights; the run says what it was."""
    asked = config(system={"kind": "loop", "hidden": (8, 8)}, training={"epochs": 1}).changed(
        {"homeostasis.kind": "auto", "homeostasis.strength": "auto", "homeostasis.shared_updates": "auto"}
    )
    assert train(asked, tmp_path / "run", dataset=dataset())["homeostasis"] == "jacobian"
    recorded = Config.from_file(tmp_path / "run" / "config.toml").homeostasis
    assert recorded.kind == "jacobian" and recorded.values["strength"] != "auto"


def test_rounded_products_are_asked_for_by_name(monkeypatch):
    """A GPU rounds the factors of its products unless JAX is told not to: neither happens unasked."""
    assert dtype_of("tensorfloat32") == dtype_of("float32") == jnp.float32
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with jax.default_matmul_precision("highest"):
        assert dtype_of("float32") == jnp.float32
        with pytest.raises(InputError, match=r"'tensorfloat32': .*does not round .*_precision', 'default'"):
            dtype_of("tensorfloat32")
    with jax.default_matmul_precision("default"):
        assert dtype_of("tensorfloat32") == jnp.float32
        with pytest.raises(InputError, match=r"'float32': .*it rounds .*_precision', 'highest'"):
            dtype_of("float32")
        assert dtype_of("float64") == jnp.float64


@pytest.mark.parametrize(("precision", "products"), [("float32", "highest"), ("tensorfloat32", "default")])
def test_a_command_sets_jax_up_for_the_precision_asked_for(monkeypatch, precision, products):
    """So that what it then builds is not refused on any device."""
    before = jax.config.jax_default_matmul_precision
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    try:
        set_up(precision)
        assert jax.config.jax_default_matmul_precision == products
        assert dtype_of(precision) == jnp.float32
    finally:
        jax.config.update("jax_default_matmul_precision", before)


@pytest.mark.parametrize("home", [None, "~/.cache/equiprop"])
def test_without_a_home_no_programs_are_kept(monkeypatch, tmp_path, home):
    import pooch

    def where(name):
        if home is None:
            raise RuntimeError("Could not determine home directory.")
        return home

    told = {}
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(pooch, "os_cache", where)
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    set_up("float32")
    assert "jax_compilation_cache_dir" not in told and "jax_default_matmul_precision" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what is mapped")
def test_programs_are_forgotten_where_they_fill_what_may_be_mapped():
    traced = []

    @jax.jit
    def program(x):
        traced.append(x)
        return 2 * x

    for share, times in ((1.0, 1), (0.0, 2)):
        forget_programs(share)
        assert float(program(1.0)) == 2.0 and len(traced) == times
