"""`equiprop data`."""

from dataclasses import dataclass
from typing import Any

import tyro

from equiprop.cli._console import print_json, print_table, progress, say
from equiprop.cli._options import Output, parse
from equiprop.data import FileState, data_directory, entry, fetch, glance, names, verify
from equiprop.errors import InputError, suggest


@dataclass(frozen=True)
class Options(Output):
    action: tyro.conf.Positional[str] = "list"
    """list (what there is, by name and size), fetch (download what is missing) or verify (sizes and checksums)."""
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


def _listed(states: list[FileState]) -> str:
    if not states:
        return "built in"
    if any(state.state.startswith("corrupt") for state in states):
        return "corrupt"
    if all(state.ok for state in states):
        return "complete"
    return "incomplete" if any(state.ok for state in states) else "not here"


def _list(options: Options) -> None:
    rows = []
    for name in options.datasets or names():
        e = entry(name)
        rows.append(
            {
                "name": name,
                "train": e.train_images,
                "validation": e.validation_images,
                "test": e.test_images,
                "state": _listed(glance(name)),
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
    with progress(options.quiet) as bar:
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
            say(f"{name}: {folder if entry(name).files else 'built in'}")


def _verify(options: Options) -> None:
    states = {name: verify(name) for name in options.datasets or names()}
    if options.json:
        print_json(
            {
                "datasets": {
                    name: [{"file": file.filename, "path": str(file.path), "state": file.state} for file in files]
                    for name, files in states.items()
                }
            }
        )
    elif not options.quiet:
        rows = [[name, file.filename, file.state] for name, files in states.items() for file in files]
        rows += [[name, "–", "built in"] for name, files in states.items() if not files]
        print_table(f"files in {data_directory()}", [("dataset", False), ("file", False), ("state", False)], rows)
    bad = [(name, file) for name, files in states.items() for file in files if not file.ok]
    # Nobody needs every dataset there is; but what is there must be whole.
    wrong = bad if options.datasets else [(name, file) for name, file in bad if file.state != "missing"]
    if wrong:
        name, file = wrong[0]
        raise InputError(
            f"data verify: {name}/{file.filename} is {file.state}; mend it with: equiprop data fetch {name}"
        )
