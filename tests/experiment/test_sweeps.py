"""Sweeps: what is tried, what is kept, and what a killed process leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import toy
from equiprop.errors import InputError
from equiprop.experiment import Config, load, overlaid, train
from equiprop.experiment.sweeps import Sweep, _executors, execute
from equiprop.experiment.sweeps._space import Range, Values, values_of
from equiprop.experiment.sweeps._trials import StorageError
from equiprop.reporting import find_runs, read_run

DATA = toy.dataset()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small data set in a file, and a way to write a sweep over it."""
    folder = tmp_path_factory.mktemp("sweeps")
    np.savez(
        folder / "toy.npz", x_train=DATA.train.x, y_train=DATA.train.y, x_validation=DATA.validation.x,
        y_validation=DATA.validation.y, x_test=DATA.test.x, y_test=DATA.test.y,
    )  # fmt: skip
    return folder


BASE = """
[config]
dataset = "{folder}/toy.npz"
system.hidden = [6]
training = {{epochs = 2, batch_size = 20, diagnostic_samples = 0}}
"""
LISTS = '[parameters]\n"estimator.nudge" = [0.1, 0.4]\n"optimizer.learning_rate" = [0.02, 0.3]\n'
RANGES = '[parameters]\nestimator.nudge = {from = 0.05, to = 0.5, log = true}\n"homeostasis.strength" = [0.0, 0.5]\n'


def written(place, tmp_path, text, head=""):
    file = tmp_path / "sweep.toml"
    file.write_text(head + BASE.format(folder=place) + text)
    return file


def swept(file, **changes):
    sweep = Sweep.from_file(file, {"out": str(file.parent / "out")} | changes)
    told = []
    execute(sweep, told.append)
    return sweep, told


def came_out(sweep):
    return [(t.number, t.state, t.values, t.metric) for t in sweep.results()]


def weights(folder):
    return [np.asarray(a) for a in jax.tree.leaves(load(folder).system)]


@pytest.fixture(autouse=True)
def _workers_compile_as_the_tests_do(monkeypatch):
    for name in ("JAX_ENABLE_X64", "JAX_DISABLE_MOST_OPTIMIZATIONS"):
        monkeypatch.setenv(name, "1")


@pytest.fixture(scope="module")
def grid(place, tmp_path_factory):
    return swept(written(place, tmp_path_factory.mktemp("grid"), LISTS, 'sampler = "grid"\n'))


@pytest.fixture(scope="module")
def random(place, tmp_path_factory):
    return swept(
        written(place, tmp_path_factory.mktemp("random"), RANGES, 'sampler = "random"\ntrials = 3\nseed = 5\n')
    )


def test_a_grid_is_every_combination(grid):
    sweep, told = grid
    tried = [(t.values["estimator.nudge"], t.values["optimizer.learning_rate"]) for t in told]
    assert tried == [(0.1, 0.02), (0.1, 0.3), (0.4, 0.02), (0.4, 0.3)]
    assert [t.number for t in told] == [0, 1, 2, 3] and all(t.state == "complete" for t in told)
    for trial in told:
        run = read_run(trial.folder)
        assert run.summary is not None and run.summary["validation_error_percent"] == trial.metric
        assert trial.metric_name == "validation_error_percent"
        assert run.config["estimator"]["nudge"] == trial.values["estimator.nudge"]
    best = sweep.best()
    assert best is not None and best.metric == min(t.metric for t in told)
    assert [t.metric for t in sweep.ranked(told)] == sorted(t.metric for t in told)


def test_a_trial_is_the_run_of_its_configuration(grid, tmp_path):
    sweep, told = grid
    train(Config.from_mapping(overlaid(sweep.base, told[3].values)), tmp_path / "run")
    assert all(map(np.array_equal, weights(tmp_path / "run"), weights(told[3].folder)))


def test_the_same_sweep_again_trains_nothing_and_more_trials_go_on(grid):
    sweep, _ = grid
    again, more = swept(Path(sweep.out).parent / "sweep.toml")
    assert more == [] and came_out(again) == came_out(sweep)


@pytest.mark.slow
def test_what_is_drawn_follows_from_the_seed(random, place, tmp_path):
    _, told = random
    assert all(0.05 <= t.values["estimator.nudge"] <= 0.5 for t in told) and len(told) == 3
    head = 'sampler = "random"\ntrials = 2\nseed = {}\nstorage = "journal"\n'
    first, _ = swept(written(place, tmp_path, RANGES, head.format(5)))
    assert came_out(first) == [(t.number, t.state, t.values, t.metric) for t in told[:2]]
    last, _ = swept(written(place, tmp_path, RANGES, head.format(5)), trials=3)
    assert came_out(last) == [(t.number, t.state, t.values, t.metric) for t in told]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import jax
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from equiprop.experiment.sweeps import Sweep, _work, execute

def on_steps(self, epoch, step, loss):
    if self._claims[0].number == 1 and epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

_work._Pruning.on_steps = on_steps
execute(Sweep.from_file(sys.argv[2], {"out": sys.argv[3]}), lambda trial: None)
"""


def killed(file):
    arguments = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1]), str(file), str(file.parent / "out")]
    return subprocess.run(arguments, capture_output=True, check=False, env=dict(os.environ))


@pytest.mark.slow
def test_a_killed_driver_repeats_nothing(random, place, tmp_path):
    file = written(place, tmp_path, RANGES, 'sampler = "random"\ntrials = 3\nseed = 5\n')
    ended = killed(file)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    sweep = Sweep.from_file(file, {"out": str(tmp_path / "out")})
    assert [t.state for t in sweep.results()] == ["complete", "running"]
    first = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "trial-0000").rglob("*") if p.is_file()}
    sweep, told = swept(file)
    assert [t.number for t in told] == [1, 2]
    assert came_out(sweep) == came_out(random[0])
    for mine, theirs in zip(sweep.results(), random[0].results(), strict=True):
        assert all(map(np.array_equal, weights(mine.folder), weights(theirs.folder)))
    assert first == {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "trial-0000").rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_trial_that_kills_its_process_is_given_up(place, tmp_path):
    """As a killed process leaves it: running, and its lock free."""
    file = written(place, tmp_path, RANGES, 'sampler = "random"\ntrials = 1\nseed = 5\n')
    sweep = Sweep.from_file(file, {"out": str(tmp_path / "out")})
    trials = sweep.open()
    for _ in range(3):
        claim = trials.claim(1)
        assert claim is not None and claim.number == 0
        assert trials.claim(1) is None
        claim.release()
    _, told = swept(file)
    assert told == [] and [t.state for t in sweep.results()] == ["fail"]
    assert sweep.results()[0].reason == "its process was killed 3 times"


def test_an_epoch_or_an_orderly_end_is_no_failed_attempt(place, tmp_path):
    sweep = Sweep.from_file(written(place, tmp_path, RANGES, "trials = 1\n"), {"out": str(tmp_path / "out")})
    trials = sweep.open()
    for epoch in range(1, 6):
        claim = trials.claim(1)
        assert claim is not None
        claim.report(1.0, epoch)
        claim.release()
    for _ in range(5):
        claim = trials.claim(1)
        assert claim is not None
        claim.interrupt()
    assert [t.state for t in sweep.results()] == ["running"]


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_tpe_finds_the_best_nudge_and_goes_on_as_it_would_have(place, tmp_path, storage):
    """Of an objective that costs nothing: (log10 nudge + 1)², best at 0.1."""
    text = "[parameters]\nestimator.nudge = {from = 0.001, to = 1.0, log = true}\n"

    def tried(out, *counts):
        for most in counts:
            trials = Sweep.from_file(
                written(place, tmp_path, text, f'storage = "{storage}"\n'), {"out": str(tmp_path / out), "trials": 25}
            ).open()
            while claim := trials.claim(most):
                claim.complete("objective", (np.log10(claim.stored["estimator.nudge"]) + 1) ** 2)
        sweep = Sweep.from_file(tmp_path / out / "sweep.toml")
        return sweep, [t.values["estimator.nudge"] for t in sweep.results()]

    sweep, nudges = tried("once", 25)
    best = sweep.best()
    assert best is not None and len(nudges) == 25
    assert abs(np.log10(best.values["estimator.nudge"]) + 1) < 0.15
    begun, later = (np.abs(np.log10(part) + 1).mean() for part in (nudges[:10], nudges[15:]))
    assert later < 0.7 * begun
    assert tried("twice", 7, 16, 25)[1] == nudges


@pytest.mark.slow
def test_workers_share_the_trials_and_one_that_is_killed_is_replaced(random, place, tmp_path, monkeypatch):
    begun, begin = [], _executors._begun

    def recorded(sweep):
        begun.append(begin(sweep))
        return begun[-1]

    monkeypatch.setattr(_executors, "_begun", recorded)

    def kill_the_first():
        while not (tmp_path / "out" / "trial-0000" / "checkpoints").exists():
            time.sleep(0.05)
        os.kill(begun[0].process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_the_first, daemon=True)
    thread.start()
    file = written(place, tmp_path, RANGES, 'sampler = "random"\ntrials = 3\nseed = 5\nworkers = 2\n')
    sweep, told = swept(file)
    thread.join()
    assert len(begun) == 3 and sorted(t.number for t in told) == [0, 1, 2]
    assert all(t.state == "complete" for t in told)
    assert [t.values for t in sweep.results()] == [t.values for t in random[0].results()]
    assert len(find_runs(sweep.out)) == 3


@pytest.mark.slow
def test_lanes_are_each_what_they_are_alone(random, place, tmp_path):
    file = written(place, tmp_path, RANGES, 'sampler = "random"\ntrials = 3\nseed = 5\nlanes = 2\n')
    _, told = swept(file)
    assert [t.number for t in told] == [0, 1, 2]
    for mine, theirs in zip(told, random[1], strict=True):
        assert mine.metric == theirs.metric
        assert all(map(np.array_equal, weights(mine.folder), weights(theirs.folder)))


@pytest.mark.slow
def test_lanes_that_are_other_programs_are_trained_in_turn(place, tmp_path):
    text = '[parameters]\nestimator.kind = ["centered", "holomorphic"]\nestimator.points = [4]\n'
    _, told = swept(written(place, tmp_path, text, 'sampler = "grid"\nlanes = 2\n'))
    assert [t.state for t in told] == ["complete", "complete"]
    tables = [read_run(t.folder).config["estimator"] for t in told]
    assert "points" not in tables[0] and tables[1]["points"] == 4


@pytest.mark.slow
def test_a_trial_that_fails_says_why_and_the_others_go_on(place, tmp_path):
    text = '[parameters]\nsystem.gain = [1.0, 1e30]\n"training.batch_size" = [20, 1000]\n'
    sweep, told = swept(written(place, tmp_path, text, 'sampler = "grid"\n'))
    assert [t.state for t in told] == ["complete", "fail", told[2].state, "fail"]
    assert "there are only 120 training samples" in told[1].reason
    best = sweep.best()
    assert best is not None and best.number in (0, 2)


@pytest.mark.slow
def test_a_trial_that_falls_behind_is_pruned(place, tmp_path):
    """By what Optuna's median pruner says of the numbers reported."""
    text = '[parameters]\n"optimizer.learning_rate" = [0.3, 0.31, 0.32, 0.33, 0.34, 1e-9]\n'
    _, told = swept(
        written(place, tmp_path, text, 'sampler = "grid"\npruner = "median"\nmetric = "train_loss"\n'),
    )
    # Median pruning begins after five trials.
    assert [t.state for t in told] == ["complete"] * 5 + ["pruned"]
    assert len(read_run(told[5].folder).metrics) == 2
    assert told[5].metric == read_run(told[5].folder).metrics[-1]["train_loss"]


@pytest.mark.slow
def test_jobs_of_submitit(random, place, tmp_path):
    head = """
        sampler = "random"
        trials = 2
        seed = 5
        storage = "journal"
        workers = 2
        executor = {kind = "submitit", cluster = "local", timeout_min = 5}
        """
    sweep, told = swept(written(place, tmp_path, RANGES, head))
    assert sorted(t.number for t in told) == [0, 1] and all(t.state == "complete" for t in told)
    assert [t.values for t in sweep.results()] == [t.values for t in random[1][:2]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tasks_of_a_ray_cluster_of_which_a_node_is_lost(random, place, tmp_path):
    """Two real nodes of this machine; the one that trains the first trial is taken away in the middle of it."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = cluster.add_node(num_cpus=1)

    def take_away():
        while len([*(tmp_path / "out").glob("trial-*/checkpoints")]) < 2:
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)

    thread = threading.Thread(target=take_away, daemon=True)
    thread.start()
    try:
        head = f'''
            sampler = "random"
            trials = 3
            seed = 5
            storage = "journal"
            workers = 2
            executor = {{kind = "ray", address = "{cluster.address}", num_cpus = 1}}
            '''
        sweep, told = swept(written(place, tmp_path, RANGES, head))
    finally:
        ray.shutdown()
        cluster.shutdown()
    thread.join()
    assert sorted(t.number for t in told) == [0, 1, 2] and all(t.state == "complete" for t in told)
    assert [t.values for t in sweep.results()] == [t.values for t in random[1]]


NUDGE = '[parameters]\n"estimator.nudge" = {}\n'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "text", "message"),
    [
        (
            "",
            NUDGE.replace("nudge", "nugde").format("[0.1]"),
            "no configuration has such a key; did you mean 'estimator.nudge'",
        ),
        (
            "",
            NUDGE.replace("nudge", "points").format("[4]"),
            "estimator.points: is not used by estimator.kind = 'centered'",
        ),
        ("", '[parameters]\n"homeostasis.strength" = [-1.0]\n', r"parameters.homeostasis.strength = -1.0: must be"),
        ("", NUDGE.format('["much"]'), r"parameters.estimator.nudge = 'much': must be a number"),
        ("", NUDGE.format("[]"), "parameters.estimator.nudge: is empty"),
        ("", NUDGE.format("{from = 1.0, to = 0.1}"), "to = 0.1: must be above from = 1.0"),
        ("", NUDGE.format("{from = 0.1, to = 1.0, lgo = true}"), "there is no key 'lgo'.*did you mean 'log'"),
        (
            'sampler = "grid"\n',
            NUDGE.format("{from = 0.1, to = 1.0}"),
            "estimator.nudge: has no end of values; give a list",
        ),
        ("", "", "parameters: is missing or empty"),
        ("trails = 3\n", LISTS, "there is no key 'trails'.*did you mean 'trials'"),
        ("trials = 0\n", LISTS, "trials = 0: must be at least 1"),
        ('trials = "many"\n', LISTS, "trials = 'many': must be a whole number"),
        (
            'metric = "test_error_percent"\n',
            LISTS,
            "metric = 'test_error_percent': nothing is selected on the test samples",
        ),
        ('metric = "validation_eror_percent"\n', LISTS, "did you mean 'validation_error_percent'"),
        ('sampler = "bayes"\n', LISTS, "sampler = 'bayes': is not known; choose one of tpe, random, grid"),
        (
            'executor = {kind = "cloud"}\n',
            LISTS,
            "executor.kind = 'cloud': is not known; choose one of local, submitit, ray",
        ),
        ('executor = {kind = "local", cpus = 3}\n', LISTS, "executor: there is no key 'cpus'"),
        ("", '[parameters]\n"training.precision" = ["float64"]\n', "training.precision: is the same for all trials"),
    ],
)
def test_refused(place, tmp_path, head, text, message):
    file = written(place, tmp_path, text, head)
    with pytest.raises(InputError, match=message):
        swept(file)
    assert not list(tmp_path.rglob("trial-*"))


def test_the_folder_of_another_sweep_is_refused(grid, place, tmp_path):
    sweep, _ = grid
    other = written(place, tmp_path, '[parameters]\n"estimator.nudge" = [0.1, 0.9]\n', 'sampler = "grid"\n')
    with pytest.raises(InputError, match="holds another sweep; give another folder by out"):
        swept(other, out=str(sweep.out))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already, and is no sweep"):
        swept(other, out=str(tmp_path / "taken"))


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_a_storage_that_is_none_or_of_another_sweep(random, place, tmp_path, storage):
    file = written(place, tmp_path, RANGES, f'sampler = "random"\ntrials = 1\nstorage = "{storage}"\n')
    sweep = Sweep.from_file(file, {"out": str(tmp_path / "out")})
    sweep.open()
    name = {"sqlite": "study.db", "journal": "study.journal"}[storage]
    (tmp_path / "out" / name).write_text("this is no storage\n")
    with pytest.raises(InputError, match="is no storage of a sweep"):
        swept(file)
    if storage == "sqlite":
        (tmp_path / "out" / name).write_bytes((random[0].out / name).read_bytes())
        with pytest.raises(InputError, match="is the storage of another sweep"):
            swept(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ from = 0.1, to = inf }", r"\.to = inf: must be a finite number"),
        ("{ from = 0.1, to = 1.0, step = 1e-9 }", ": has more than 1,048,576 values; give a larger step"),
    ],
)
def test_a_grid_without_end_is_refused(tmp_path, text, message):
    file = tmp_path / "sweep.toml"
    file.write_text(f'sampler = "grid"\n[parameters]\n"estimator.nudge" = {text}\n')
    with pytest.raises(InputError, match=r"parameters\.estimator\.nudge" + message):
        Sweep.from_file(file)


def test_values_that_a_trial_cannot_have_been_given_are_refused():
    space = {"estimator.nudge": Values((0.1, 0.2)), "optimizer.learning_rate": Range(0.01, 0.1)}
    assert values_of(space, {"estimator.nudge": 0.2, "optimizer.learning_rate": 0.05})["estimator.nudge"] == 0.2
    for stored, message in (
        ({"estimator.nudge": 0.3}, r"estimator\.nudge = 0\.3: is none of its values"),
        ({"optimizer.learning_rate": "many"}, "is no number"),
        ({"estimator.points": 4}, "is nothing that this sweep varies"),
    ):
        with pytest.raises(InputError, match=message):
            values_of(space, stored)


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_a_storage_that_is_damaged_under_way_is_named(tmp_path, storage):
    sweep = Sweep({}, {"estimator.nudge": Values((0.1, 0.2))}, tmp_path, sampler="random", trials=3, storage=storage)
    trials = sweep.open()
    claim = trials.claim(3)
    assert claim is not None
    (file,) = tmp_path.glob("study.*")
    file.write_bytes(b"this is no storage any more\n" * 500)
    with pytest.raises(StorageError, match=rf"{file}: .*; put it back as it was, or give another folder by out"):
        claim.complete("validation_loss", 0.5)
    claim.release()
