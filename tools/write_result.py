"""Puts what a study found into the docs: `python tools/write_result.py runs/study-NAME-PRESET "hardware and date"`."""

import argparse
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("study", type=Path, help="folder of a study")
    options.add_argument("where", help="hardware, versions and time, as a sentence")
    given = options.parse_args()
    text = (given.study / "README.md").read_text(encoding="utf-8")
    name = text.splitlines()[0].removeprefix("# ")
    text = text.replace(f"# {name}", f"# Study: {name}", 1)
    command = re.search(r"^`equiprop study .*$", text, re.MULTILINE)
    assert command is not None, "the page does not say its command"
    date = datetime.now(UTC).date().isoformat()
    text = text.replace(command[0], f"{command[0]}\n\n{date}, {given.where}", 1)
    for picture in re.findall(r"\]\((\w+)\.png\)", text):
        shutil.copyfile(given.study / f"{picture}.svg", DOCS / "images" / f"{name}-{picture}.svg")
        text = text.replace(f"]({picture}.png)", f"](../images/{name}-{picture}.svg)")
    (DOCS / "results" / f"{name}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
