"""Configurations of version 0.1 in today's names."""

from collections.abc import Mapping
from typing import Any

from equiprop.errors import InputError, RenamedWarning, suggest, warn

_KEYS = {
    "estimator": {
        "max_gain": "clip",
        "unsettled": "unconverged",
        "bounded": "clipped",
        "jumped": "branch_switch",
        "jump_threshold": "branch_switch_threshold",
        "radius": "nudge",
    },
    "solver": {"coarse": "low_precision_start"},
}
_KINDS = {"solver": {"alternating": "gauss_seidel", "synchronous": "jacobi", "fixed_step": "fixed_iterations"}}

_told: set[str] = set()


def _tell(old: str, new: str) -> None:
    if old not in _told:
        _told.add(old)
        warn(f"{old} is now called {new}", RenamedWarning)


def renamed_key(key: str) -> str:
    """A dotted key in today's name. That it has been renamed is said once."""
    section, _, old = key.partition(".")
    new = _KEYS.get(section, {}).get(old)
    if new is None:
        return key
    _tell(key, f"{section}.{new}")
    return f"{section}.{new}"


def renamed_kind(section: str, kind: str) -> str:
    """A kind in today's name. That it has been renamed is said once."""
    new = _KINDS.get(section, {}).get(kind)
    if new is None:
        return kind
    _tell(f"{section}.kind = {kind!r}", repr(new))
    return new


def modernised(data: Mapping[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The tables of a configuration in today's names. What has been renamed is said once, unless `quiet`."""
    tables = {name: dict(table) if isinstance(table, Mapping) else table for name, table in data.items()}

    def tell(old: str, new: str) -> None:
        if not quiet:
            _tell(old, new)

    for section, table in tables.items():
        if not isinstance(table, dict):
            continue
        for old, new in _KEYS.get(section, {}).items():
            if old in table:
                tell(f"{section}.{old}", f"{section}.{new}")
                table[new] = table.pop(old)
        kinds = _KINDS.get(section, {})
        if table.get("kind") in kinds:
            tell(f"{section}.kind = {table['kind']!r}", repr(kinds[table["kind"]]))
            table["kind"] = kinds[table["kind"]]
    _modernise_linear_solver(tables, tell)
    _modernise_damping(tables)
    _modernise_strength(tables, tell)
    return tables


def _modernise_linear_solver(tables: dict[str, Any], tell: Any) -> None:
    """`estimator.krylov` served the reference, too, whatever the estimator."""
    estimator = tables.get("estimator")
    if not isinstance(estimator, dict) or "krylov" not in estimator:
        return
    solver = estimator.pop("krylov")
    tell("estimator.krylov", "linear_solver, of reference and of estimators that have one")
    reference = tables.setdefault("reference", {})
    reference.setdefault("linear_solver", solver)
    if estimator.get("kind") in ("adjoint", "exact_response"):
        estimator.setdefault("linear_solver", solver)


def _modernise_damping(tables: dict[str, Any]) -> None:
    solver = tables.get("solver")
    if isinstance(solver, dict) and solver.get("kind") == "fixed_iterations" and solver.get("damping") == "auto":
        del solver["damping"]


def _modernise_strength(tables: dict[str, Any], tell: Any) -> None:
    """`homeostasis.schedule` and `homeostasis.target` said what is now said by a table in the place of the strength."""
    table = tables.get("homeostasis")
    if not isinstance(table, dict) or not {"schedule", "target"} & set(table):
        return
    schedule, target = table.pop("schedule", "constant"), table.pop("target", 0.95)
    if schedule == "constant":
        return
    strength = table.get("strength")
    if table.get("kind") == "none" or isinstance(strength, str | None):
        raise InputError("needs a number for the strength", path=("homeostasis", "schedule"), value=schedule)
    match schedule:
        case "linear" | "cosine":
            found: dict[str, Any] = {"schedule": schedule, "from": strength, "to": 0.0}
        case "warmup":
            found = {"schedule": schedule, "from": 0.0, "to": strength}
        case "hold_symmetry" | "hold_angle":
            found = {"hold": schedule.removeprefix("hold_"), "target": target, "start": strength}
        case _:
            allowed = ["constant", "linear", "cosine", "warmup", "hold_symmetry", "hold_angle"]
            raise suggest(("homeostasis", "schedule"), schedule, allowed)
    tell("homeostasis.schedule", f"homeostasis.strength = {found}")
    table["strength"] = found
