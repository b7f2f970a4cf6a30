"""The work of a study: trains, measures, concludes, and goes on where it stopped."""

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from equiprop._jax import forget_programs
from equiprop.data import load as load_dataset
from equiprop.errors import InputError
from equiprop.experiment import RunDirectory, load, seed_folders, train_or_resume
from equiprop.experiment.sweeps import Sweep
from equiprop.files import read_json, read_text, write_atomically
from equiprop.reporting import STUDY, STUDY_SETTINGS, SUMMARY, draw_png, flatten
from equiprop.studies._settings import Arm, StudySettings
from equiprop.studies._study import AbstractStudy, Outcome
from equiprop.studies._table import Row, Table, as_text
from equiprop.training import NonFinite

PAGE = "README.md"

Tell = Callable[[str], None]


def run_study(study: AbstractStudy, settings: StudySettings, out: Path, tell: Tell | None = None) -> Outcome:
    """Trains what is not trained yet, measures what is not measured yet, and writes what follows from it.

    The folder holds a run directory an arm, which every other command reads, `study.json` with all numbers and the verdict,
    `README.md` to read, a CSV file a table and a PNG and an SVG file a figure. A run that fails is counted, and the others go on.

    **Arguments:**

    - `tell`: is told of each step.

    Raises `InputError` for a folder that holds something else, a study of other settings, or what is not installed;
    `Interrupted` after Ctrl-C.
    """
    for need in study.needs:
        need()
    with _opened(settings, out):
        tell = tell or (lambda _: None)
        _check_arms(settings, out)
        trained, measured, failed = [], [], {}
        for place, arm in enumerate(settings.arms.values(), 1):
            tell(f"{place}/{len(settings.arms)} {arm.label}")
            for row, more in _arm(study, settings, arm, out, failed, tell):
                trained.append(row)
                measured += more
        _require_rows(study, trained, measured, failed)
        outcome = study.conclude(Table("Trained", trained), Table("Measured", measured), settings)
        _write(study, settings, outcome, trained, measured, failed, out)
    return outcome


def _require_rows(study: AbstractStudy, trained: list[Row], measured: list[Row], failed: Mapping[str, str]) -> None:
    measures = type(study).measure is not AbstractStudy.measure
    if not trained or (measures and not measured):
        what = "that is measured was trained" if trained else "was trained"
        reasons = "".join(f"; {name}: {reason}" for name, reason in failed.items())
        raise InputError(f"no arm {what} to its end, and nothing follows{reasons}", path="arms")


def _check_arms(settings: StudySettings, out: Path) -> None:
    """Raises `InputError` before any of them is trained, which may take an hour."""
    data = {}
    for arm in settings.arms.values():
        if (out / arm.name).exists():
            continue
        name = settings.config_of(arm).dataset
        data[name] = data[name] if name in data else load_dataset(name).info
        settings.check(arm, data[name])


@contextmanager
def _opened(settings: StudySettings, out: Path) -> Iterator[None]:
    file, text = out / STUDY_SETTINGS, settings.to_toml()
    if out.exists() and not file.is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already, and is no study", hint="give another folder by out")
    mend = f"put {STUDY_SETTINGS} back as it was, or give another folder by out"
    if file.is_file() and read_text(file, mend) != text:
        raise InputError(f"{out}: holds a study of other settings", hint=mend)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not file.is_file():
            write_atomically(file, text)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from error
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{out}: another process is at work there") from None
    try:
        yield
    finally:
        lock.release()


def _arm(
    study: AbstractStudy, settings: StudySettings, arm: Arm, out: Path, failed: dict[str, str], tell: Tell
) -> Iterator[tuple[Row, list[Row]]]:
    """Of each seed that was trained what its summary says, and what is measured."""
    forget_programs()
    choice = _chosen(settings, arm, out, tell)
    config = settings.config_of(arm, choice)
    folder = out / arm.name
    try:
        summary = train_or_resume(config, folder, command=f"equiprop study {settings.name}, arm {arm.name}")
    except NonFinite as error:
        failed[arm.name] = str(error)
        tell(f"  failed: {error}")
        return
    given_up = summary.get("failed_seeds", {})
    if not isinstance(given_up, dict):
        hint = "restore it, or remove the folder to train it again"
        raise InputError("'failed_seeds' is no table", path=str(folder / SUMMARY), hint=hint)
    failed |= {f"{arm.name}, seed {seed}": reason for seed, reason in given_up.items()}
    runs = seed_folders(folder, config) if settings.seeds > 1 else [folder]
    for run in map(RunDirectory.open, runs):
        if not run.is_finished:
            continue
        path, seed = run.path, run.config.training["seed"]
        numbers = flatten(read_json(path / SUMMARY))
        row = {"arm": arm.name, "seed": seed, **arm.values, **({"chosen": _said(choice)} if choice else {})}
        row |= {name: number for name, number in numbers.items() if not isinstance(number, list)}
        tell(f"  seed {seed}: {_told(row)}")
        yield row, _measured(study, settings, arm, path, seed, out)


def _told(row: Row) -> str:
    names = {
        "test_error_percent": "test error {:.2f} %",
        "test_loss": "test loss {:.3g}",
        "cosine_to_adjoint.total": "cosine {:.3f}",
    }
    return ", ".join(text.format(row[name]) for name, text in names.items() if isinstance(row.get(name), int | float))


def _chosen(settings: StudySettings, arm: Arm, out: Path, tell: Tell) -> dict[str, Any]:
    """The best of the values that an arm chooses from, by validation; nothing where it has nothing to choose."""
    if arm.chosen_by:
        return _chosen(settings, settings.arms[arm.chosen_by], out, tell)
    if not arm.choose:
        return {}
    base = settings.config_of(arm).to_mapping()
    base["training"] |= {"seeds": 1, "diagnostic_samples": 0}
    sweep = Sweep.grid(base, arm.choose, out / f"{arm.name}-choice")
    sweep.work()
    best = sweep.best()
    if best is None:
        raise InputError(f"{sweep.out}: no trial was trained to its end", path=("arms", arm.name, "choose"))
    tell(f"  chosen by validation: {_said(best.values)}")
    return best.values


def _said(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.rpartition('.')[2].replace('_', ' ')} {as_text(value)}" for key, value in values.items())


def _measured(study: AbstractStudy, settings: StudySettings, arm: Arm, path: Path, seed: int, out: Path) -> list[Row]:
    if not settings.measures(arm):
        return []
    file = out / "measured" / f"{arm.name}-seed-{seed}.json"
    if file.is_file():
        return _measured_before(file)
    forget_programs()
    about = {"arm": arm.name, "seed": seed, **arm.values}
    rows: list[Row] = [{**about, **row} for row in study.measure(load(path), settings.measure)]
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, json.dumps({"digest": _digest(rows), "rows": rows}, indent=1) + "\n")
    return rows


def _measured_before(file: Path) -> list[Row]:
    """The rows as they were written. Raises `InputError` for others: a study concludes from them without looking twice."""
    hint = "remove it, and it is measured again"
    kept = read_json(file, hint)
    rows = kept.get("rows")
    if not isinstance(rows, list) or kept != {"digest": _digest(rows), "rows": rows}:
        raise InputError("does not hold what was measured", path=str(file), hint=hint)
    return rows


def _digest(rows: list[Any]) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _write(
    study: AbstractStudy,
    settings: StudySettings,
    outcome: Outcome,
    trained: list[Row],
    measured: list[Row],
    failed: Mapping[str, str],
    out: Path,
) -> None:
    for table in outcome.tables:
        write_atomically(out / f"{_file_name(table.title)}.csv", table.csv())
    for chart in outcome.charts:
        write_atomically(out / f"{chart.name}.svg", chart.svg)
        write_atomically(out / f"{chart.name}.png", draw_png(chart.panels, chart.labels))
    found = {
        "study": settings.name,
        "preset": settings.preset,
        "seeds": settings.seeds,
        "version": importlib.metadata.version("equiprop"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "question": study.question,
        "verdict": list(outcome.verdict),
        "facts": dict(outcome.facts),
        "failed": dict(failed),
        "tables": {table.title: table.plain() for table in outcome.tables},
        "published": list(study.published),
        "printed": [table.printed() for table in (*outcome.tables, Table("Published", study.published)) if table.rows],
        "charts": [chart.to_json() for chart in outcome.charts],
        "walks": [walk.to_json() for walk in outcome.walks],
        "trained": trained,
        "measured": measured,
    }
    write_atomically(out / STUDY, json.dumps(_finite(found), indent=1) + "\n")
    write_atomically(out / PAGE, page(study, settings, outcome, failed))


def _finite(value: Any) -> Any:
    """JSON has no number that is none."""
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _file_name(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower()).strip("-")


def page(study: AbstractStudy, settings: StudySettings, outcome: Outcome, failed: Mapping[str, str]) -> str:
    """What a study found, as Markdown."""
    parts = [f"# {settings.name}", study.question, "\n".join(f"- {said}" for said in outcome.verdict)]
    seeds = "1 seed" if settings.seeds == 1 else f"{settings.seeds} seeds, mean ± standard deviation"
    parts.append(f"`equiprop study {settings.name} --preset {settings.preset} --seeds {settings.seeds}`: {seeds}.")
    if failed:
        parts.append("Failed: " + "; ".join(f"{name}: {reason}" for name, reason in failed.items()) + ".")
    for table in outcome.tables:
        parts += [f"## {table.title}", table.markdown().rstrip()]
    if study.published:
        parts += ["## Published", Table("", study.published).markdown().rstrip()]
    for chart in outcome.charts:
        parts += [f"## {chart.title}", f"![{chart.title}]({chart.name}.png)", chart.reading]
    return "\n\n".join(parts) + "\n"
