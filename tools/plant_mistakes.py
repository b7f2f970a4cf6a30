"""Plants mistakes in a copy of the library, one at a time, and demands that a test fails for each.

    python tools/plant_mistakes.py                    # all of them, two at a time
    python tools/plant_mistakes.py adjoint            # those whose name, file or tests contain every word
    python tools/plant_mistakes.py --check            # only whether each can still be planted; takes a second

A mistake is noticed if tests that pass without it fail, or hang, with it. One that is not noticed makes the exit code 1: then a
test is missing. The mistakes are listed in `mistakes.py`.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

from mistakes import MISTAKES, Mistake

ROOT = Path(__file__).resolve().parents[1]

# Seconds after which tests that have not ended hang.
_PATIENCE = 3600

# The exit code of pytest where there is nothing to run.
_NO_TESTS = 5


def complaints(mistakes: Sequence[Mistake]) -> list[str]:
    """Why some of them cannot be planted."""
    found, names = [], Counter(m.name for m in mistakes)
    for m in mistakes:
        source = ROOT / "src" / "equiprop" / m.file
        text = source.read_text(encoding="utf-8") if source.exists() else ""
        found += [f"{m.name}: there is no tests/{t}" for t in m.tests.split() if not (ROOT / "tests" / t).exists()]
        if names[m.name] > 1:
            found.append(f"{m.name}: is listed {names[m.name]} times")
        if text.count(m.old) != 1:
            found.append(f"{m.name}: {m.old!r} occurs {text.count(m.old)} times in {m.file}")
            continue
        try:
            changed = ast.dump(ast.parse(text.replace(m.old, m.new)))
        except SyntaxError as error:
            found.append(f"{m.name}: leaves no Python in {m.file} ({error})")
            continue
        if changed == ast.dump(ast.parse(text)):
            found.append(f"{m.name}: changes nothing")
    return found


@dataclass(frozen=True)
class Copy:
    """A copy of what the tests need. Compiled programs are shared with the project itself."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Copy":
        folder.mkdir()
        for name in ("src", "tests", "tools", "experiments", "pyproject.toml"):
            origin = ROOT / name
            (shutil.copytree if origin.is_dir() else shutil.copy)(origin, folder / name)
        (ROOT / ".cache").mkdir(exist_ok=True)
        (folder / ".cache").symlink_to(ROOT / ".cache")
        return cls(folder)

    def pytest(self, *arguments: str) -> tuple[int, str]:
        """The exit code and the output of a run; 1 if it hangs, as if a test had failed."""
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src")}
        try:
            answer = subprocess.run(
                command,
                cwd=self.folder,
                env=environment,
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_PATIENCE,
            )
        except subprocess.TimeoutExpired:
            return 1, f"did not end in {_PATIENCE} s"
        return answer.returncode, answer.stdout + answer.stderr

    def failing(self, tests: str) -> list[str]:
        """The tests in a file or folder that fail without any mistake, and files that cannot be collected."""
        code, output = self.pytest("-rfE", "--continue-on-collection-errors", f"tests/{tests}")
        found = re.findall(r"^(?:FAILED|ERROR) (tests/\S+(?:\[.*?\])?)(?: - .*)?$", output, re.MULTILINE)
        if code != 0 and not found:
            raise RuntimeError(f"tests/{tests} cannot be run:\n{output[-2000:]}")
        return sorted(set(found))

    def verdict(self, mistake: Mistake, failing: Sequence[str]) -> str:
        """What the tests, but for those that fail anyway, say of a mistake: `noticed`, `MISSED` or `BROKEN`."""
        source = self.folder / "src" / "equiprop" / mistake.file
        good = source.read_text(encoding="utf-8")
        source.write_text(good.replace(mistake.old, mistake.new), encoding="utf-8")
        left_out = [f"--{'deselect' if '::' in test else 'ignore'}={test}" for test in failing]
        try:
            for tests in mistake.tests.split():
                code, _ = self.pytest("-x", *left_out, f"tests/{tests}")
                if code == 1:
                    return "noticed"
                if code not in (0, _NO_TESTS):
                    return "BROKEN"
            return "MISSED"
        finally:
            source.write_text(good, encoding="utf-8")


def plant(mistakes: Sequence[Mistake], at_once: int) -> Counter[str]:
    """Plants them in `at_once` copies at a time, and counts the verdicts."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        copies: Queue[Copy] = Queue()
        for number in range(at_once):
            copies.put(Copy.make(Path(folder) / str(number)))

        def in_copy(job, *given):
            copy = copies.get()
            try:
                return job(copy, *given)
            finally:
                copies.put(copy)

        def told(mistake: Mistake) -> str:
            failing = [test for tests in mistake.tests.split() for test in before[tests]]
            said = in_copy(Copy.verdict, mistake, failing)
            print(f"{said:8} {mistake.name}", flush=True)
            return said

        needed = sorted({tests for m in mistakes for tests in m.tests.split()})
        before = dict(zip(needed, pool.map(lambda tests: in_copy(Copy.failing, tests), needed), strict=True))
        for test in sorted({test for failing in before.values() for test in failing}):
            print(f"FAILS    {test}, without any mistake: it is left out", flush=True)
        return Counter(pool.map(told, mistakes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only the mistakes whose name, file or tests contain all of them")
    parser.add_argument("--check", action="store_true", help="only look whether each can be planted")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="copies of the library in which tests run")
    options = parser.parse_args()
    chosen = [m for m in MISTAKES if all(word in f"{m.name} {m.file} {m.tests}" for word in options.words)]
    wrong = complaints(chosen)
    print("\n".join([*wrong, f"{len(chosen)} mistakes, {len(wrong)} complaints"]), flush=True)
    if wrong or options.check:
        return 1 if wrong else 0
    said = plant(chosen, options.at_once)
    print(f"{said['noticed']} of {len(chosen)} mistakes noticed")
    return 0 if said["noticed"] == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
