"""`equiprop completion`."""

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

import tyro

from equiprop.cli._console import print_json
from equiprop.cli._options import ALIASES, Output, dashed, nested, parse

DESCRIPTION = """Prints what a shell needs to complete the commands, options and kinds of equiprop.

  bash: equiprop completion bash > ~/.local/share/bash-completion/completions/equiprop
  zsh:  equiprop completion zsh > a folder of $fpath, as _equiprop
  tcsh: equiprop completion tcsh > a file that ~/.tcshrc reads by source"""

_WITH_CONFIGURATION = ("train", "compare", "diagnose", "bench")
_FILES = ("config", "file", "files", "settings", "out")
_FOLDERS = ("run", "runs", "folder", "resume", "from")


@dataclass(frozen=True)
class _Shell:
    shell: tyro.conf.Positional[Literal["bash", "zsh", "tcsh"]]
    """Of whom."""


@dataclass(frozen=True)
class Options(Output, _Shell):
    pass


def run(arguments: list[str]) -> None:
    options = parse(Options, "completion", arguments, DESCRIPTION)
    import shtab

    script = shtab.complete(_parser(), options.shell)
    if options.json:
        print_json({"shell": options.shell, "script": script})
    elif not options.quiet:
        print(script)


def _parser() -> argparse.ArgumentParser:
    """All commands with all their options, for nothing but completion."""
    from equiprop.cli.main import COMMANDS

    parser = argparse.ArgumentParser("equiprop")
    parser.add_argument("--version", action="store_true")
    commands = parser.add_subparsers()
    for name, about in COMMANDS.items():
        command = commands.add_parser(name, help=about)
        _add_own(command, importlib.import_module(f"equiprop.cli.{name}").Options)
        if name in _WITH_CONFIGURATION:
            for key, words in _configuration():
                names = [f"--{dashed(key)}", *([ALIASES[key]] if key in ALIASES else [])]
                command.add_argument(*names, choices=words or None)
    return parser


def _add_own(command: argparse.ArgumentParser, kind: type) -> None:
    """The options of a command itself, those of a table in it excepted."""
    import shtab

    positional = tyro.conf.Positional[str].__metadata__[0]  # pyright: ignore[reportAttributeAccessIssue]
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        name, hint = field.name.removesuffix("_"), hints[field.name]
        if hasattr(hint, "__dataclass_fields__"):
            continue
        names = [name] if positional in get_args(hint) else [f"--{dashed(name)}"]
        if hint is bool:
            command.add_argument(*names, f"--no-{dashed(name)}", action="store_true")
            continue
        several: dict[str, Any] = {"nargs": "*"} if names == [name] else {}
        argument: Any = command.add_argument(*names, choices=_words(name, hint) or None, **several)
        if name in (*_FILES, *_FOLDERS):
            argument.complete = shtab.DIRECTORY if name in _FOLDERS else shtab.FILE


def _words(name: str, hint: Any) -> list[str]:
    """What may stand for an option or an argument of a command, where that is known."""
    from equiprop.data import names
    from equiprop.studies import PRESETS, STUDIES

    match name:
        case "checkpoint":
            return ["last", "best"]
        case "action":
            return ["list", "fetch", "verify"]
        case "datasets":
            return list(names())
        case "preset":
            return list(PRESETS)
        case "name":
            return list(STUDIES.members())
    return [word for part in (hint, *get_args(hint)) for word in get_args(part) if isinstance(word, str)]


def _configuration() -> Iterator[tuple[str, list[str]]]:
    """Every key of a configuration, of whatever kinds, and what may stand for it, where that is known."""
    from equiprop.data import names
    from equiprop.experiment import SECTIONS, TrainingSettings
    from equiprop.numerics.settings import defaults_of, settings_of

    members = [("training", TrainingSettings)]
    words = {"dataset": list(names())}
    for section, (family, _) in SECTIONS.items():
        words[f"{section}.kind"] = list(family.members())
        members += [(section, member) for member in family.members().values()]
    for section, member in members:
        for key, option in nested(section, settings_of(member), defaults_of(member)):
            setting = option.setting
            words.setdefault(key, ["true", "false"] if setting.type == "flag" else list(setting.options))
    yield from words.items()
