"""From a configuration to objects: what each key does, and what is refused before anything is written."""

import dataclasses
import json
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equiprop.cli._jax import set_up
from equiprop.errors import InputError
from equiprop.estimators import ESTIMATORS, Centered, Holomorphic
from equiprop.homeostasis import AntisymmetricHomeostasis, JacobianHomeostasis, KolenPollack, NoHomeostasis
from equiprop.systems import cnn, mlp
from equiprop.training.build import (
    as_kind,
    build_estimator,
    build_optimizer,
    build_parts,
    build_solver,
    build_system,
    build_treatment,
    decide,
    dtype_of,
    estimator_family,
    fit_to_kinds,
    parameter_groups,
)
from equiprop.training.config import (
    Config,
    EstimatorConfig,
    HomeostasisConfig,
    KrylovConfig,
    OptimizerConfig,
    SolverConfig,
    SystemConfig,
)
from equiprop.training.loop import Trainer, train
from toy import config, dataset

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
DATA = dataset()


def test_settings_reach_the_objects():
    estimator = build_estimator(
        EstimatorConfig(kind="holomorphic", nudge=0.2, points=4, clip=3.0, branch_switch="keep")
    )
    assert estimator == Holomorphic(nudge=0.2, points=4, clip=3.0, branch_switch="keep")
    treatment = build_treatment(
        Config(homeostasis=HomeostasisConfig("jacobian", 0.5, probes=3, samples=2, norm_term=False))
    )
    assert treatment == JacobianHomeostasis(strength=0.5, probes=3, samples=2, shared_updates="auto", norm_term=False)
    assert build_solver(SolverConfig(kind="jacobi", damping=0.2)).damping == 0.2


def test_what_only_another_kind_took_falls_away():
    """And what was asked for beside the new kind does not."""
    base = config(
        estimator={"kind": "holomorphic", "points": 4, "nudge": 0.2, "clip": 3.0},
        homeostasis={"strength": 2.0, "schedule": "warmup"},
    )

    def other(**sections):
        changed = {name: dataclasses.replace(getattr(base, name), **values) for name, values in sections.items()}
        return fit_to_kinds(dataclasses.replace(base, **changed), base)

    found = other(estimator={"kind": "adjoint"}, homeostasis={"kind": "none"})
    assert found.estimator == EstimatorConfig(kind="adjoint", clip=3.0)
    assert found.homeostasis == HomeostasisConfig(kind="none")
    found = other(homeostasis={"kind": "rotation"}).homeostasis
    assert found == HomeostasisConfig(
        kind="rotation", strength=2.0, schedule="warmup", probes=2, samples=0, shared_updates=False
    )
    assert other(estimator={"nudge": 0.3}).estimator == dataclasses.replace(base.estimator, nudge=0.3)
    kept = other(estimator={"kind": "adjoint", "points": 8}).estimator
    with pytest.raises(
        InputError, match=r"estimator.points = 8: is not used by estimator.kind = 'adjoint'; leave it at 6"
    ):
        build_estimator(kept)


REFUSED = [
    ({"estimator": {"kind": "centred"}}, "estimator.kind = 'centred' is not known.*did you mean 'centered'"),
    ({"estimator": {"points": 4}}, "estimator.points = 4: is not used by estimator.kind = 'centered'"),
    ({"estimator": {"nudge": 0.0}}, "estimator.nudge = 0.0: must be a finite number other than 0"),
    ({"estimator": {"kind": "holomorphic", "points": 0}}, "estimator.points = 0: must be a whole number, at least 1"),
    ({"estimator": {"clip": -1.0}}, r"estimator.clip = -1.0: must be above 0 \(inf for off\)"),
    (
        {"estimator": {"branch_switch": "hide"}},
        "estimator.branch_switch = 'hide' is not known: choose one of keep, drop",
    ),
    (
        {"estimator": {"kind": "holomorphic"}, "system": {"activation": "relu"}},
        "estimator.points = 6: the system's activation is not holomorphic",
    ),
    (
        {"system": {"kind": "cnn", "hidden": (256, 256)}},
        r"'published': images of \[4, 4, 1\]: layer 3 would pool \[1, 1\]",
    ),
    ({"system": {"kind": "cnn"}}, r"system.hidden = \(8,\): is not used by system.kind = 'cnn'"),
    ({"system": {"kind": "cnn", "hidden": (256, 256), "preset": "big"}}, "system.preset = 'big' is not known"),
    ({"system": {"preset": "small"}}, "system.preset = 'small': is not used by system.kind = 'mlp'"),
    ({"training": {"crop": -1}}, "training.crop = -1: must be at least 0"),
    ({"solver": {"kind": "secant"}}, "solver.kind = 'secant' is not known"),
    ({"solver": {"damping": 1.0}}, "solver.damping = 1.0: must be at least 0 and below 1"),
    ({"solver": {"tolerance": 0.0}}, "solver.tolerance = 0.0: must be above 0"),
    ({"homeostasis": {"kind": "jacobean"}}, "homeostasis.kind = 'jacobean' is not known.*did you mean 'jacobian'"),
    (
        {"homeostasis": {"kind": "none", "strength": "auto", "samples": 5, "shared_updates": "auto", "probes": 7}},
        "homeostasis.probes = 7: is not used by homeostasis.kind = 'none'",
    ),
    ({"homeostasis": {"probes": 0}}, "homeostasis.probes = 0: must be at least 1"),
    ({"system": {"activation": "sigmoid"}}, "system.activation = 'sigmoid' is not known"),
    ({"system": {"feedback": "random"}}, "system.feedback = 'random' is not known"),
    ({"system": {"weight_angle": 270.0}}, "system.weight_angle = 270.0: must be between 0 and 180 degrees"),
    (
        {"training": {"warm_start": True}, "estimator": {"kind": "continuous_time", "nudge": 0.05}},
        "training.warm_start = true: estimator.kind = 'continuous_time' has no free phase",
    ),
    ({"system": {"feedback_gain": 0.0}}, "system.feedback_gain = 0.0: must be a finite number above 0"),
    (
        {"system": {"kind": "loop", "feedback_gain": 0.5}},
        "^system.feedback_gain = 0.5: is not used by system.kind = 'loop'",
    ),
    ({"system": {"hidden": (4, 0)}}, r"system.hidden = \[4, 0\]: every population needs at least 1 unit"),
    (
        {"system": {"kind": "transformer"}},
        "system.kind = 'transformer' is not known: choose one of mlp, loop, cnn, network",
    ),
    (
        {"system": {"kind": "loop", "feedback_gain": 0.05, "hidden": (4,)}},
        "a loop needs at least two hidden populations",
    ),
    (
        {"system": {"kind": "loop", "feedback_gain": 0.05, "weight_angle": 10.0}},
        "^system.weight_angle = 10.0: is not used by system.kind = 'loop'",
    ),
    ({"system": {"topology": "x.toml"}}, "system.topology = 'x.toml': is not used by system.kind = 'mlp'"),
    ({"system": {"cost": "hinge"}}, "system.cost = 'hinge' is not known"),
    ({"system": {"gain": 0.0}}, "system.gain = 0.0: must be above 0"),
    ({"optimizer": {"kind": "adam"}}, "optimizer.kind = 'adam' is not known.*did you mean 'adamw'"),
    ({"optimizer": {"learning_rate": 0.0}}, "optimizer.learning_rate = 0.0: must be a finite number above 0"),
    ({"optimizer": {"weight_decay": -1.0}}, "optimizer.weight_decay = -1.0: must be a finite number, at least 0"),
    ({"optimizer": {"momentum": 1.0}}, "optimizer.momentum = 1.0: must be at least 0 and below 1"),
    ({"optimizer": {"schedule": "linear"}}, "optimizer.schedule = 'linear' is not known"),
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
        "training.precision = 'float16' is not known: choose one of float32, tensorfloat32, float64",
    ),
    ({"training": {"seed": -1}}, "training.seed = -1: must be at least 0"),
    ({"training": {"seed": 2**32}}, r"training.seed = 4294967296: must be below 2\^32"),
    (
        {"system": {"feedback": "none", "feedback_gain": 0.5}},
        "system.feedback_gain = 0.5: is not used by system.feedback = 'none'",
    ),
    (
        {"system": {"feedback": "tied", "weight_angle": 10.0}},
        "system.weight_angle = 10.0: is not used by system.feedback = 'tied'",
    ),
]


@pytest.mark.parametrize(("sections", "message"), REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_refused_and_nothing_written(tmp_path, sections, message):
    with pytest.raises(InputError, match=message) as error:
        train(config(**sections), tmp_path / "run", dataset=DATA)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_unknown_dataset(tmp_path):
    with pytest.raises(InputError, match="dataset = 'toy' is not known: choose one of digits"):
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


def network_config(topology):
    default = SystemConfig()
    return dataclasses.replace(default, kind="network", topology=topology)


def test_network_from_a_file(tmp_path):
    system = build_system(
        network_config(write_graph(tmp_path / "g.json")), DATA, key=jax.random.key(0), dtype=jnp.float64
    )
    assert set(system.weights) == {"input->h", "h->output"}


@pytest.mark.parametrize(
    ("size", "name", "message"), [(9, "g.json", "images of toy have 16 pixels"), (9, "", "needs a topology file")]
)
def test_network_that_does_not_fit(tmp_path, size, name, message):
    write_graph(tmp_path / "g.json", size)
    with pytest.raises(InputError, match=message):
        build_system(network_config(str(tmp_path / name) if name else ""), DATA, key=jax.random.key(0), dtype=float)


def test_costs_that_need_an_output_unit_per_class(tmp_path):
    write_graph(tmp_path / "g.json")
    graph = json.loads((tmp_path / "g.json").read_text())
    graph["populations"]["output"]["size"] = 5
    (tmp_path / "g.json").write_text(json.dumps(graph))
    section = dataclasses.replace(network_config(str(tmp_path / "g.json")), cost="squared_error")
    with pytest.raises(InputError, match="needs one output unit a class, 3, not 5"):
        build_system(section, DATA, key=jax.random.key(0), dtype=float)


def test_family_has_every_estimator_with_the_settings_it_takes():
    family = estimator_family(EstimatorConfig(kind="centered", nudge=0.7))
    assert list(family) == list(ESTIMATORS)
    assert family["holomorphic"].nudge == family["one_sided"].nudge == 0.7


@pytest.fixture(scope="module")
def system():
    return Trainer(config(), DATA).system


def step(section, system, steps=1):
    """The change of the parameters by optimizer steps on a gradient of ones."""
    optimizer = build_optimizer(section, system, total_steps=4)
    params, state = system, optimizer.init(system)
    for _ in range(steps):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = jax.tree.map(jnp.add, params, updates)
    return jax.tree.map(jnp.subtract, params, system)


def test_sgd_with_momentum(system):
    moved = step(OptimizerConfig(learning_rate=0.1, momentum=0.5, schedule="constant"), system, steps=2)
    assert all(np.allclose(m, -0.1 * (1 + 1.5)) for m in jax.tree.leaves(moved))


def test_cosine_reaches_zero_at_the_last_step(system):
    rates = 0.05 * (1 + np.cos(np.pi * np.arange(4) / 4))
    for steps in (1, 4):
        moved = step(OptimizerConfig(learning_rate=0.1, momentum=0.0, schedule="cosine"), system, steps)
        assert np.allclose(moved.biases["output"], -rates[:steps].sum())


def test_weight_decay_spares_biases(system):
    system = eqx.tree_at(lambda s: s.biases["hidden_1"], system, system.biases["hidden_1"] + 1)
    moved = step(OptimizerConfig(learning_rate=0.1, momentum=0.0, weight_decay=0.3), system)
    weight = system.weights["input->hidden_1"]
    assert np.allclose(moved.weights["input->hidden_1"], -0.1 * (1 + 0.3 * weight))
    assert np.allclose(moved.biases["hidden_1"], -0.1)


def test_adamw(system):
    moved = step(OptimizerConfig(kind="adamw", learning_rate=0.1, weight_decay=0.3), system)
    weight = system.weights["input->hidden_1"]
    assert np.allclose(moved.weights["input->hidden_1"], -0.1 * (1 + 0.3 * weight), rtol=1e-5)


def test_learning_rate_by_connection(system):
    rates = {"input->hidden_1": 0.0, "output->hidden_1": 1.0, "output": 2.0, "readout": 3.0}
    moved = step(OptimizerConfig(learning_rate=0.1, momentum=0.0, learning_rates=rates), system)
    assert (moved.weights["input->hidden_1"] == 0).all()
    assert np.allclose(moved.weights["output->hidden_1"], -1)
    assert np.allclose(moved.weights["hidden_1->output"], -0.1)
    assert np.allclose(moved.biases["output"], -2) and np.allclose(moved.cost.weight, -3)
    assert set(jax.tree.leaves(parameter_groups(system))) > set(rates)


def test_float64_must_be_enabled():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(InputError, match="enable it in JAX first"):
            dtype_of("float64")
    finally:
        jax.config.update("jax_enable_x64", True)
    assert dtype_of("float32") == jnp.float32


@pytest.mark.parametrize("file", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda f: f.stem)
def test_every_estimator_stands_on_the_settings_of_every_experiment(file):
    """As `equiprop bench` and `compare` have them: no setting of one kind gets in the way of another."""
    config = Config.from_file(file)
    for kind in ESTIMATORS:
        build_estimator(as_kind(config.estimator, kind))


def test_another_system_leaves_the_settings_of_the_first_behind():
    base = Config(system=SystemConfig(feedback_gain=0.5, weight_angle=30.0))
    asked = dataclasses.replace(base, system=dataclasses.replace(base.system, kind="loop"))
    default = SystemConfig()
    fitted = fit_to_kinds(asked, base).system
    assert (fitted.feedback_gain, fitted.weight_angle) == (default.feedback_gain, default.weight_angle)
    tied = dataclasses.replace(base, system=dataclasses.replace(base.system, feedback="tied"))
    assert fit_to_kinds(tied, base).system.weight_angle == default.weight_angle
    assert fit_to_kinds(tied, base).system.feedback_gain == 0.5
    own = dataclasses.replace(asked, system=dataclasses.replace(asked.system, weight_angle=20.0))
    assert fit_to_kinds(own, base).system.weight_angle == 20.0


def test_the_exact_gradient_beside_a_run_is_solved_as_asked_for():
    """Whatever the estimator: where the default Krylov space is too small, there would be nothing to compare with."""
    parts = build_parts(config(estimator={"krylov": KrylovConfig(restart=7)}))
    assert parts.reference.krylov.restart == 7 and isinstance(parts.estimator, Centered)
    base = config(estimator={"krylov": KrylovConfig(restart=7)})
    other = dataclasses.replace(base, estimator=dataclasses.replace(base.estimator, kind="holomorphic"))
    assert fit_to_kinds(other, base).estimator.krylov.restart == 7
    with pytest.raises(InputError, match=r"estimator\.krylov\.restart = 0"):
        build_parts(config(estimator={"krylov": KrylovConfig(restart=0)}))


@pytest.mark.parametrize(
    ("system", "homeostasis", "expected"),
    [
        ({"kind": "mlp"}, {}, ("antisymmetric", 100.0, True, True)),
        ({"kind": "cnn"}, {}, ("antisymmetric", 100.0, True, True)),
        ({"kind": "mlp", "hidden": ()}, {}, ("jacobian", 0.3, False, "auto")),
        ({"kind": "mlp", "feedback": "tied"}, {}, ("jacobian", 0.3, False, "auto")),
        ({"kind": "loop"}, {}, ("jacobian", 0.3, False, "auto")),
        ({"kind": "loop"}, {"kind": "antisymmetric"}, ("antisymmetric", 0.3, False, True)),
        ({"kind": "mlp"}, {"kind": "jacobian"}, ("jacobian", 0.3, False, "auto")),
        ({"kind": "mlp"}, {"kind": "jacobian", "feedback_only": True}, ("jacobian", 100.0, True, "auto")),
        ({"kind": "mlp"}, {"strength": 2.0, "balanced": False}, ("antisymmetric", 2.0, True, False)),
        ({"kind": "mlp"}, {"feedback_only": False}, ("antisymmetric", 0.3, False, True)),
        ({"kind": "mlp"}, {"kind": "kolen_pollack"}, ("kolen_pollack", 0.3, "auto", "auto")),
        ({"kind": "mlp"}, {"kind": "none"}, ("none", "auto", "auto", "auto")),
    ],
)
def test_what_auto_stands_for(system, homeostasis, expected):
    """Whatever is asked for by name is kept, and deciding twice is deciding once."""
    asked = Config(system=SystemConfig(**system), homeostasis=HomeostasisConfig(**homeostasis))
    found = decide(asked)
    ours = found.homeostasis
    assert (ours.kind, ours.strength, ours.feedback_only, ours.balanced) == expected
    assert decide(found) == found
    assert dataclasses.replace(found, homeostasis=asked.homeostasis) == asked


def test_what_auto_stands_for_is_what_is_built(tmp_path):
    assert build_treatment(Config()) == AntisymmetricHomeostasis(
        strength=100.0, probes=5, samples=5, shared_updates="auto", feedback_only=True, balanced=True
    )
    assert isinstance(build_treatment(Config(homeostasis=HomeostasisConfig("none"))), NoHomeostasis)
    assert build_treatment(Config(homeostasis=HomeostasisConfig("kolen_pollack"))) == KolenPollack(strength=0.3)
    loop = Config(system=SystemConfig(kind="loop"))
    assert build_treatment(loop) == JacobianHomeostasis(strength=0.3, probes=5, samples=5, shared_updates="auto")
    # Of any graph, its own connections say whether there are pairs.
    for feedback, kind in (("untied", "antisymmetric"), ("none", "jacobian")):
        (tmp_path / "net.json").write_text(
            json.dumps(
                {
                    "populations": {name: {"size": 4} for name in ("input", "a", "output")},
                    "connections": [
                        {"source": "input", "target": "a", "feedback": "none"},
                        {"source": "a", "target": "output", "feedback": feedback},
                    ],
                }
            )
        )
        network = Config(system=SystemConfig(kind="network", topology=str(tmp_path / "net.json")))
        assert decide(network).homeostasis.kind == kind


def test_without_feedback_nothing_is_scaled_by_it():
    system = build_system(SystemConfig(hidden=(4, 4), feedback="none"), DATA, key=jax.random.key(0), dtype=jnp.float32)
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
    system = SystemConfig(kind="network", topology=str(tmp_path / "net.json"))
    with pytest.raises(InputError, match=r"populations\.input\.size = \[1, 4, 4\]: images of toy are \[4, 4, 1\]"):
        build_system(system, DATA, key=jax.random.key(0), dtype=jnp.float32)


def test_the_default_homeostasis_trains_and_its_run_says_what_it_was(tmp_path):
    """Every connection with a partner: feedback follows. The loop has none: a light hand on all weights."""
    for kind, expected in (("mlp", "antisymmetric"), ("loop", "jacobian")):
        system = SystemConfig(kind=kind, hidden=(8, 8), gain=2.0, feedback_gain=0.3 if kind == "mlp" else 0.05)
        asked = dataclasses.replace(config(training={"epochs": 1}), system=system, homeostasis=HomeostasisConfig())
        summary = train(asked, tmp_path / kind, dataset=dataset())
        assert summary["homeostasis"] == expected
        recorded = Config.from_file(tmp_path / kind / "config.toml")
        assert recorded.homeostasis == decide(asked).homeostasis != asked.homeostasis


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
