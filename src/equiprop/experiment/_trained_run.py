"""A run in the hand: its system with what it needs to predict, to be judged and to be taken elsewhere."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from equiprop.data import Dataset, DatasetInfo, Split, load_split, split_checksum
from equiprop.data import load as load_dataset
from equiprop.errors import InputError, suggest
from equiprop.experiment._config import Config
from equiprop.experiment._fit_parts import FOREIGN
from equiprop.experiment._run_directory import CHECKPOINT_NAMES, RunDirectory
from equiprop.experiment._seeds import require_one
from equiprop.experiment._settings import TrainingSettings
from equiprop.experiment._trainer import Trainer, dtype_of, make_system, on_hardware
from equiprop.numerics import resolve
from equiprop.solvers import AbstractSolver
from equiprop.systems import System
from equiprop.training import (
    Adjustment,
    Predictions,
    Samples,
    evaluate,
    named_parameters,
    on_device,
    predictions,
    write_parameters,
)


@dataclass(frozen=True, repr=False)
class TrainedRun:
    """The system of a run, and what the run says of it.

    **Fields:**

    - `path`: of the run directory.
    - `config`: everything that it was trained by.
    - `data`: shapes, classes, scale and fingerprints of what it was trained on.
    - `checkpoint`: `last`, or `best` by validation.
    - `epoch`: the epochs behind the system.
    - `system`: with averaged parameters, where the run averages.
    - `history`: of every epoch its metrics, as far as the run has come.
    """

    path: Path
    config: Config
    data: DatasetInfo
    checkpoint: str
    epoch: int
    system: System
    history: list[dict[str, Any]]
    given: Dataset | None = None

    def __repr__(self) -> str:
        return (
            f"TrainedRun({str(self.path)!r}: {type(self.system).__name__} after epoch {self.epoch} ({self.checkpoint}))"
        )

    @property
    def dtype(self) -> Any:
        return dtype_of(self.config.training["precision"])

    @property
    def adjustment(self) -> Adjustment:
        """What had been changed by then for the gradient to be as accurate as asked for."""
        line = next((line for line in self.history if line["epoch"] == self.epoch), {})
        return Adjustment.said_in(line, self.dtype)

    @cached_property
    def solver(self) -> AbstractSolver:
        """As it was after the last of these epochs."""
        solver = resolve(self.config.solver.create(), self.epoch / self.config.training["epochs"])
        return self.adjustment.of_solver(solver)

    @cached_property
    def dataset(self) -> Dataset:
        """Loaded, and compared with what the run was trained on: `InputError` if it is not that."""
        dataset = load_dataset(self.config.dataset) if self.given is None else self.given
        RunDirectory.open(self.path).require_data(dataset.info)
        return dataset

    @cached_property
    def trainer(self) -> Trainer:
        """Everything that the run was trained by, on one device, with its data."""
        return Trainer(_on_one_device(self.config), self.dataset, resumed=True)

    def predict(self, x: Any, *, batch_size: int = 200) -> Predictions:
        """What the system makes of inputs `[n, ...]`, as its data set stores them: pixels, or numbers before they are normalised.

        Raises `InputError` for inputs of another shape.
        """
        given = jax.tree.map(np.asarray, x)
        shapes = jax.tree.map(lambda a: tuple(a.shape[1:]), given)
        if shapes != self.data.input_shape:
            raise InputError(
                f"holds inputs of shape {shapes}",
                path="x",
                hint=f"this run takes {self.data.input_shape}, samples first",
            )
        samples = on_device(Split(given, np.zeros(len(jax.tree.leaves(given)[0]), np.int32)), self.data, self.dtype)
        return predictions(self.system, samples, self.solver, batch_size)

    def evaluate(self, split: str | tuple[Any, Any] = "test") -> dict[str, Any]:
        """Loss and how many samples converged, on a split of the run's data, or on inputs and targets (x, y) of one's own.

        Where targets name classes also the error, that of each class, and `confusion` as a list of rows. Raises `InputError` for
        data that are not those of the run, or do not fit its system.
        """
        found = evaluate(self.system, self.samples(split), self.solver, confusion=True)
        if "confusion" in found:
            matrix = np.asarray(found["confusion"])
            wrong = 1 - np.diag(matrix) / np.maximum(np.asarray(found["class_samples"]), 1)
            found["class_error_percent"] = dict(zip(self._classes(len(matrix)), (100 * wrong).tolist(), strict=True))
        return found

    def confusion(self, split: str | tuple[Any, Any] = "test") -> np.ndarray:
        """How many samples of each class (rows) were taken for each class (columns); those that diverged are in none.

        Raises as `evaluate`, and where targets name no classes.
        """
        found = self.evaluate(split)
        if "confusion" not in found:
            raise InputError("the targets of this run name no classes", path="confusion")
        return np.asarray(found["confusion"])

    def batch(self, split: str, rows: Any) -> tuple[Any, Any]:
        """Inputs and targets of some samples of a split, by their places, as the system and its cost take them.

        Raises as `evaluate`, and for a place that there is not.
        """
        samples, places = self.samples(split), np.asarray(rows)
        if np.any((places < 0) | (places >= len(samples))):
            raise InputError(
                f"the {split} split has {len(samples)} samples, the first of which is 0", path="rows", value=rows
            )
        return samples.batch(jax.numpy.asarray(places))

    def parameters(self) -> dict[str, np.ndarray]:
        """The parameters of the system, by their paths in it."""
        return named_parameters(self.system)

    def export(self, path: str | Path) -> Path:
        """Writes the parameters to a `.safetensors` or `.npz` file, by their paths in the system. Raises `InputError`."""
        return write_parameters(
            self.system, path, {"run": str(self.path), "epoch": str(self.epoch), "config": self.config.to_toml()}
        )

    def _classes(self, number: int) -> tuple[str, ...]:
        return self.data.classes or tuple(map(str, range(number)))

    def samples(self, split: str | tuple[Any, Any]) -> Samples:
        """A split of the run's data, or inputs and targets (x, y) of one's own, on the device. Raises as `evaluate`."""
        if isinstance(split, tuple):
            return on_device(Split(*split), self.data, self.dtype)
        return on_device(self._split(split), self.data, self.dtype)

    def _split(self, name: str) -> Split:
        """One split of the run's data; the test split without the training samples, where that can be."""
        if self.given is None and self.data.name in FOREIGN:
            hint = "give inputs and targets (x, y), or the Dataset to load"
            raise InputError(f"run {self.path}: was given {self.data.name}, which it does not keep", hint=hint)
        if self.given is not None or not self.data.checksums or "dataset" in vars(self):
            found = self.dataset.split(name)
            if not isinstance(found, Split):
                reason = f"{self.config.dataset} is read from disk file by file"
                raise InputError(reason, path="split", value=name, hint="choose validation or test")
            return found
        split = load_split(self.config.dataset, name)
        if split_checksum(split) != self.data.checksums[name]:
            raise InputError(
                f"its {name} split is not what the run was trained with",
                path="dataset",
                value=self.config.dataset,
                hint="put the original data back",
            )
        return split


def load(
    path: str | Path, *, checkpoint: str = "last", dataset: Dataset | None = None, like: System | None = None
) -> TrainedRun:
    """A run as an object: `run.system`, `run.predict(x)`, `run.evaluate()`, `run.confusion()`, `run.export("w.safetensors")`.

    The data are not read until they are asked for. On one device, whatever the run was trained on.

    **Arguments:**

    - `path`: of the run directory.
    - `checkpoint`: `last`, or `best` by validation.
    - `dataset`: in place of the one that the configuration names.
    - `like`: a system of the same structure, for a run of `fit`, which was given its system and cannot make it again.

    Raises `InputError` for a folder that is not a run, a checkpoint that is missing, damaged or of another configuration, or data
    that are not those of the run.
    """
    directory = RunDirectory.open(path)
    if checkpoint not in CHECKPOINT_NAMES:
        raise suggest("checkpoint", checkpoint, CHECKPOINT_NAMES)
    require_one(path, directory.config)
    best = checkpoint == "best"
    directory.checkpoints.about(best=best)  # that there is one, before anything is made for it
    config = directory.resolved_config()
    training = TrainingSettings(**config.training)
    dtype = dtype_of(training.precision)
    info = directory.data_info()
    if info is None:
        dataset = load_dataset(config.dataset) if dataset is None else dataset
        info = dataset.info
    if dataset is not None:
        directory.require_data(dataset.info)
    if like is None and config.system.is_given:
        hint = "give one of the same structure: equiprop.load(path, like=system)"
        raise InputError(f"run {path}: its system was given to fit ({config.system.label})", hint=hint)
    if like is None:
        like = make_system(config.system, info, key=jax.random.key(training.seed), dtype=dtype)
        like = on_hardware(config, like, info)
    about, system = directory.checkpoints.system(like, best=best)
    history = [line for line in directory.metrics() if line["epoch"] <= about.epoch] if best else directory.metrics()
    return TrainedRun(Path(path), config, info, checkpoint, about.epoch, system, history, dataset)


def _on_one_device(config: Config) -> Config:
    """How many devices a run was trained on does not matter where it is looked at."""
    return replace(config, training=config.training | {"devices": 1, "micro_batches": 1})
