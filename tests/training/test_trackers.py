"""What tracking libraries keep of a training, read back from what they wrote, and that their failures are not the training's."""

import json
import socket
import struct
import sys
import warnings
from collections import Counter, defaultdict

import equinox as eqx
import jax
import numpy as np
import optax
import pytest

import equiprop as ep
import toy
from equiprop import experiment
from equiprop.cli.main import main
from equiprop.errors import InputError, TrackerWarning
from equiprop.experiment import RunDirectory
from equiprop.reporting import mean_of
from equiprop.training.callbacks._tracker import hyperparameters, numbers_in, simple_name

# Of MLflow's database layer, which is imported when it is first used.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.integers(0, 2, 40)
SYSTEM = ep.mlp(3, (4,), 2, key=jax.random.key(0))
PROJECT = "a-project"


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Everything that the libraries write lies here, and none of them asks anybody."""
    folder, asked = tmp_path_factory.mktemp("trackers"), []
    quiet = {
        "DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_MODE": "offline",
    }
    places = ("HOME", "HF_HOME", "TRACKIO_DIR", "WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")
    connect = socket.socket.connect

    def connect_here(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            asked.append(address)
            raise OSError("the tests have no network")
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_TOKEN", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "WANDB_API_KEY"):
            patch.delenv(name, raising=False)
        for name, value in quiet.items():
            patch.setenv(name, value)
        for name in places:
            (folder / name).mkdir()
            patch.setenv(name, str(folder / name))
        patch.chdir(folder)
        patch.setattr(socket.socket, "connect", connect_here)
        yield folder
    assert asked == []
    assert list((folder / "HOME").iterdir()) == []


def trackers(folder):
    store = f"sqlite:///{folder / 'mlflow.db'}"
    return [ep.TensorBoard(), ep.WandB(PROJECT), ep.MLflow(PROJECT, store), ep.Trackio(PROJECT, auto_log_cpu=False)]


def fit(epochs=2, **options):
    given = {"optimizer": optax.sgd(0.1), "homeostasis": ep.NoHomeostasis(), "batch_size": 20, "quiet": True}
    return ep.fit(SYSTEM, (X, Y), validation=(X[:20], Y[:20]), epochs=epochs, **given | options)


@pytest.fixture(scope="module")
def kept(folder):
    """A training in two goes, and one that is known to TensorBoard for its third epoch alone."""
    run = folder / "run"
    fit(2, run=run, callbacks=trackers(folder))
    late = ep.TensorBoard(folder / "late")
    return fit(3, run=run, callbacks=[*trackers(folder), late])


def by_epoch(history):
    return {line["epoch"]: {simple_name(name): value for name, value in numbers_in(line).items()} for line in history}


def settings(kept, epochs):
    """By dotted names, as text; those of the first go have its epochs."""
    found = hyperparameters(kept.config.to_mapping()) | {"training.epochs": epochs}
    return {name: str(value) for name, value in found.items()}


def tensorboard_events(folder):
    from tensorboardX.proto.event_pb2 import Event

    events = []
    for path in sorted(folder.iterdir(), key=lambda path: path.suffix):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            events.append(Event.FromString(data[at + 12 : at + 12 + length]))
            at += 16 + length
    return events


def tensorboard_scalars(folder):
    found = defaultdict(dict)
    for event in tensorboard_events(folder):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                assert value.tag not in found[event.step]
                found[event.step][value.tag] = value.simple_value
    return found


def close(found, expected):
    """TensorBoard keeps single precision."""
    assert {epoch: set(values) for epoch, values in found.items()} == {e: set(v) for e, v in expected.items()}
    return all(np.isclose(found[e][n], v, rtol=1e-6) for e, values in expected.items() for n, v in values.items())


@pytest.mark.slow
def test_tensorboard_shows_every_epoch_and_the_hyperparameters(kept):
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    folder = kept.run / "tensorboard"
    found = tensorboard_scalars(folder)
    assert close(found, by_epoch(kept.history)) and len(found) == 3
    events = tensorboard_events(folder)
    values = [value for event in events for value in event.summary.value if value.tag == "_hparams_/session_start_info"]
    (begun,) = (HParamsPluginData.FromString(v.metadata.plugin_data.content).session_start_info for v in values)
    assert begun.hparams["estimator.nudge"].number_value == kept.config.estimator.values["nudge"]
    assert (
        begun.hparams["estimator.kind"].string_value == "centered"
        and begun.hparams["training.epochs"].number_value == 2
    )
    # What a killed process may have written of the third epoch is not shown.
    assert [event.step for event in events if event.session_log.status] == [3]


@pytest.mark.slow
def test_a_record_that_is_begun_late_has_the_epochs_before(kept, folder):
    assert close(tensorboard_scalars(folder / "late"), by_epoch(kept.history))


def wandb_records(folder):
    """Of every file, oldest first: entries in blocks of 32 KiB, after a header of seven bytes each."""
    from wandb.proto.wandb_internal_pb2 import Record

    records = []
    for path in sorted((folder / "WANDB_DIR").glob("wandb/offline-run-*/*.wandb")):
        data, at, record = path.read_bytes(), 7, b""
        while at < len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            length, kind = struct.unpack_from("<HB", data, at + 4)
            record += data[at + 7 : at + 7 + length]
            at += 7 + length
            # Whole, or its last part.
            if kind in (1, 4):
                records.append(Record.FromString(record))
                record = b""
    return records


@pytest.mark.slow
def test_wandb_has_one_run_with_every_epoch_and_the_hyperparameters(kept, folder):
    records = wandb_records(folder)
    runs = [record.run for record in records if record.HasField("run")]
    assert len({run.run_id for run in runs}) == 1 and {run.project for run in runs} == {PROJECT}
    assert {run.display_name for run in runs} == {"run"}
    configs = [{item.key: json.loads(item.value_json) for item in run.config.update} for run in runs]
    texts = [{name: str(value) for name, value in config.items() if name != "_wandb"} for config in configs]
    assert settings(kept, 2) in texts and settings(kept, 3) in texts
    found = {}
    for record in records:
        if record.HasField("history"):
            items = record.history.item
            values = {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in items}
            epoch = values["_step"]
            assert epoch not in found
            found[epoch] = {name: value for name, value in values.items() if not name.startswith("_")}
    assert found == {line["epoch"]: numbers_in(line) for line in kept.history}
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0, 0]


@pytest.mark.slow
def test_mlflow_has_one_run_with_every_epoch_and_the_hyperparameters(kept, folder):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(PROJECT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    # MLflow keeps a parameter as it was first.
    assert run.data.params == settings(kept, 2)
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    found = defaultdict(dict)
    for name in run.data.metrics:
        for entry in client.get_metric_history(run.info.run_id, name):
            assert name not in found[entry.step]
            found[entry.step][name] = entry.value
    assert found == by_epoch(kept.history)


@pytest.mark.slow
def test_trackio_has_one_run_with_every_epoch_and_the_hyperparameters(kept, folder):
    from trackio.api import Api
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = Api().runs(PROJECT)
    assert (folder / "TRACKIO_DIR" / f"{PROJECT}.db").is_file() and run.name.startswith("run-")
    config = {name: str(value) for name, value in (run.config or {}).items() if not name.startswith("_")}
    assert config in (settings(kept, 2), settings(kept, 3))
    found = {}
    for line in SQLiteStorage.get_logs(PROJECT, run.name):
        assert line["step"] not in found
        found[line["step"]] = {name: value for name, value in line.items() if name not in ("step", "timestamp")}
    assert found == {line["epoch"]: numbers_in(line) for line in kept.history}


class Told(ep.Tracker):
    """Keeps what it is told; fails where it is asked to."""

    def __init__(self, fails=""):
        super().__init__()
        self.fails, self.told = fails, []

    @property
    def title(self):
        return f"Told({self.fails!r})"

    def start(self, plan):
        self._hear("start", plan.epoch)

    def log(self, metrics, epoch):
        self._hear("log", epoch, metrics)

    def finish(self, reason):
        self._hear("finish", reason)

    def _hear(self, what, *more):
        self.told.append((what, *more))
        print("says something")
        if what == self.fails:
            raise RuntimeError(f"no room\nfor {what}")


@pytest.mark.slow
def test_a_tracker_that_fails_is_said_once_and_never_stops_a_training(folder, monkeypatch, capsys):
    """In each of its methods; libraries that cannot begin; one that cannot be imported."""
    (folder / "file").touch()
    failing = [Told("start"), Told("log"), Told("finish")]
    gone = ep.WandB("gone")
    monkeypatch.setitem(sys.modules, "wandb", None)
    others = [
        ep.TensorBoard(folder / "file"),
        gone,
        ep.MLflow(tracking_uri="nowhere://x"),
        ep.Trackio(resume="perhaps"),
    ]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", TrackerWarning)
        tracked = fit(callbacks=[*failing, *others])
    messages = [str(each.message) for each in said if each.category is TrackerWarning]
    assert Counter(message.partition(":")[0] for message in messages) == Counter(t.title for t in [*failing, *others])
    assert "Told('log'): RuntimeError: no room for log; the training goes on without it" in messages
    assert all(message.count("\n") == 0 for message in messages)
    # It is told nothing after it has failed, and what it prints is not on standard output.
    assert [[what for what, *_ in tracker.told] for tracker in failing] == [
        ["start"],
        ["start", "log"],
        ["start", "log", "log", "finish"],
    ]
    assert capsys.readouterr().out == ""
    alone = fit()
    pairs = zip(jax.tree.leaves(tracked.system), jax.tree.leaves(alone.system), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs if eqx.is_array(a))


def test_a_quiet_tracker_prints_nothing(capsys):
    tracker = Told()
    for tracker.quiet in (False, True):
        tracker.on_start(ep.Plan(1, 1, 0, 0, (), {}))
        out, err = capsys.readouterr()
        assert out == "" and err == ("" if tracker.quiet else "says something\n")


def test_what_is_told_are_numbers_by_dotted_names():
    lines = [
        {"epoch": 2, "train_loss": loss, "cosine": {"total": 0.5, "hidden_1": None}, "stopped": "enough", "steps": 3}
        for loss in (1.0, 2.0)
    ]
    tracker = Told()
    tracker.on_start(ep.Plan(3, 1, 1, 0, (), {}))
    tracker.on_epoch(mean_of(lines), SYSTEM)
    _, (_, epoch, metrics) = tracker.told
    assert epoch == 2 and metrics == {
        "train_loss": 1.5,
        "cosine.total": 0.5,
        "steps": 3.0,
        "std.train_loss": pytest.approx(0.5**0.5),
        "std.cosine.total": 0.0,
        "std.steps": 0.0,
    }
    given = {"a": {"kind": "b", "flag": True, "none": None, "list": [1, 2], "size": float("inf")}, "c": {}, "d": 1}
    assert hyperparameters(given) == {"a.kind": "b", "a.flag": True, "a.list": "[1, 2]", "a.size": "inf", "d": 1}
    assert simple_name("weights.input->hidden_1: all") == "weights.input_to_hidden_1_all"


@pytest.mark.slow
def test_an_interrupted_training_and_a_failed_one_are_recorded_as_such(kept, folder):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    for reason, status in (("interrupted in epoch 1", "KILLED"), ("failed", "FAILED"), ("no better", "FINISHED")):
        tracker = ep.MLflow("another", f"sqlite:///{folder / 'mlflow.db'}")
        tracker.on_start(ep.Plan(3, 1, 0, 0, (), {}))
        tracker.on_end(reason)
        assert client.get_run(tracker.record).info.status == status


@pytest.mark.slow
def test_a_run_that_is_no_longer_there_is_begun_anew(kept, folder, tmp_path):
    from mlflow import MlflowClient

    store = f"sqlite:///{folder / 'mlflow.db'}"
    history, records = ({"epoch": 1, "train_loss": 0.5},), []
    for _ in range(3):
        tracker = ep.MLflow("gone", store)
        tracker.on_start(ep.Plan(3, 1, 1, 0, history, {}, str(tmp_path)))
        tracker.on_end("")
        records.append(tracker.record)
        if len(records) == 2:
            assert records[0] == records[1]
            MlflowClient(store).delete_run(tracker.record)
    assert records[2] != records[1]
    assert [entry.step for entry in MlflowClient(store).get_metric_history(records[2], "train_loss")] == [1]


@pytest.mark.parametrize("tracker", [ep.TensorBoard, ep.WandB, ep.MLflow, ep.Trackio])
def test_a_library_that_is_missing_is_said_at_once_and_how_to_install_it(tracker, monkeypatch):
    monkeypatch.setitem(sys.modules, tracker.package, None)
    message = rf"{tracker.__name__} needs the package {tracker.package}, .*; pip install equiprop\[{tracker.extra}\]"
    with pytest.raises(InputError, match=message):
        tracker()


def test_a_folder_of_its_name_is_no_library(tmp_path, monkeypatch):
    class Missing(Told):
        package, extra = "no_such_library", "something"

    (tmp_path / "no_such_library").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="needs the package no_such_library"):
        Missing()


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return stop.value.code, out, err


@pytest.mark.slow
@pytest.mark.filterwarnings("default::equiprop.errors.TrackerWarning")
@pytest.mark.parametrize("job", ["train", "resume"])
def test_the_command_tracks(job, capsys, tmp_path, monkeypatch):
    """Standard output is the JSON document alone; --quiet is heard by trackers; one that fails is a line."""
    run = tmp_path / "run"
    settings = toy.config()
    RunDirectory.create(run, settings, toy.dataset().info, "").unlock()

    def one_epoch(*where, callbacks, **more):
        for callback in callbacks:
            callback.on_start(ep.Plan(1, 1, 0, 0, (), settings.to_mapping(), str(run)))
            callback.on_epoch({"epoch": 1, "train_loss": 0.5}, SYSTEM)
            callback.on_end("")
        return {"epochs": 1}

    monkeypatch.setattr(experiment, job, one_epoch)
    monkeypatch.setattr("equiprop.training.callbacks._wandb.run_name", lambda plan: 1 / 0)
    tracked = [word for name in ("tensorboard", "trackio", "wandb") for word in ("--track", name)]
    given = ["--resume", run] if job == "resume" else ["--out", tmp_path / "new"]
    code, out, err = call(capsys, "train", *given, *tracked, "--json", "--quiet")
    assert code == 0 and json.loads(out) == {"epochs": 1}, err
    assert err.startswith("equiprop: warning: WandB('equiprop'): ZeroDivisionError") and err.count("\n") == 1
    assert tensorboard_scalars(run / "tensorboard") == {1: {"train_loss": 0.5}}
    assert json.loads((run / "trackers.json").read_text())["TensorBoard"] == "tensorboard"


def test_the_command_refuses_an_unknown_tracker_and_a_missing_library(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "train", "--track", "tensorbord")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert "--track = 'tensorbord': is not known" in err and "did you mean 'tensorboard'" in err
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, out, err = call(capsys, "train", "--track", "tensorboard", "--track", "wandb")
    assert code == 2 and out == "" and err.count("\n") == 1 and "pip install equiprop[wandb]" in err
    assert list(tmp_path.iterdir()) == []
