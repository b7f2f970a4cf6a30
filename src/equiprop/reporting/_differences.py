"""Which settings differ between runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equiprop.reporting._numbers import MISSING
from equiprop.reporting._run import Run
from equiprop.reporting._values import flatten


@dataclass(frozen=True)
class Difference:
    """A setting under its dotted name, and its value in each run as printed (`–` where a run lacks it)."""

    key: str
    values: tuple[str, ...]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """The settings that are not the same in every run, in the order of the configuration."""
    flats = [{key: as_toml(value) for key, value in flatten(run.config).items()} for run in runs]
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
