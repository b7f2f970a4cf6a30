"""Command lines from dataclasses, with every error on one line."""

import contextlib
import dataclasses
import io
import json
import os
import re
from pathlib import Path
from typing import Any, TypeVar

import tyro

from equiprop.cli._console import plain
from equiprop.errors import InputError
from equiprop.training.config import Config

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Output:
    """How a command answers."""

    json: bool = False
    """Print one JSON document on standard output and nothing else there."""
    quiet: bool = False
    """Print nothing but errors (and the JSON that was asked for)."""


def parse(kind: type[T], command: str, arguments: list[str], description: str, default: T | None = None) -> T:
    """The options in `arguments` as a `kind`. Prints the help and exits if asked; raises `InputError` for anything else."""
    complaint = io.StringIO()
    asked_for_help = any(a in ("-h", "--help") for a in arguments)
    keywords: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.nullcontext() if asked_for_help else contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind,
                prog=f"equiprop {command}",
                args=arguments,
                description=description,
                **keywords,
            )
    except SystemExit as stop:
        if asked_for_help or not stop.code:
            raise
        raise InputError(f"{command}: {_one_line(complaint.getvalue())}") from None


def _one_line(box: str) -> str:
    """The words of a drawn error box."""
    rows = [row.strip(" │|") for row in box.splitlines() if not re.match(r"^[╭╰]", row.strip())]
    words = [row.strip() for row in rows if row.strip() and not set(row.strip()) <= set("─-")]
    text = re.sub(r"\s+", " ", " ".join(words))
    return re.sub(r"For full helptext, (run|see):? ", "see ", text) or "the options cannot be read"


def config_defaults(arguments: list[str]) -> Config:
    """The configuration that `--config FILE` names, or the defaults. The other options then override it."""
    files = []
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        if argument == "--config" and following is not None:
            files.append(following)
        elif argument.startswith("--config="):
            files.append(argument.removeprefix("--config="))
    if len(files) > 1:
        raise InputError(f"--config: is given {len(files)} times, {', '.join(files)}; give one file")
    return Config.from_file(files[0]) if files else Config()


def fields_of(config: Config) -> dict[str, Any]:
    """The sections of a configuration, to be passed on to a dataclass that extends it."""
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(Config)}


def as_config(options: Config) -> Config:
    """The configuration part of options that extend one."""
    return Config(**fields_of(options))


def write_text(path: Path, text: str) -> None:
    """Writes what `--out` asked for; its folder is made. Raises `InputError` where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
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
