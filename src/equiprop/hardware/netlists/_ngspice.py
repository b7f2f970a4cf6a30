"""ngspice as a process of its own, and what it writes."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from equiprop.errors import EquipropError, InputError

PROGRAM = "ngspice"
_SECONDS = 600.0


def simulate(netlist: str, *, program: str = PROGRAM, seconds: float = _SECONDS) -> dict[str, np.ndarray]:
    """The voltages of all nodes, and the time of a transient, by name: of an operating point one number each.

    Raises `InputError` where the program is not installed, and `EquipropError` where it fails, takes too long, or leaves a file
    that is not complete: what it said is in the message.
    """
    found = shutil.which(program)
    if found is None:
        raise InputError(
            f"{program} is not installed", path="ngspice", hint="install it: apt install ngspice, brew install ngspice"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, raw = Path(folder) / "circuit.cir", Path(folder) / "circuit.raw"
        source.write_text(netlist, encoding="ascii")
        try:
            done = subprocess.run(
                [found, "-n", "-b", "-r", str(raw), str(source)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                cwd=folder,
                env=os.environ | {"SPICE_ASCIIRAWFILE": "1", "LC_ALL": "C"},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EquipropError(f"{program} did not end within {seconds:g} seconds") from error
        if done.returncode or not raw.is_file():
            raise EquipropError(
                f"{program} failed with code {done.returncode}: {_complaint(done.stderr + done.stdout)}"
            )
        try:
            return read_raw(raw.read_text(encoding="ascii", errors="replace"))
        except InputError as error:
            raise EquipropError(f"{program}: {error}; it said: {_complaint(done.stderr + done.stdout)}") from error


def version(program: str = PROGRAM) -> str:
    """What it calls itself: `ngspice-39`. Raises `InputError` where it is not installed."""
    found = shutil.which(program)
    if found is None:
        raise InputError(f"{program} is not installed", path="ngspice")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    return next((word for word in said.split() if word.startswith("ngspice-")), said.strip())


def read_raw(text: str) -> dict[str, np.ndarray]:
    """The variables of an ASCII raw file of real numbers. Raises `InputError` for one that is not complete."""
    header, marker, values = text.partition("Values:")
    if not marker or not text.endswith("\n"):
        raise InputError("the raw file has no values, or not all of them")
    fields = dict(line.split(":", 1) for line in header.splitlines() if ":" in line and not line.startswith("\t"))
    try:
        variables, points = int(fields["No. Variables"]), int(fields["No. Points"])
        flags = fields["Flags"].split()
    except (KeyError, ValueError) as error:
        raise InputError("the raw file does not say how many numbers it holds") from error
    if "real" not in flags:
        raise InputError(f"the raw file holds numbers of the kind {' '.join(flags)}, not real ones")
    rows = [line.split() for line in header.partition("Variables:")[2].splitlines() if line.startswith("\t")]
    if any(len(row) < 2 for row in rows):
        raise InputError("the raw file does not name all of its variables")
    names = [row[1] for row in rows]
    try:
        numbers = np.array(values.split(), float)
    except ValueError as error:
        raise InputError("the raw file holds what is no number") from error
    # Each point begins with its index.
    if len(names) != variables or numbers.size != points * (variables + 1) or not points:
        raise InputError(f"the raw file is cut off: {numbers.size} numbers of {points * (variables + 1)}")
    table = numbers.reshape(points, variables + 1)
    if np.any(table[:, 0] != np.arange(points)):
        raise InputError("the points of the raw file are out of order")
    return dict(zip(names, table[:, 1:].T, strict=True))


def _complaint(said: str) -> str:
    """The lines in which it complains, or its last."""
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    about = [line for line in lines if "error" in line.lower() or "fatal" in line.lower() or "singular" in line.lower()]
    return "; ".join((about or lines[-1:] or ["nothing"])[:3])
