"""What the fields of a configurable class say of themselves: what they mean, what they may be, how a file spells them.

A class whose fields are made by `number`, `count`, `choice`, `flag` and `part` is its own configuration: files, the command line,
reports and advice read from these fields. Numbers are leaves of the class, so that a new value compiles nothing, `jax.vmap` over
them is a sweep, and a schedule may stand in their place. Everything else is structure.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, get_type_hints

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from equiprop.errors import InputError, suggest, unknown_key
from equiprop.numerics.schedules import AbstractSchedule, FunctionSchedule, as_schedule, plain_number

if TYPE_CHECKING:
    # Takes Python numbers, too, and is an array wherever it is used.
    Number = Any
else:
    Number = Float[Array, ""] | AbstractSchedule
"""A number as a leaf: an array without axes, or a schedule of one."""

_NONE = object()
_MOST = 2**32
"""No count is as large: JAX has no arrays of such an axis, and counts steps in 32 bits."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a field means and may be.

    - `type`: `number`, `count`, `choice`, `flag`, `text`, `counts`, `numbers` or `part`.
    - `doc`: what it means.
    - `above`, `at_least`, `below`, `at_most`, `nonzero`: the range of a number or count.
    - `word`: what else it may be: `"auto"`, or the number that means "off". A number that is this is held as `None`.
    - `options`: of a choice.
    - `part`: the class of a part, which has settings of its own. `usual`: which of them are by default other than there.
    - `schedule`: makes what stands in the place of a number from a table.
    - `needs`: other fields of the class without which this one has no effect: `"noise"`, where that is not its word, 0 or none;
      `"drive=oscillating"`, where it is that; `"exponent or spread"`, where one of them is.
    """

    type: str
    doc: str = ""
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    nonzero: bool = False
    word: Any = _NONE
    options: tuple[str, ...] = ()
    part: Any = None
    usual: tuple[tuple[str, Any], ...] = ()
    schedule: Callable[[Mapping[str, Any]], AbstractSchedule] = as_schedule
    needs: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """In words: `above 0 and below 1`."""
        bounds = [("above", self.above), ("at least", self.at_least), ("below", self.below), ("at most", self.at_most)]
        words = " and ".join(f"{name} {bound:g}" for name, bound in bounds if bound is not None)
        bounded = self.below is not None or self.at_most is not None
        words = words if bounded or self.type == "count" else f"a finite number {words}".strip()
        return f"{words} other than 0" if self.nonzero else words

    def complaint(self, value: Any) -> str | None:
        """Why a plain number or word is not allowed; `None` if it is."""
        if self.options:
            return None if value in self.options else f"choose one of {', '.join(self.options)}"
        allowed = self.range + ("" if self.word is _NONE else f", or {self.word!r}")
        if isinstance(value, str) or (isinstance(value, float) and not math.isfinite(value)):
            return allowed
        if self.type == "count" and abs(value) >= _MOST:
            return "below 2^32"
        low = (self.above is not None and not value > self.above) or (
            self.at_least is not None and value < self.at_least
        )
        high = (self.below is not None and not value < self.below) or (
            self.at_most is not None and value > self.at_most
        )
        return allowed if low or high or (self.nonzero and value == 0) else None

    def decode(self, value: Any) -> Any:
        """A value of a file or an option in the type of the field. Raises `InputError` for one of another type."""
        if isinstance(self.word, str) and value == self.word:
            return value
        if self.type == "part":
            assert self.part is not None
            if not isinstance(value, Mapping):
                raise InputError("must be a table", value=value)
            return dict(self.usual) | decode(self.part, value)
        if self.type == "number" and isinstance(value, Mapping):
            self.schedule(value)
            return dict(value)
        accepts, make, article = _TYPES[self.type]
        if not accepts(value):
            also = f" or {self.word!r}" if isinstance(self.word, str) else ""
            raise InputError(f"must be {article}{also}", value=value)
        return make(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


_TYPES: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    "number": (_is_number, _as_float, "a number"),
    "count": (_is_count, int, "a whole number"),
    "flag": (lambda v: isinstance(v, bool), bool, "true or false"),
    "text": (lambda v: isinstance(v, str), str, "text"),
    "choice": (lambda v: isinstance(v, str), str, "text"),
    "counts": (
        lambda v: isinstance(v, list | tuple) and all(_is_count(n) and abs(n) < _MOST for n in v),
        tuple,
        "a list of whole numbers below 2^32 (in a command: 32 16)",
    ),
    "numbers": (
        lambda v: isinstance(v, Mapping) and all(map(_is_number, v.values())),
        lambda v: {str(name): float(n) for name, n in v.items()},
        "a table of numbers",
    ),
}
"""For each type what it accepts, how it is made, and what it is called."""

_OF_ANNOTATION = {
    float: "number",
    int: "count",
    bool: "flag",
    str: "text",
    tuple[int, ...]: "counts",
    dict[str, float]: "numbers",
}


def number(default: Any = dataclasses.MISSING, doc: str = "", *, kw_only: bool = False, **rules: Any) -> Any:
    """A field that holds a number as a leaf. Takes a number, an array without axes, a schedule, or a function of progress.

    **Arguments:**

    - `rules`: the range and the word of `Setting`.
    """
    setting = Setting("number", doc, **rules)
    return eqx.field(
        default=default, converter=partial(_as_leaf, setting.word), metadata={"setting": setting}, kw_only=kw_only
    )


def count(
    default: Any = dataclasses.MISSING,
    doc: str = "",
    *,
    at_least: int | None = 1,
    word: Any = _NONE,
    kw_only: bool = False,
    needs: tuple[str, ...] = (),
) -> Any:
    """A field that holds a whole number and is part of the program."""
    return _static(default, Setting("count", doc, at_least=at_least, word=word, needs=needs), kw_only)


def choice(default: str, doc: str, *options: str, kw_only: bool = False, needs: tuple[str, ...] = ()) -> Any:
    """A field that holds one of some words and is part of the program."""
    return _static(default, Setting("choice", doc, options=options, needs=needs), kw_only)


def flag(default: bool | str, doc: str = "", *, word: Any = _NONE) -> Any:
    """A field that is true or false, or a word, and is part of the program."""
    return _static(default, Setting("flag", doc, word=word))


def text(default: str, doc: str = "") -> Any:
    """A field that holds a word and is part of the program."""
    return _static(default, Setting("text", doc))


def counts(default: tuple[int, ...], doc: str = "") -> Any:
    """A field that holds whole numbers, given as any sequence of them, and is part of the program."""
    return _static(default, Setting("counts", doc), converter=_hashable)


def constant(default: float | str, doc: str = "", **rules: Any) -> Any:
    """A field that holds a number which is part of the program: a new value is another program."""
    return _static(default, Setting("number", doc, **rules))


def part(cls: type, doc: str = "", **usual: Any) -> Any:
    """A field that holds an object of a class with settings of its own; by default with their defaults, but for those given."""
    setting = Setting("part", doc, part=cls, usual=tuple(usual.items()))
    return eqx.field(default_factory=partial(cls, **usual), metadata={"setting": setting})


def _static(default: Any, setting: Setting, kw_only: bool = False, **options: Any) -> Any:
    return eqx.field(default=default, static=True, metadata={"setting": setting}, kw_only=kw_only, **options)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _as_leaf(word: Any, value: Any) -> Any:
    if isinstance(value, AbstractSchedule) or value is None:
        return value
    if callable(value) and not isinstance(value, jax.Array):
        return FunctionSchedule(value)
    if isinstance(value, bool | str) or not isinstance(value, int | float | np.ndarray | np.generic):
        return None if isinstance(value, str) and value == word else value
    if word is not _NONE and not isinstance(word, str) and np.ndim(value) == 0 and value == word:
        return None
    # A number written inside of a compiled function is known all the same, and can be checked. It is weakly typed, so that it
    # takes the precision of what it meets.
    with jax.ensure_compile_time_eval():
        return jnp.asarray(value if isinstance(value, np.ndarray) else _as_float(value))


class Settings(eqx.Module):
    """A class that is its own configuration. Its settings are checked when it is made: `InputError` names the field."""

    kind: ClassVar[str] = ""
    label: ClassVar[str] = ""
    citation: ClassVar[tuple[str, ...]] = ()

    def __check_init__(self) -> None:
        settings = settings_of(type(self))
        for name, setting in settings.items():
            value = getattr(self, name)
            if setting.part is not None and not isinstance(value, setting.part):
                raise InputError(f"must be an object such as {setting.part.__name__}()", path=name, value=value)
            if setting.type in ("part", "numbers") or isinstance(value, Tracer):
                continue
            if setting.type == "number" and not isinstance(value, float | int | str):
                _check_leaf(name, value, setting)
            elif not (setting.word is not _NONE and value == setting.word):
                _check_plain(name, value, setting)
        # A schedule may hold what has no value yet; it is neither off nor as usual.
        values = {name: _plain(getattr(self, name), setting) for name, setting in settings.items()}
        for name, needed in idle(type(self), values).items():
            hint = f"set {needed.replace('=', ' = ')}, or leave {name} out"
            raise InputError(f"has no effect without {needed}", path=name, value=values[name], hint=hint)

    def cited(self) -> tuple[str, ...]:
        """The papers behind the object as it is set."""
        return self.citation

    def __repr__(self) -> str:
        values, usual = encode(self), defaults_of(type(self))
        # What a class shares with its family is shown where it is not as usual, or an array that cannot be compared.
        shared = {field.name for field in dataclasses.fields(self) if field.kw_only}
        # A part is shown as the object that it is, where it is not as usual.
        parts = {n: getattr(self, n) for n, setting in settings_of(type(self)).items() if setting.type == "part"}
        shown = [
            f"{n}={parts.get(n, v)!r}"
            for n, v in values.items()
            if n not in {*shared, *parts} or n not in usual or isinstance(v, jax.Array) or v != usual[n]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _check_leaf(name: str, value: Any, setting: Setting) -> None:
    if value is None or isinstance(value, AbstractSchedule):
        if value is None and setting.word is _NONE:
            raise InputError("must be a number", path=name, value=value)
        return
    if not isinstance(value, jax.Array):
        also = "" if setting.word is _NONE else f" or {setting.word!r}"
        raise InputError(f"must be a number{also}", path=name, value=value)
    if value.ndim:
        raise InputError(
            f"is an array of shape {list(value.shape)}: must be a single number",
            path=name,
            hint="use jax.vmap for several",
        )
    complaint = setting.complaint(plain_number(value))
    if complaint is not None:
        raise InputError(f"must be {complaint}", path=name, value=plain_number(value))


def _check_plain(name: str, value: Any, setting: Setting) -> None:
    if setting.type == "choice" and value not in setting.options:
        raise suggest(name, value, setting.options)
    accepts, _, article = _TYPES[setting.type]
    if not accepts(value):
        also = "" if setting.word is _NONE else f" or {setting.word!r}"
        raise InputError(f"must be {article}{also}", path=name, value=value)
    complaint = setting.complaint(value) if setting.type in ("count", "number") else None
    if complaint is not None:
        raise InputError(f"must be {complaint}", path=name, value=value)


@cache
def settings_of(cls: Any) -> dict[str, Setting]:
    """The settings of a class, or the keyword parameters of a function that have a default, by name.

    Fields made by dataclasses or Equinox alone count by their annotation: whole and real numbers, truth values, text, tuples of
    whole numbers and dictionaries of numbers; unless their metadata say `{"setting": None}`.
    """
    if not dataclasses.is_dataclass(cls):
        parameters = inspect.signature(cls).parameters.values()
        named = [p for p in parameters if p.default is not inspect.Parameter.empty]
        return {p.name: Setting(_OF_ANNOTATION.get(p.annotation) or _type_of(p.default)) for p in named}
    found = {}
    hints: dict[str, Any] | None = None
    for field in dataclasses.fields(cls):
        if not field.init or field.metadata.get("setting", _NONE) is None:
            continue
        setting = field.metadata.get("setting")
        if setting is None:
            hints = get_type_hints(cls) if hints is None else hints
            plain_type = _OF_ANNOTATION.get(hints[field.name])
            setting = Setting(plain_type) if plain_type else None
        if setting is not None:
            found[field.name] = setting
    return found


def keys_of(cls: Any) -> list[str]:
    """The names of the settings of a class; of a part, those of its own, after a dot."""
    found = []
    for name, setting in settings_of(cls).items():
        found += [f"{name}.{key}" for key in keys_of(setting.part)] if setting.type == "part" else [name]
    return found


def _type_of(default: Any) -> str:
    names = {bool: "flag", int: "count", float: "number", str: "text", tuple: "counts", list: "counts", dict: "numbers"}
    return names.get(type(default), "text")


def defaults_of(cls: Any) -> dict[str, Any]:
    """The plain values of the settings that have a default."""
    if not dataclasses.is_dataclass(cls):
        parameters = inspect.signature(cls).parameters
        return {name: parameters[name].default for name in settings_of(cls)}
    found = {}
    for field in dataclasses.fields(cls):
        setting = settings_of(cls).get(field.name)
        if setting is not None and setting.type == "part":
            assert setting.part is not None
            found[field.name] = defaults_of(setting.part) | dict(setting.usual)
        elif setting is not None and field.default is not dataclasses.MISSING:
            found[field.name] = _spelled(field.default, setting)
        elif setting is not None and field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def _plain(value: Any, setting: Setting) -> Any:
    """What a field holds as a file spells it; an array that is no number, and what has no value yet, as it is."""
    if isinstance(value, jax.Array) and not isinstance(value, Tracer):
        return plain_number(value) if value.ndim == 0 else value
    return _spelled(value, setting)


def _spelled(value: Any, setting: Setting) -> Any:
    return setting.word if value is None and setting.word is not _NONE else value


def decode(cls: Any, data: Mapping[str, Any], elsewhere: Iterable[str] = ()) -> dict[str, Any]:
    """The given settings of a class as plain values of the right types.

    **Arguments:**

    - `elsewhere`: dotted keys of other places, one of which may have been meant.

    Raises `InputError` for a key that the class has not, or a value of another type.
    """
    settings = settings_of(cls)
    found = {}
    for key, value in data.items():
        if key not in settings:
            raise unknown_key((), key, settings, elsewhere)
        try:
            found[key] = settings[key].decode(value)
        except InputError as error:
            raise error.within(key) from None
    return found


def idle(cls: Any, values: Mapping[str, Any]) -> dict[str, str]:
    """The plain values that are not as usual and have no effect, each with what it needs and is not so."""
    settings, usual = settings_of(cls), defaults_of(cls)

    def is_met(need: str) -> bool:
        name, _, wanted = need.partition("=")
        value = values[name]
        if wanted:
            return isinstance(value, str) and value == wanted
        return not (value == "none" or (isinstance(value, int | float) and value in (0, settings[name].word)))

    unmet = {
        name: next((need for need in setting.needs if not any(map(is_met, need.split(" or ")))), "")
        for name, setting in settings.items()
    }
    plain = {name: values[name] for name in unmet if unmet[name] and isinstance(values[name], int | float | str)}
    return {name: unmet[name] for name, value in plain.items() if value != usual[name]}


def build(cls: Any, values: Mapping[str, Any]) -> Any:
    """An object of the class with these settings, as `decode` gives them. Raises `InputError` for one out of range."""
    settings = settings_of(cls)
    made = {}
    for name, value in values.items():
        setting = settings[name]
        if setting.type == "part":
            try:
                value = build(setting.part, value)
            except InputError as error:
                raise error.within(name) from None
        elif setting.type == "number" and isinstance(value, Mapping):
            value = setting.schedule(value)
        made[name] = value
    return cls(**made)


def encode(settings: Settings) -> dict[str, Any]:
    """The settings of an object as plain values, as a file spells them: the inverse of `decode` and `build`."""
    found = {}
    for name, setting in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if setting.type == "part":
            found[name] = encode(value)
        elif setting.type == "numbers":
            found[name] = {key: plain_number(jnp.asarray(each)) for key, each in value.items()}
        elif isinstance(value, AbstractSchedule):
            found[name] = value.table()
        else:
            found[name] = _plain(value, setting)
    return found
