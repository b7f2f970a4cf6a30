"""Which settings differ between runs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from equiprop.reporting._numbers import MISSING, number
from equiprop.reporting._run import Run
from equiprop.reporting._values import flatten

_OF_A_TOLERANCE = ("inaccurate", "retries", "shrink")
"""What an estimator reads only where a bar has a tolerance to exceed."""


@dataclass(frozen=True)
class Difference:
    """A setting under its dotted name, and its value in each run as printed (`–` where a run lacks it).

    A part of another kind in some of the runs is one difference, under the name of its table: the kind and its other settings.
    """

    key: str
    values: tuple[str, ...]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """The settings in use that are not the same in every run, in the order of the configuration."""
    flats = [flatten(in_use(run.config)) for run in runs]
    keys = dict.fromkeys(key for flat in flats for key in flat)
    different = [key for key in keys if len({as_toml(flat[key]) if key in flat else "" for flat in flats}) > 1]
    parts = {key.removesuffix(".kind") for key in different if key.endswith(".kind") and key.count(".") == 1}
    found: dict[str, Difference] = {}
    for key in different:
        part = key.partition(".")[0]
        if part in parts:
            found.setdefault(part, Difference(part, tuple(_part(part, different, flat) for flat in flats)))
        else:
            found[key] = Difference(key, tuple(as_toml(flat[key]) if key in flat else MISSING for flat in flats))
    return list(found.values())


def in_use(config: dict[str, Any]) -> dict[str, Any]:
    """Without the settings that nothing reads, as the others of an estimator or a homeostasis stand."""
    config = dict(config)
    for name in ("estimator", "reference"):
        table = config.get(name)
        if isinstance(table, dict) and number(table.get("tolerance")) is None:
            config[name] = {key: value for key, value in table.items() if key not in _OF_A_TOLERANCE}
    homeostasis = config.get("homeostasis")
    if isinstance(homeostasis, dict) and number(homeostasis.get("strength")) == 0:
        config["homeostasis"] = {"kind": "none"}
    return config


def _part(part: str, different: Sequence[str], flat: dict[str, Any]) -> str:
    kind = flat.get(f"{part}.kind", MISSING)
    own = [key for key in different if key.startswith(f"{part}.") and key in flat and key != f"{part}.kind"]
    return ", ".join([str(kind), *(f"{key.removeprefix(f'{part}.')} = {as_toml(flat[key])}" for key in own)])


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
