"""Which settings differ between runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equiprop.reporting._numbers import MISSING
from equiprop.reporting._run import Run


@dataclass(frozen=True)
class Difference:
    """A setting under its dotted name, and its value in each run as printed (`–` where a run lacks it)."""

    key: str
    values: tuple[str, ...]


def flatten(config: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Every setting under its dotted name, as it would be written in TOML."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = as_toml(value)
    return flat


def differences(runs: Sequence[Run]) -> list[Difference]:
    """The settings that are not the same in every run, in the order of the configuration."""
    flats = [flatten(run.config) for run in runs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    found = [Difference(key, tuple(flat.get(key, MISSING) for flat in flats)) for key in keys]
    return [difference for difference in found if len(set(difference.values)) > 1]


def as_toml(value: Any) -> str:
    """A setting as it would be written in TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(as_toml(each) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {as_toml(each)}' for key, each in value.items())}}}"
    return str(value)
