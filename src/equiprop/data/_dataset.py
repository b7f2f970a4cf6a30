"""What a dataset is: three splits, of which training may be in shards, and the scale of an input."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from equiprop.data._arrays import Held, canonical, hold_out
from equiprop.data._foreign import of_huggingface, of_torch
from equiprop.data._info import DatasetInfo
from equiprop.data._shards import Shards
from equiprop.data._split import Split, leaves, mapped
from equiprop.data._statistics import statistics
from equiprop.errors import InputError, suggest

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Inputs and targets in three splits; a system's input is `(x - mean) / scale`.

    **Arguments:**

    - `name`: the name in the catalogue, the folder or file it was read from, or what a user's own source calls it.
    - `train`, `validation`, `test`: the splits; `train` is a `Split`, or `Shards` where it is too large for memory. The
        validation samples are held out of the source's training samples unless it has its own, so that nothing is ever
        selected on the test split. They may be empty.
    - `classes`: the name of each class, in the order of the labels or of the entries of a target; none where targets name no
        classes.
    - `mean`, `scale`: in units of the stored numbers; a number, or an array that broadcasts against an input (one value
        per channel where channels come last); of inputs in a dictionary, a dictionary of these. `None` where a system's input is
        what is stored, integers as integers.
    - `checksum`: sha256 (hex) over the samples of the three splits, see `checksum_of`; `load` fills it in, and `checksums`, those
        of each split, too.

    **Raises:** `InputError` where the splits differ in shape, or a label is not the index of a class (those of shards are checked
    by whoever reads the files).
    """

    name: str
    train: Split | Shards
    validation: Split
    test: Split
    classes: tuple[str, ...] = ()
    mean: Any = 0.0
    scale: Any = 1.0
    checksum: str = ""
    checksums: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            split = self.split(name)
            for what in ("input", "target"):
                shape, wanted = getattr(split, f"{what}_shape"), getattr(self.train, f"{what}_shape")
                if shape != wanted:
                    reason = f"the {what}s of {name} are {_shown(shape)}, those of train {_shown(wanted)}"
                    raise InputError(reason, path="dataset", value=self.name, hint="they must be the same")
        for name in SPLITS:
            split = self.split(name)
            labels = split.y if isinstance(split, Split) and self._labelled else np.empty(0, np.int32)
            if labels.size and labels.dtype.kind == "f":
                raise InputError(
                    f"the targets of {name} are real numbers, and there are names of classes",
                    path="dataset",
                    value=self.name,
                    hint="give labels as whole numbers, or no classes",
                )
            if labels.size and not (labels.min() >= 0 and labels.max() < self.n_classes):
                raise InputError(
                    f"the labels of {name} go from {labels.min()} to {labels.max()}",
                    path="dataset",
                    value=self.name,
                    hint=f"with {self.n_classes} classes they must lie in 0 to {self.n_classes - 1}",
                )

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        validation: Held = 0.1,
        test: Held = 0.0,
        classes: Sequence[str] | None = None,
        normalize: bool = True,
        allow_nan: bool = False,
        name: str = "arrays",
    ) -> "Dataset":
        """From arrays of one's own.

        **Arguments:**

        - `x`: numbers `[n, ...]`, or a dictionary of such arrays.
        - `y`: whole numbers or words `[n]` for classes; one-hot or soft class weights `[n, classes]` or any other real numbers
            `[n, ...]` for targets; a dictionary of targets for several outputs.
        - `validation`, `test`: `(x, y)`; or the fraction that is held out, evenly of all classes, by a fixed choice that no
            seed changes.
        - `classes`: their names. By default those of the words in `y`, or numbers.
        - `normalize`: whether a system's input is `(x - mean) / scale` with the mean and 1.5 standard deviations of the training
            samples, for each feature of a table and each channel of images; otherwise it is `x`.
        - `allow_nan`: whether numbers that are not finite are let through, rather than refused.

        **Raises:** `InputError` where x and y differ in length, hold no numbers, or something that is not finite, and where
        the splits do not fit each other.
        """
        given = {"train": (x, y)}
        given |= {key: value for key, value in (("validation", validation), ("test", test)) if isinstance(value, tuple)}
        made, found = canonical(given, classes, allow_nan=allow_nan)
        for key, value in (("test", test), ("validation", validation)):
            if not isinstance(value, tuple):
                made["train"], made[key] = hold_out(made["train"], value, key)
        mean, scale = statistics(made["train"].x) if normalize else (0.0, 1.0)
        return cls.sealed(name, made["train"], made["validation"], made["test"], found, mean, scale)

    @classmethod
    def from_torch(cls, data: Any, *, channels_last: bool = True, **options: Any) -> "Dataset":
        """From a `torch.utils.data.Dataset` of pairs (x, y), read as a whole.

        **Arguments:**

        - `channels_last`: whether images `[channels, height, width]` in tensors are turned to `[height, width, channels]`.
        - `options`: those of `from_arrays`; `validation` and `test` may be such datasets.
        """
        for key in ("validation", "test"):
            if not isinstance(options.get(key, 0.0), float | int | tuple):
                options[key] = of_torch(options[key], channels_last)
        return cls.from_arrays(*of_torch(data, channels_last), **options)

    @classmethod
    def from_huggingface(cls, data: Any, *, x: Any = None, y: Any = None, **options: Any) -> "Dataset":
        """From a `datasets.Dataset` or `DatasetDict` of Hugging Face; of the latter, its own validation and test splits.

        **Arguments:**

        - `x`, `y`: a column, or several of one number each, which make a table. By default the one of images, or all that hold no
            targets, and the one of labels.
        - `options`: those of `from_arrays`.
        """
        splits, classes = of_huggingface(data, x, y)
        options = {
            "classes": classes,
            **{key: splits[key] for key in ("validation", "test") if key in splits},
            **options,
        }
        return cls.from_arrays(*splits["train"], **options)

    @classmethod
    def sealed(
        cls, name: str, train: Split | Shards, validation: Split, test: Split, classes: Any, mean: Any, scale: Any
    ) -> "Dataset":
        """With its checksums, and arrays that nobody can write to."""
        splits: dict[str, Any] = {"train": train, "validation": validation, "test": test}
        for key, split in splits.items():
            if isinstance(split, Split):
                splits[key] = Split(mapped(_read_only, split.x), mapped(_read_only, split.y))
        return cls(
            name,
            **splits,
            classes=tuple(classes),
            mean=mapped(_read_only, mean),
            scale=mapped(_read_only, scale),
            checksum=checksum_of(train, validation, test),
            checksums={key: split_checksum(split) for key, split in splits.items()},
        )

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self.split(name))} {name}" for name in SPLITS)
        return f"Dataset({self.name!r}: {counts}; inputs {_shown(self.input_shape)}, outputs {self.info.outputs})"

    @property
    def _labelled(self) -> bool:
        return bool(self.classes) and self.train.target_shape == ()

    @property
    def input_shape(self) -> Any:
        """The shape of one input, without the batch axis; of a dictionary, one for each part."""
        return self.train.input_shape

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def info(self) -> DatasetInfo:
        """What there is to know without the samples themselves."""
        return DatasetInfo(
            name=self.name,
            input_shape=self.input_shape,
            target_shape=self.train.target_shape,
            classes=self.classes,
            mean=self.mean,
            scale=self.scale,
            counts={
                "train": self.train.counts if isinstance(self.train, Shards) else len(self.train),
                **{name: len(self.split(name)) for name in ("validation", "test")},
            },
            checksum=self.checksum,
            checksums=self.checksums,
        )

    def split(self, name: str) -> Split | Shards:
        """The split called `train`, `validation` or `test`. **Raises:** `InputError` for any other name."""
        splits: dict[str, Split | Shards] = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise suggest("split", name, list(splits))
        return splits[name]


def _read_only(a: Any) -> Any:
    """The same array, for reading; the array that was given stays as it is."""
    if not isinstance(a, np.ndarray):
        return a
    view = a.view()
    view.setflags(write=False)
    return view


def _shown(shape: Any) -> str:
    return str(mapped(list, shape))


def checksum_of(train: Split | Shards, validation: Split, test: Split) -> str:
    """The sha256 (hex, 64 digits) of all samples, split by split in this order, whatever the machine.

    Each split counts with its shapes, its inputs and its targets (labels as little-endian int32), so that a different input, a
    different label and a different choice of the validation samples each change it. Shards, which are many gigabytes, count with
    how many samples each has and with their own checksum instead.
    """
    return _sha256(part for split in (train, validation, test) for part in _fingerprint(split))


def split_checksum(split: Split | Shards) -> str:
    """The sha256 (hex) of one split."""
    return _sha256(_fingerprint(split))


def _sha256(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _fingerprint(split: Split | Shards) -> Iterator[Any]:
    if isinstance(split, Shards):
        yield repr((split.counts, split.input_shape, split.checksum)).encode()
        return
    for path, leaf in leaves(split.x):
        # Images count as they always have; what else there is says what it is.
        yield f"{path}{'' if leaf.dtype == np.uint8 else leaf.dtype.newbyteorder('<').str}{tuple(leaf.shape)!r}".encode()
        yield np.ascontiguousarray(leaf).data
    for path, leaf in leaves(split.y):
        if path or leaf.dtype != np.int32 or leaf.ndim > 1:
            yield f"{path}{leaf.dtype.newbyteorder('<').str}{tuple(leaf.shape)!r}".encode()
        yield np.ascontiguousarray(leaf, dtype=leaf.dtype.newbyteorder("<")).data
