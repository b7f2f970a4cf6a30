"""Command lines by tyro: a command's own options, and those of the classes that a configuration names; every error one line."""

import contextlib
import dataclasses
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from equiprop.cli._console import plain
from equiprop.errors import InputError, nearest
from equiprop.files import toml_value, write_atomically
from equiprop.reporting import flatten

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Output:
    """How a command answers."""

    json: bool = False
    """Print one JSON document on standard output and nothing else there."""
    quiet: bool = False
    """Print nothing but errors (and the JSON that was asked for)."""


def parse(kind: type[T], command: str, arguments: list[str], description: str) -> T:
    """The options in `arguments` as a `kind`. Prints the help and exits if asked; raises `InputError` for anything else."""
    _refuse_unknown(command, arguments, _own_options(kind))
    return _parsed(kind, command, arguments, description)


def _parsed(kind: type[T], command: str, arguments: list[str], description: str) -> T:
    complaint = io.StringIO()
    asked_for_help = any(a in ("-h", "--help") for a in arguments)
    try:
        with contextlib.nullcontext() if asked_for_help else contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, prog=f"equiprop {command}", args=arguments, description=description)
    except SystemExit as stop:
        if asked_for_help or not stop.code:
            raise
        raise InputError(f"{command}: {_one_line(complaint.getvalue())}") from None


_UNREAD = re.compile(r"Error parsing (--[\w.-]+): .*(?:base 10|string to float): ('.*?')")


def _one_line(box: str) -> str:
    """The words of a drawn error box."""
    rows = [row.strip(" │|") for row in box.splitlines() if not re.match(r"^[╭╰]", row.strip())]
    words = [row.strip() for row in rows if row.strip() and not set(row.strip()) <= set("─-")]
    text = re.sub(r"\s+", " ", " ".join(words))
    unread = _UNREAD.search(text)
    if unread:
        kind = "a number" if "string to float" in text else "a whole number"
        return f"{unread[1]} = {unread[2]}: must be {kind}"
    return re.sub(r"For full helptext, (run|see):? ", "see ", text) or "the options cannot be read"


ALIASES = {
    "training.epochs": "--epochs",
    "training.batch_size": "--batch-size",
    "training.seed": "--seed",
    "training.seeds": "--seeds",
    "optimizer.kind": "--optimizer",
    "optimizer.learning_rate": "--lr",
    "estimator.kind": "--estimator",
    "estimator.nudge": "--nudge",
    "estimator.points": "--points",
    "homeostasis.kind": "--homeostasis",
    "homeostasis.strength": "--strength",
    "solver.kind": "--solver",
    "system.kind": "--system",
    "system.hidden": "--hidden",
    "hardware.kind": "--hardware",
}
"""Short names for the options that are used most."""


def parse_config(
    kind: type[T], command: str, arguments: list[str], description: str, base: Mapping[str, Any]
) -> tuple[T, dict[str, Any]]:
    """The options of a command, and the configuration's keys that were given beside them, as a file would hold them.

    **Arguments:**

    - `base`: the tables that the configuration's options override; they say which kinds there are, unless an option does.

    Raises `InputError` for an option that does not exist, with the nearest one of all sections and kinds.
    """
    from equiprop.experiment import all_keys

    arguments, device = _device_file(_in_todays_names(arguments))
    base = {**base, "hardware": device} if device else base
    kinds = _chosen_kinds(arguments, base)
    settings = dict(_settings(kinds, base))
    everything = {f"--{dashed(key)}": key for key in all_keys()} | {alias: key for key, alias in ALIASES.items()}
    known = {f"--{dashed(key)}" for key in settings} | {ALIASES[key] for key in settings if key in ALIASES}
    known |= _own_options(kind)
    _refuse_not_taken([a for a in arguments if dashed(a.partition("=")[0]) not in known], settings, everything, kinds)
    _refuse_unknown(command, arguments, known, everything)
    options = _parsed(_with_settings(kind, settings), command, arguments, description)
    given = flatten({"hardware": device}) | dict(_given(options, settings))
    own = {f.name: getattr(options, f.name) for f in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**own), given


def _in_todays_names(arguments: list[str]) -> list[str]:
    """Options of version 0.1 by the names that they have now."""
    from equiprop.experiment import SECTIONS, renamed_key, renamed_kind

    found, section = [], ""
    for argument in arguments:
        if section:
            found.append(renamed_kind(section, argument))
            section = ""
            continue
        name, equals, value = argument.partition("=")
        key = name.removeprefix("--").replace("-", "_")
        asked = next((s for s in SECTIONS if key == f"{s}.kind" or name == ALIASES.get(f"{s}.kind")), "")
        if name.startswith("--") and asked and equals:
            argument = f"{name}={renamed_kind(asked, value)}"
        elif name.startswith("--") and renamed_key(key) != key:
            argument = f"--{dashed(renamed_key(key))}{equals}{value}"
        section = "" if equals else asked
        found.append(argument)
    return found


def _device_file(arguments: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The arguments without a `--hardware FILE.toml`, and what the file says."""
    from equiprop.experiment import read_tables

    kept, found = [], {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name not in ("--hardware", "--hardware.kind"):
            kept.append(argument)
            continue
        given = value if equals else next(rest, "")
        if not given.endswith(".toml"):
            kept += [argument] if equals or not given else [argument, given]
            continue
        tables = read_tables(given)
        found = tables.get("hardware", tables)
        if not isinstance(found, Mapping):
            raise InputError(f"{given}: hardware must be a table")
    return kept, dict(found)


def given_files(arguments: list[str]) -> str | None:
    """The file that `--config FILE` names. Raises `InputError` if there are several."""
    files = list(values_of("--config", arguments))
    if len(files) > 1:
        raise InputError(f"--config: is given {len(files)} times, {', '.join(files)}; give one file")
    return files[0] if files else None


def values_of(option: str, arguments: list[str]) -> Iterator[str]:
    """What an option is given, each time that it is."""
    for argument, following in zip(arguments, [*arguments, None][1:], strict=True):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == option and (equals or following is not None):
            yield value if equals else str(following)


def _chosen_kinds(arguments: list[str], base: Mapping[str, Any]) -> dict[str, str]:
    from equiprop.experiment import SECTIONS

    kinds = {}
    for section, (_, default) in SECTIONS.items():
        table = base.get(section)
        kinds[section] = table.get("kind", default) if isinstance(table, Mapping) else default
        for option in (f"--{section}.kind", ALIASES.get(f"{section}.kind", "")):
            kinds[section] = next(iter(values_of(option, arguments)), kinds[section])
    return kinds


@dataclasses.dataclass(frozen=True)
class _Option:
    setting: Any
    default: Any


def _settings(kinds: Mapping[str, str], base: Mapping[str, Any]) -> Iterator[tuple[str, _Option]]:
    """The configuration's options for the chosen kinds, by dotted key."""
    from equiprop.experiment import SECTIONS, Config, TrainingSettings, overlaid
    from equiprop.numerics import Setting
    from equiprop.numerics.settings import settings_of

    config = Config.from_mapping(overlaid(base, {f"{section}.kind": kind for section, kind in kinds.items()}))
    named = "digits (built in), mnist, fashion_mnist, cifar10, cifar100, imagenet32"
    doc = f"{named}, a .npz, .csv or .parquet file, a folder of images, or file.py:function."
    yield "dataset", _Option(Setting("text", doc), config.dataset)
    for section, (family, _) in SECTIONS.items():
        chosen = getattr(config, section)
        doc = f"{', '.join(family.members())}; or module:Class, or file.py:Class, for one of your own."
        yield f"{section}.kind", _Option(Setting("text", doc), chosen.kind)
        yield from nested(section, settings_of(chosen.member), chosen.values)
    yield from nested("training", settings_of(TrainingSettings), config.training)


def nested(prefix: str, settings: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, _Option]]:
    """Each setting of a class by its dotted key, those of its parts as well."""
    from equiprop.numerics.settings import settings_of

    for name, setting in settings.items():
        if setting.type == "part":
            yield from nested(f"{prefix}.{name}", settings_of(setting.part), values[name])
        else:
            yield f"{prefix}.{name}", _Option(setting, values.get(name))


def dashed(key: str) -> str:
    """As an option is spelled."""
    return key.replace("_", "-")


def _own_options(kind: Any) -> set[str]:
    """The options of a command, those of the configuration left out."""
    named = {
        dashed(field.name.removesuffix("_")): field.type for field in dataclasses.fields(kind)
    }  # but for Python's words
    flags = {f"--no-{name}" for name, hint in named.items() if hint in (bool, "bool")}
    return {"--help", *(f"--{name}" for name in named), *flags}


def _refuse_unknown(command: str, arguments: list[str], known: set[str], everything: Iterable[str] = ()) -> None:
    """Raises `InputError` for the first argument that looks like an option and is none, with the nearest one."""
    for argument in arguments:
        name = dashed(argument.partition("=")[0])
        if name.startswith("--") and len(name) > 2 and name not in known and not name.startswith("--processes."):
            raise InputError(f"{command}: there is no option {name}", hint=_nearest_option(name, [*known, *everything]))


def _refuse_not_taken(
    arguments: Iterable[str], settings: Iterable[str], everything: Mapping[str, str], kinds: Mapping[str, str]
) -> None:
    """Raises `InputError` for an option that the chosen kind does not take, and another one does."""
    from equiprop.experiment import not_taken

    for argument in arguments:
        name = dashed(argument.partition("=")[0])
        if name in everything:
            section, _, key = everything[name].partition(".")
            takes = [k.removeprefix(f"{section}.") for k in settings if k.startswith(f"{section}.")]
            raise not_taken(section, kinds[section], key, [k for k in takes if k != "kind"])


def _nearest_option(name: str, options: list[str]) -> str:
    """That of the same last part whose section is nearest, or by the whole name, or by something like the last part."""
    by_last = {option.rpartition(".")[2].lstrip("-"): option for option in sorted(options)}
    last = name.rpartition(".")[2].lstrip("-")
    same = [option for option in sorted(options) if option.rpartition(".")[2].lstrip("-") == last]
    if same:
        return f"did you mean {get_close_matches(name, same, n=1, cutoff=0)[0]!r}?"
    near = get_close_matches(last, by_last, n=1)
    return nearest(name, options) or (f"did you mean {by_last[near[0]]!r}?" if near else "")


def _with_settings(kind: type[T], settings: Mapping[str, _Option]) -> type[T]:
    """`kind` with the configuration's options beside its own, section by section."""
    tree: dict[str, Any] = {}
    for key, option in settings.items():
        *above, last = key.split(".")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
        place[last] = (key, option)
    return dataclasses.make_dataclass(kind.__name__, _fields(tree), bases=(kind,), frozen=True)


def _fields(tree: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    found = []
    for name, below in tree.items():
        if isinstance(below, Mapping):
            section = dataclasses.make_dataclass(name, _fields(below), frozen=True)
            found.append((name, section, dataclasses.field(default_factory=section)))
            continue
        key, option = below
        several = option.setting.type in ("counts", "numbers")
        words = tyro.conf.arg(
            help=option.setting.doc,
            help_behavior_hint=f"(default: {_shown(option.default)})",
            metavar={"numbers": "NAME VALUE ...", "counts": "N ..."}.get(
                option.setting.type, option.setting.type.upper()
            ),
            aliases=[ALIASES[key]] if key in ALIASES else None,
        )
        found.append((name, Annotated[(tuple[str, ...] | None) if several else (str | None), words], None))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or "none"
    if isinstance(value, Mapping):
        return " ".join(f"{k} {v}" for k, v in value.items()) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _given(options: Any, settings: Mapping[str, _Option]) -> Iterator[tuple[str, Any]]:
    for key, option in settings.items():
        value: Any = options
        for name in key.split("."):
            value = getattr(value, name)
        if value is not None:
            yield key, _decoded(key, value, option.setting)


def _decoded(key: str, value: Any, setting: Any) -> Any:
    """What was written on the command line, as a file would hold it."""
    match setting.type:
        case "text" | "choice":
            return value
        case "counts":
            return [_as_toml(each) for each in value]
        case "numbers":
            if len(value) % 2:
                raise InputError("needs a name and a number in turn", path=key.split("."), value=" ".join(value))
            return dict(zip(value[::2], map(_as_toml, value[1::2]), strict=True))
        case "flag":
            return {"true": True, "false": False}.get(value.lower(), value)
    return _as_toml(value)


def _as_toml(text: str) -> Any:
    try:
        return toml_value(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def write_text(path: Path, text: str) -> None:
    """Writes what `--out` asked for; its folder is made. Raises `InputError` where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text + "\n")
    except OSError as error:
        raise InputError(f"--out {path.parent}: {path.name} cannot be written ({error.strerror})") from error


def check_folder(out: str | None) -> None:
    """Raises `InputError` if `--out` cannot become a folder to write into: before anything is computed for it."""
    if out is None:
        return
    folder = Path(out).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise InputError(f"--out {out}: {there} is not a folder that can be written to; give another")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """`write_text` of a JSON document."""
    write_text(path, json.dumps(plain(document), indent=2))
