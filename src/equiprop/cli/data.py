"""`equiprop data`."""

from dataclasses import dataclass
from typing import Any

import tyro

from equiprop.cli._console import print_json, print_table, progress
from equiprop.cli._options import Output, parse
from equiprop.data import data_directory, entry, fetch, names, verify
from equiprop.errors import InputError, suggest


@dataclass(frozen=True)
class Options(Output):
    action: tyro.conf.Positional[str] = "list"
    """list, fetch (download what is missing) or verify (sizes and checksums)."""
    datasets: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of datasets; all for list and verify if none is given."""


def run(arguments: list[str]) -> None:
    options = parse(Options, "data", arguments, "Datasets: what there is, whether it is here, whether it is whole.")
    for name in options.datasets:
        if name not in names():
            raise suggest("dataset", name, list(names()))
    match options.action:
        case "list":
            _list(options)
        case "fetch":
            _fetch(options)
        case "verify":
            _verify(options)
        case _:
            raise suggest("action", options.action, ["list", "fetch", "verify"])


def _states(name: str) -> list[dict[str, Any]]:
    return [{"file": s.filename, "path": str(s.path), "state": s.state} for s in verify(name)]


def _list(options: Options) -> None:
    rows = []
    for name in options.datasets or names():
        e = entry(name)
        states = [s["state"] for s in _states(name)]
        here = "built in" if not states else "complete" if all(s == "ok" for s in states) else "not here"
        if any(s.startswith("corrupt") for s in states):
            here = "corrupt"
        rows.append(
            {
                "name": name,
                "train": e.train_images,
                "validation": e.validation_images,
                "test": e.test_images,
                "state": here,
                "description": e.description,
                "licence": e.licence,
                "citation": e.citation,
            }
        )
    if options.json:
        print_json({"folder": str(data_directory()), "datasets": rows})
    elif not options.quiet:
        columns = [
            ("name", False),
            ("train", True),
            ("validation", True),
            ("test", True),
            ("state", False),
            ("description", False),
        ]
        print_table(f"datasets in {data_directory()}", columns, [[str(r[c]) for c, _ in columns] for r in rows])


def _fetch(options: Options) -> None:
    if not options.datasets:
        raise InputError("data fetch: name the datasets to fetch, such as: equiprop data fetch fashion_mnist")
    folders = {}
    with progress() as bar:
        tasks: dict[str, Any] = {}

        def tell(filename: str, done: int, total: int) -> None:
            if filename not in tasks:
                tasks[filename] = bar.add_task(filename, total=total)
            bar.update(tasks[filename], completed=done)

        for name in options.datasets:
            folders[name] = str(fetch(name, None if options.quiet else tell))
    if options.json:
        print_json({"folders": folders})
    elif not options.quiet:
        for name, folder in folders.items():
            print(f"{name}: {folder}")


def _verify(options: Options) -> None:
    states = {name: _states(name) for name in options.datasets or names()}
    if options.json:
        print_json({"datasets": states})
    elif not options.quiet:
        rows = [[n, s["file"], s["state"]] for n, files in states.items() for s in files]
        print_table(f"files in {data_directory()}", [("dataset", False), ("file", False), ("state", False)], rows)
    bad = [f"{n}/{s['file']} is {s['state']}" for n, files in states.items() for s in files if s["state"] != "ok"]
    if bad and options.datasets:
        raise InputError(f"data verify: {bad[0]}; mend it with: equiprop data fetch {options.datasets[0]}")
