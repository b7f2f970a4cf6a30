"""For the pages of the reference: adds to what a class says of itself a table of its settings, their defaults and meanings.

Settings are fields made by functions (`numerics/settings.py`), which no tool that only reads the source can follow; and most of
them a class has from another one.
"""

import importlib
from typing import Any

import griffe

from equiprop.numerics import Setting, Settings
from equiprop.numerics.settings import defaults_of, settings_of


class DocumentSettings(griffe.Extension):
    """Of every class of `Settings` that is documented."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        found = getattr(importlib.import_module(cls.module.path), cls.name, None)
        if not (isinstance(found, type) and issubclass(found, Settings)):
            return
        rows = _rows(settings_of(found), defaults_of(found))
        if rows:
            said = cls.docstring.value if cls.docstring else ""
            table = "\n".join(("| setting | default | meaning |", "| --- | --- | --- |", *rows))
            cls.docstring = griffe.Docstring(f"{said}\n\n{table}\n", parent=cls)


def _rows(settings: dict[str, Setting], defaults: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, setting in settings.items():
        if setting.type == "part":
            found += _rows(settings_of(setting.part), defaults[name], f"{prefix}{name}.")
        else:
            default = f"`{defaults[name]!r}`" if name in defaults else "–"
            found.append(f"| `{prefix}{name}` | {default} | {setting.doc.replace('|', chr(92) + '|')} |")
    return found
