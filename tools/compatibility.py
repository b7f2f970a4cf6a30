"""Runs the tests on the oldest and the newest versions that pyproject.toml allows, on the oldest and the newest Python.

    python tools/compatibility.py [--python PROGRAM ...] [--versions oldest newest] [OPTION ...]

Environments are made under .cache/compatibility and kept. On the oldest Python `oldest` is the lower bound of everything that the
library needs; on a newer one, for which not all of that was ever built, that of JAX. Options are those of pytest; by default
`-n 2 --dist worksteal -m "not slow"`. Ends with a table, and with exit code 1 if a test failed anywhere.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OLDEST = tuple(int(part) for part in PROJECT["requires-python"].removeprefix(">=").split("."))
USUAL = ("-n", "2", "--dist", "worksteal", "-m", "not slow")
TOLD = ("jax", "jaxlib", "equinox", "optax", "numpy")


def lower_bounds(requirements: list[str]) -> dict[str, str]:
    """The version that each `name>=version` begins with."""
    found = (re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement) for requirement in requirements)
    return {match[1]: match[2] for match in found if match}


def constraints(python: tuple[int, ...], versions: str) -> str:
    """The lines of a constraints file."""
    if versions == "newest":
        return ""
    bounds = lower_bounds(PROJECT["dependencies"])
    if python[:2] > OLDEST:
        bounds = {"jax": bounds["jax"]}
    return "".join(f"{name}=={version}\n" for name, version in bounds.items())


def pythons() -> list[str]:
    """The oldest Python that is supported and the newest one that is found on the path."""
    minor = OLDEST[1]
    found = [name for i in range(minor, minor + 20) if works(name := f"python{OLDEST[0]}.{i}")]
    if not found:
        sys.exit(f"compatibility: there is no python{OLDEST[0]}.{minor} or newer on the path; name one by --python")
    return found if len(found) < 2 else [found[0], found[-1]]


def works(program: str) -> bool:
    # What pyenv puts on the path for a version that is not chosen fails when it is called.
    return (
        shutil.which(program) is not None and subprocess.run([program, "-c", ""], capture_output=True).returncode == 0
    )


def version_of(program: str) -> tuple[int, ...]:
    said = subprocess.run([program, "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, text=True)
    return tuple(map(int, said.stdout.split()))


def environment(program: str, versions: str) -> Path:
    """The Python of an environment with everything in it."""
    version = version_of(program)
    folder = ROOT / ".cache" / "compatibility" / f"{version[0]}.{version[1]}-{versions}"
    if not (folder / "bin").exists():
        subprocess.run([program, "-m", "venv", folder], check=True)
    file = folder / "constraints.txt"
    file.write_text(constraints(version, versions))
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--constraint", file)
    subprocess.run([folder / "bin" / "python", *install, "--editable", f"{ROOT}[test]"], check=True)
    return folder / "bin" / "python"


def installed(python: Path) -> dict[str, str]:
    code = f"from importlib.metadata import version as v; print(*(v(name) for name in {TOLD}))"
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(TOLD, said.stdout.split(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", nargs="+", metavar="PROGRAM", help="by default the oldest and the newest there is")
    parser.add_argument("--versions", nargs="+", choices=("oldest", "newest"), default=["oldest", "newest"])
    asked, options = parser.parse_known_args()
    rows = []
    for program in asked.python or pythons():
        for versions in asked.versions:
            python = environment(program, versions)
            ran = subprocess.run([python, "-m", "pytest", *(options or USUAL)], cwd=ROOT)
            have = " ".join(f"{name} {version}" for name, version in installed(python).items())
            python_version = ".".join(map(str, version_of(program)))
            rows.append(f"{'passed' if ran.returncode == 0 else 'FAILED':7} Python {python_version} {versions}: {have}")
    print("\n".join(rows))
    sys.exit(any(row.startswith("FAILED") for row in rows))


if __name__ == "__main__":
    main()
