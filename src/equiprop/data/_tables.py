"""Tables in CSV or Parquet files, and images in Parquet files as Hugging Face lays them out; read by DuckDB."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from equiprop.data._foreign import chosen_inputs, chosen_target, usual_target
from equiprop.data._images import Kind, kind_of_image, pixels
from equiprop.data._labels import are_labels, as_labels, numbered
from equiprop.data._room import require_room
from equiprop.data._shards import Shards, checksum_of_files
from equiprop.data._source import Source
from equiprop.data._split import SPLIT_NAMES, Split, mixed
from equiprop.errors import InputError
from equiprop.files import parse_json

SUFFIXES = (".csv", ".parquet")
_READERS = {".csv": "read_csv", ".parquet": "read_parquet"}
_SPLIT = re.compile(rf"^({'|'.join(SPLIT_NAMES)})(?=[-_.0-9]|$)")
_LARGEST_IN_MEMORY = 2**30
"""Bytes of pixels above which training images are read file by file."""
_LENGTHS = {"VARCHAR": "strlen({0})", "BLOB": "octet_length({0})"}
"""How many bytes a value has besides eight, of the types whose values differ in that."""
_ORDER_SEED = 5001


def read_table(path: Path, target: str) -> tuple[dict[str, tuple[Any, Any]], Any]:
    """The features, or the images, and the targets of one file, all of them for training.

    **Arguments:**

    - `target`: the column of the targets, or several with commas between them; empty for the one of a usual name.

    **Returns:** and the names of the classes, `None` where the file names none.

    **Raises:** `InputError` where it cannot be read, a column is not there, or a feature holds no numbers.
    """
    table = _Table((path,), target)
    x = table.images(path, table.kind(path)) if table.of_images else table.features(path)
    return {"train": (x, table.targets(path))}, table.classes()


def read_features(path: Path, input_shape: Any) -> np.ndarray:
    """The inputs in a table without regard to targets, `[n, *input_shape]`: the columns in their order, without one of targets if
    there is one more of them than an input has numbers.

    **Raises:** `InputError` where there are more or fewer.
    """
    columns = list(_kinds(path))
    wanted = math.prod(input_shape) if isinstance(input_shape, tuple) else -1
    if len(columns) == wanted + 1:
        columns = [name for name in columns if name != usual_target(columns)]
    if len(columns) != wanted:
        raise InputError(f"{path} has {len(columns)} columns: an input has {wanted} numbers, one column for each")
    return _side_by_side(columns, path).reshape(-1, *input_shape)


def read_table_folder(folder: Path, target: str, *, train: bool = True) -> tuple[dict[str, tuple[Any, Any]], Any]:
    """The splits of a folder of tables, `train.csv` and `test.csv` or `data/train-00000-of-00002.parquet` and the like, by name.

    **Returns:** and the names of the classes, `None` where the files name none.
    """
    files = table_files(folder)
    if "train" not in files:
        raise InputError(f"{folder} has no file train*.csv or train*.parquet, only {', '.join(map(str, files))}")
    table = _Table(files["train"], target)
    wanted = {"test": files["test"]} if not train and "test" in files else files
    read = {name: [_part(table, path) for path in paths] for name, paths in wanted.items()}
    joined = {
        name: (np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts]))
        for name, parts in read.items()
    }
    return joined, table.classes()


def read_image_tables(folder: Path, target: str, *, train: bool = True) -> Source:
    """Images in Parquet files as Hugging Face lays them out: a column of encoded images, a column of labels.

    Training images of more than a gigabyte are read file by file while training. A test split without labels (all are -1) does
    not count, and where there is none the validation split is the test split, so that nothing is selected on it.

    **Raises:** `InputError` where a file cannot be read, an image has another size or mode than the first, or a label is none.
    """
    files = table_files(folder)
    if "train" not in files:
        raise InputError(f"{folder} has no file train*.parquet: it must hold train and test, or train and validation")
    table = _Table(files["train"], target)
    labels = {name: [table.targets(path) for path in paths] for name, paths in files.items()}
    if "test" in labels and all((each == -1).all() for each in labels["test"]):
        del labels["test"], files["test"]
    if "test" not in labels and "validation" in labels:
        labels["test"], files["test"] = labels.pop("validation"), files.pop("validation")
    names = table.classes() or numbered(filter(are_labels, labels["train"]), str(files["train"][0]))
    checked = {
        name: [as_labels(y, 0, len(names) - 1, str(path)) for path, y in zip(files[name], each, strict=True)]
        for name, each in labels.items()
    }
    kind = table.kind(files["train"][0])

    def whole(name: str) -> Split | None:
        if name not in files:
            return None
        x = np.concatenate([table.images(path, kind) for path in files[name]])
        y = np.concatenate(checked[name])
        return Split(x, y)[mixed(len(y), _ORDER_SEED)]

    if not train:
        return Source(None, None, whole("test"), names)
    counts = tuple(map(len, checked["train"]))
    if sum(counts) * math.prod(kind.shape) <= _LARGEST_IN_MEMORY or len(counts) == 1:
        return Source(whole("train"), whole("validation"), whole("test"), names)
    shards = Shards(
        counts=counts,
        input_shape=kind.shape,
        checksum=checksum_of_files(files["train"], checked["train"]),
        read=partial(_shard, table, kind, files["train"], len(names)),
    )
    return Source(shards, whole("validation"), whole("test"), names)


def _shard(table: "_Table", kind: Kind, files: tuple[Path, ...], classes: int, index: int) -> Split:
    path = files[index]
    return Split(table.images(path, kind), as_labels(table.targets(path), 0, classes - 1, str(path)))


def _part(table: "_Table", path: Path) -> tuple[np.ndarray, np.ndarray]:
    return table.features(path), table.targets(path)


def table_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """The tables in a folder, or in the folders in it, by the split that the name of the file or of its folder says."""
    found: dict[str, list[Path]] = {}
    for path in sorted(
        p for suffix in SUFFIXES for depth in ("*", "*/*", "*/*/*") for p in folder.glob(depth + suffix)
    ):
        for name in (path.name, *(part.name for part in path.relative_to(folder).parents)):
            match = _SPLIT.match(name.lower())
            if match:
                found.setdefault(SPLIT_NAMES[match[1]], []).append(path)
                break
    return {name: tuple(paths) for name, paths in found.items()}


def holds_images(folder: Path) -> bool:
    """Whether the training tables in a folder have a column of images."""
    files = table_files(folder).get("train", ())
    return bool(files) and _Table(files, "").of_images


class _Table:
    """Files of the same columns."""

    def __init__(self, files: tuple[Path, ...], target: str) -> None:
        self._files = files
        self._columns = _kinds(files[0])
        names = [name.strip() for name in target.split(",")] if target else None
        try:
            self._target: Any = chosen_target(list(self._columns), names[0] if names and len(names) == 1 else names)
            self._inputs: Any = chosen_inputs(list(self._columns), None, self._target)
        except InputError as error:
            raise error.within(str(files[0])) from None
        if not self._inputs:
            raise InputError(f"{files[0]} has no columns but those of targets")

    @property
    def of_images(self) -> bool:
        return isinstance(self._inputs, str) and self._columns[self._inputs].startswith(("STRUCT", "BLOB"))

    def features(self, path: Path) -> np.ndarray:
        """float `[n, features]`; what is missing is not a number."""
        inputs = [self._inputs] if isinstance(self._inputs, str) else self._inputs
        return _side_by_side(inputs, path)

    def targets(self, path: Path) -> np.ndarray:
        """`[n]`, or `[n, targets]` of several columns."""
        if isinstance(self._target, str):
            (found,) = _arrays([_quoted(self._target)], path)
            return _target(found, self._target, path)
        return _side_by_side(self._target, path)

    def images(self, path: Path, kind: Kind) -> np.ndarray:
        """uint8 `[n, *kind.shape]`."""
        encoded = self._encoded(path)
        require_room(len(encoded) * math.prod(kind.shape), path)
        images = np.empty((len(encoded), *kind.shape), np.uint8)
        for i, (place, each) in enumerate(zip(images, encoded, strict=True)):
            place[...] = pixels(_bytes(each, path, i), f"{path}: image {i}", kind)
        return images

    def kind(self, path: Path) -> Kind:
        """That of the first image of a file."""
        first = self._encoded(path, "limit 1")
        if not len(first):
            raise InputError(f"{path} holds no images")
        return kind_of_image(_bytes(first[0], path, 0), f"{path}: image 0")

    def _encoded(self, path: Path, more: str = "") -> np.ndarray:
        column = _quoted(self._inputs)
        column = f"{column}.bytes" if self._columns[self._inputs].startswith("STRUCT") else column
        (found,) = _arrays([column], path, more)
        return found

    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, where Hugging Face's description of the columns has them."""
        path = self._files[0]
        if path.suffix != ".parquet" or not isinstance(self._target, str):
            return None
        with _opened(path) as ask:
            about = dict(ask("select key, value", "parquet_kv_metadata(?)").fetchall()).get(b"huggingface")
        if about is None:
            return None
        try:
            features = parse_json(bytes(about))["info"]["features"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: what it says of its columns is damaged: export the dataset anew") from error
        feature = features.get(self._target) if isinstance(features, dict) else None
        names = feature.get("names") if isinstance(feature, dict) else None
        if names is None:
            return None
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: the names of its classes are no list of words: export the dataset anew")
        return tuple(names)


def _bytes(encoded: Any, path: Path, index: int) -> bytes:
    if not isinstance(encoded, bytes | bytearray):
        raise InputError(f"{path}: image {index} is not in the file: embed the images, or export the dataset anew")
    return bytes(encoded)


def _numbers(column: np.ndarray, name: str, path: Path) -> np.ndarray:
    if column.dtype.kind not in "biuf":
        kind = "text" if column.dtype.kind in "OUS" else str(column.dtype)
        raise InputError(
            f"{path}: column {name} holds {kind}",
            hint="give numbers: leave the column out, or one column for each word",
        )
    return np.ma.filled(column.astype(np.float64), np.nan)


def _target(column: np.ndarray, name: str, path: Path) -> np.ndarray:
    if np.ma.is_masked(column):
        if column.dtype.kind in "biuf":
            return np.ma.filled(column.astype(np.float64), np.nan)
        raise InputError(f"{path}: column {name} has {int(np.ma.count_masked(column))} empty places")
    return np.asarray(column)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _kinds(path: Path) -> dict[str, str]:
    """The columns of a file and their types."""
    with _opened(path) as ask:
        return {name: kind for name, kind, *_ in ask("describe select *").fetchall()}


def _side_by_side(names: list[str], path: Path) -> np.ndarray:
    """Columns of numbers, float `[n, columns]`; what is missing is not a number."""
    found = _arrays(list(map(_quoted, names)), path)
    return np.stack([_numbers(column, name, path) for name, column in zip(names, found, strict=True)], axis=-1)


def _arrays(expressions: list[str], path: Path, more: str = "") -> list[np.ndarray]:
    """Columns, or what is made of them, as arrays."""
    named = [f"{expression} as c{i}" for i, expression in enumerate(expressions)]
    with _opened(path) as ask:
        if path.suffix == ".parquet" and not more:
            # A few bytes of a compressed file can be any number of rows.
            kinds = [kind for _, kind, *_ in ask(f"describe select {', '.join(named)}").fetchall()]
            lengths = [
                f"coalesce({_LENGTHS[k].format(e)}, 0)"
                for e, k in zip(expressions, kinds, strict=True)
                if k in _LENGTHS
            ]
            ((size,),) = ask(f"select sum({' + '.join([str(8 * len(kinds)), *lengths])})").fetchall()
            require_room(int(size or 0), path)
        found = ask(f"select {', '.join(named)}", more=more).fetchnumpy()
    return [found[f"c{i}"] for i in range(len(expressions))]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A function that asks for something of a file, by SQL without its `from`.

    **Raises:** `InputError` where it cannot be read.
    """
    import duckdb

    if not path.is_file():
        raise InputError(f"{path} is not a file")
    # A name with these signs would be a pattern, or another kind of file.
    if set("*?[") & set(str(path)):
        raise InputError(f"{path}: its name has one of the signs * ? [: give it another")
    reader = f"{_READERS[path.suffix]}(?)"
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": "false", "threads": "2"}) as database:
            yield lambda what, source=reader, more="": database.execute(f"{what} from {source} {more}", [str(path)])
    except duckdb.Error as error:
        raise InputError(f"{path} cannot be read ({str(error).partition(chr(10))[0]})") from error
