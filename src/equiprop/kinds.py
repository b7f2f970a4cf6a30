"""Families of interchangeable classes, and how a configuration names a member: by kind, by path, or by entry point.

A family is an abstract class and the final classes below it. A final class says in its own body what it is called:

- `kind`: the name that configurations use. A class of a user's own needs none: it is named by `module:Class`, or by
  `path/to/file.py:Class`.
- `label`: how it is called in a sentence.
- `citation`: the papers behind it.

To add a member to the library, put a file with the class into the family's package. To add one from another package, register
it under the entry point group of the family, `equiprop.estimator` for one.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equiprop.errors import EquipropError, InputError, suggest, warn
from equiprop.files import read_bytes


@dataclass(frozen=True)
class Family:
    """The final classes below one abstract class.

    - `name`: what the family is called in messages, and in `equiprop.NAME`, its entry point group.
    - `package`: every module of it is searched.
    - `base`: the abstract class, as `module:Class`.
    """

    name: str
    package: str
    base: str

    def members(self) -> dict[str, type]:
        """The classes of the library and of installed packages, by kind. Warns of one that cannot be imported."""
        found = self._ours()
        for point in self._points():
            try:
                found[point.name] = self._loaded(point)
            except InputError as error:
                warn(str(error))
        return found

    def find(self, kind: str) -> type:
        """The class that `kind` names. Raises `InputError` if there is none, or it is not of this family."""
        if ":" in kind:
            return self._checked(load_reference(kind), kind)
        ours = self._ours()
        if kind in ours:
            return ours[kind]
        for point in self._points():
            if point.name == kind:
                return self._loaded(point)
        raise suggest((), kind, [*ours, *(point.name for point in self._points())]).within(self.name)

    def _ours(self) -> dict[str, type]:
        base = load_reference(self.base)
        package = importlib.import_module(self.package)
        found: dict[str, type] = {}
        for module in pkgutil.iter_modules(package.__path__):
            for each in vars(importlib.import_module(f"{self.package}.{module.name}")).values():
                if inspect.isclass(each) and issubclass(each, base) and vars(each).get("kind"):
                    found[each.kind] = each  # pyright: ignore[reportAttributeAccessIssue]
        return found

    def _points(self) -> Iterator[importlib.metadata.EntryPoint]:
        yield from importlib.metadata.entry_points(group=f"equiprop.{self.name}")

    def _loaded(self, point: importlib.metadata.EntryPoint) -> type:
        try:
            return self._checked(point.load(), point.value)
        except ImportError as error:
            raise InputError(f"entry point {point.name} = {point.value} cannot be imported ({error})") from error

    def _checked(self, found: Any, name: str) -> type:
        base = load_reference(self.base)
        if not (inspect.isclass(found) and issubclass(found, base)):
            raise InputError(f"is not a subclass of {base.__name__}", path=self.name, value=name)
        return found


def kind_of(member: Any) -> str:
    """The name under which configurations find a class, or the class of an object.

    A class of a user's own may say its `kind`, as those of the library do, but only those that are installed are found by it.
    """
    cls = _class_of(member)
    kind = vars(cls).get("kind")
    if kind and cls.__module__.partition(".")[0] == __package__:
        return kind
    reference = place_of(cls)
    groups = (group for group in importlib.metadata.entry_points().groups if group.startswith("equiprop."))
    points = (point for group in groups for point in importlib.metadata.entry_points(group=group))
    return next((point.name for point in points if point.value == reference), reference)


def place_of(member: Any) -> str:
    """Where a class, or the class of an object, is written: `module:Class`, or `path/to/file.py:Class`."""
    cls = _class_of(member)
    place = sys.modules[cls.__module__].__file__ if cls.__module__.startswith(_OF_FILE) else cls.__module__
    return f"{place}:{cls.__qualname__}"


def label_of(member: Any) -> str:
    """How a class, or the class of an object, is called in a sentence."""
    own = vars(_class_of(member)).get("label")
    return own or kind_of(member).rpartition(":")[2].replace("_", " ")


def _class_of(member: Any) -> Any:
    return member if inspect.isclass(member) or inspect.isfunction(member) else type(member)


_REFERENCE = re.compile(r"^(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*$")


def is_reference(text: str) -> bool:
    """Whether `text` has the form `module:name` or `path/to/file.py:name`."""
    return _REFERENCE.match(text) is not None


_OF_A_FILE = re.compile(r"^[^:]+\.py:[A-Za-z_]\w*$")


def anchored(value: Any, folder: Path) -> Any:
    """Tables and lists of plain values in which every relative `path/to/file.py:name` is that in a folder."""
    if isinstance(value, Mapping):
        return {key: anchored(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [anchored(each, folder) for each in value]
    if isinstance(value, str) and _OF_A_FILE.match(value):
        return str((folder / value).absolute())
    return value


def references(value: Any) -> Iterator[str]:
    """Every `module:name` and `path/to/file.py:name` in tables and lists of plain values."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, str) and is_reference(value):
        yield value


def load_reference(reference: str) -> Any:
    """What `module:name` or `path/to/file.py:name` names.

    Modules are looked for in the working directory, too. Raises `InputError` if it cannot be imported or is not there.
    """
    place, _, name = reference.rpartition(":")
    try:
        module = _module_of_file(Path(place)) if place.endswith(".py") else _module(place)
    except EquipropError:
        raise
    except Exception as error:
        raise _not_imported(place, error) from error
    if not hasattr(module, name):
        raise InputError(f"{place} has no {name!r}")
    return getattr(module, name)


def _not_imported(place: str, error: Exception) -> InputError:
    # Whatever a user's module does while it is imported, the user has to hear of it in one line.
    return InputError(f"{place} cannot be imported ({type(error).__name__}: {error})")


_OF_FILE = "equiprop_user_"
"""What the names of modules begin with that are loaded from a file by its path."""


def _module(name: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:
        # The installed command does not search the folder that it is called in.
        sys.path.append(here)
    return importlib.import_module(name)


def _module_of_file(path: Path) -> Any:
    path = path.absolute()
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    name = f"{_OF_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def source_digest(reference: str) -> str:
    """The sha256 (hex) of the file in which `module:name` or `path/to/file.py:name` is written.

    Raises `InputError` if it cannot be read, or a module cannot be imported.
    """
    place = reference.rpartition(":")[0]
    try:
        file = place if place.endswith(".py") else inspect.getsourcefile(_module(place))
    except Exception as error:
        raise _not_imported(place, error) from error
    return hashlib.sha256(read_bytes(file or place)).hexdigest()
