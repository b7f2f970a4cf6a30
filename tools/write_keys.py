"""Writes docs/keys.md, every key of a configuration, from the classes themselves.

python tools/write_keys.py            writes it
python tools/write_keys.py --check    exits with 1 if it is not up to date
"""

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from equiprop.experiment import SECTIONS, TrainingSettings
from equiprop.numerics import Setting
from equiprop.numerics.settings import defaults_of, settings_of
from equiprop.systems import CONNECTIONS

PAGE = Path(__file__).parents[1] / "docs" / "keys.md"
HEAD = """# Configuration keys

Written by `python tools/write_keys.py` from the classes themselves. How files and options are read is in
[Configuration](configuration.md). `dataset` is the one key outside of the sections. Every number
that is no count may be a [schedule](configuration.md#schedules), except those of the system.
"""


def spelled(value: Any) -> str:
    """As a TOML file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else str(list(value) if isinstance(value, tuple) else value)


def rows(settings: Mapping[str, Setting], defaults: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str, str]]:
    """Key, default and meaning; of a part those of its own settings."""
    found = []
    for name, setting in settings.items():
        if setting.type == "part":
            assert setting.part is not None
            found += rows(settings_of(setting.part), defaults[name], f"{prefix}{name}.")
        else:
            doc = setting.doc.replace("|", r"\|")
            found.append((f"`{prefix}{name}`", f"`{spelled(defaults.get(name, ''))}`", doc))
    return found


def table(heading: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, ("---",) * len(heading), *lines)) + "\n"


def described(cls: type) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split()).replace("|", r"\|")


def family(title: str, members: Mapping[str, type], default: str) -> list[str]:
    """The kinds, and every key once, with the kinds that take it."""
    kinds = sorted(members, key=lambda kind: (kind != default, kind))
    takers: dict[tuple[str, str, str], list[str]] = {}
    for kind in kinds:
        for row in rows(settings_of(members[kind]), defaults_of(members[kind])):
            takers.setdefault(row, []).append(kind)
    lines = [
        (key, value, "all" if of == kinds else ", ".join(f"`{kind}`" for kind in of), doc)
        for (key, value, doc), of in sorted(takers.items(), key=lambda item: -len(item[1]))
    ]
    named = [(f"`{kind}`" + (" (default)" if kind == default else ""), described(members[kind])) for kind in kinds]
    return [
        f"## {title}\n",
        table(("kind", "what it is"), named),
        table(("key", "default", "kinds", "meaning"), lines),
    ]


def page() -> str:
    parts = [HEAD]
    for section, (members, default) in SECTIONS.items():
        if section == "reference":
            parts.append(
                "## `[reference]`\n\nThe gradient that the estimator is compared with: the kinds and keys of `[estimator]`, "
                f'by default `kind = "{default}"` and `clip = inf`.\n'
            )
        else:
            parts += family(f"`[{section}]`", members.members(), default)
    own = rows(settings_of(TrainingSettings), defaults_of(TrainingSettings))
    parts += ["## `[training]`\n", table(("key", "default", "meaning"), [*own])]
    parts += family("Connections of a topology file", CONNECTIONS.members(), "dense")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    text = page()
    if arguments != ["--check"]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE} is not what python {Path(__file__).name} writes", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
