"""What the pages of the documentation tell to type does what they say, in the order in which they say it.

Blocks of Python run, and commands (`sh`); Python and tables that begin with the name of a file (`# my_solver.py`) become it.
A block after `<!-- printed -->` is what the Python before it prints. A block after `<!-- not run: why -->` does not run.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGES = (*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/extending").glob("*.md")), ROOT / "README.md")
# Data sets that are not everywhere.
ELSEWHERE = ("fashion_mnist",)
NUMBER = r"[-+±]?\d+(?:\.\d+)?(?:e[-+]\d+)?"


def blocks(page):
    """Language and text of every block that runs; the language of what is printed is `printed`."""
    found = re.findall(r"(?:<!-- (.*) -->\n)?^```(\w*)\n(.*?)^```", page.read_text("utf-8"), flags=re.M | re.S)
    return [("printed" if told == "printed" else kind, text) for told, kind, text in found if "not run" not in told]


def run(command, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quick = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PATH": path}
    answer = subprocess.run(command, cwd=folder, env=quick, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


def same(ours, printed):
    """Word by word, and number by number to a twentieth."""
    words = [re.sub(NUMBER, "#", text).split() for text in (ours, printed)]
    numbers = [[float(n.lstrip("±")) for n in re.findall(NUMBER, text)] for text in (ours, printed)]
    return words[0] == words[1] and numbers[0] == pytest.approx(numbers[1], rel=0.05, abs=1e-5)


def test_what_is_printed_is_compared():
    assert same("a  ±2.05e-01\nb 3", "a ±2.1e-01\nb 3")
    assert not same("a ±2.4e-01", "a ±2.1e-01") and not same("b 2.1", "a 2.1")


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if {"python", "sh"} & dict(blocks(p)).keys()],
    ids=lambda p: p.relative_to(ROOT).as_posix(),
)
def test_page(page, tmp_path):
    code, printed = [], {}
    for kind, text in blocks(page):
        named = re.match(r"# (\w+\.(?:py|toml))\n", text)
        if named:
            (tmp_path / named.group(1)).write_text(text, encoding="utf-8")
        elif kind == "python":
            code.append(text)
        elif kind == "printed":
            printed[len(code) - 1] = text
        elif kind == "sh":
            for line in text.replace("\\\n", "").splitlines():
                if not any(name in line for name in ELSEWHERE):
                    run(["bash", "-ec", line], tmp_path)
    if code:
        ours = run([sys.executable, "-c", 'print("\x1f")\n'.join(code)], tmp_path).split("\x1f\n")
        assert len(ours) == len(code)
        for at, text in printed.items():
            assert same(ours[at], text), ours[at]
