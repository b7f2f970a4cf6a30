"""`equiprop`: finds the command, turns errors into one line and an exit code."""

import errno
import importlib
import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from equiprop import __version__
from equiprop._interrupts import doing, end_in_time
from equiprop.errors import EquipropError, EquipropWarning, InputError, printable, suggest

# Each command is the module of the same name in this folder, imported when it is called.
COMMANDS = {
    "train": "train a system; --resume RUN goes on exactly where it stopped",
    "sweep": "train over the values of some settings, by Optuna; the same command goes on where it stopped",
    "study": "an experiment of the field: trains, measures, and says what follows",
    "evaluate": "the error of a trained system on a split, and of each class",
    "predict": "what a trained system makes of images or tables",
    "verify": "whether what a run directory holds is whole",
    "export": "the parameters of a trained system as .safetensors or .npz",
    "compare": "every estimator against the exact gradient on the same equilibria",
    "diagnose": "how far a run's gradient is from exact, why, and what to change",
    "runs": "list runs",
    "report": "runs side by side: a table and one self-contained HTML page",
    "bench": "time and memory of training steps and their parts, side by side",
    "data": "list, fetch and verify datasets",
    "doctor": "versions, devices, caches and data that are here, and whether they do what they should",
    "completion": "what a shell needs to complete all of this",
}


def usage() -> str:
    lines = [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: equiprop COMMAND [options]        equiprop COMMAND --help",
            "",
            "Trains and analyses systems that compute by relaxing to an equilibrium, by equilibrium propagation.",
            "",
            *lines,
            "",
            "equiprop --version says which this is. Every command has --json for machines.",
            "Exit codes: 0 done, 1 failed, 2 wrong input, 130 interrupted.",
            "EQUIPROP_DATA_DIR names the folder of the datasets.",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits with 0 (done), 1 (failed), 2 (wrong input) or 130 (interrupted)."""
    if arguments is None:
        # Where another program calls this function, the process is that one's.
        end_in_time()
        arguments = sys.argv[1:]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Who closed it wants to hear nothing.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that the encoding of a terminal or a pipe has not must not end a training.
        sys.stdout.reconfigure(errors="replace")
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, EquipropWarning):
                _failed(f"warning: {message}", 0)
            else:
                others(message, category, *where)

        warnings.showwarning = show
        code = _run(arguments)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        try:
            return _answer(arguments)
        finally:
            # Also what a help has printed before it exits.
            sys.stdout.flush()
    except InputError as error:
        return _failed(error, 2)
    except EquipropError as error:
        if type(error).__name__ == "Interrupted":
            return _failed(f"{error}; {_how_to_go_on(getattr(error, 'run', None))}", 130)
        return _failed(error, 1)
    except BrokenPipeError:
        # The reader of a pipe went away, as `head` does.
        _let_go_of_output()
        return 1
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _let_go_of_output()
            return _failed(f"{error.filename or 'output'}: {error.strerror}", 1)
        if error.filename is None:
            raise
        return _failed(f"{error.filename}: {error.strerror}", 2)
    except (MemoryError, RuntimeError) as error:
        # XLA's own class has no other name for it.
        if not (isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)):
            raise
        return _failed("there is not enough memory: take smaller batches, more micro-batches or a smaller system", 1)
    except KeyboardInterrupt as error:
        _failed("; ".join(["interrupted", *map(str, error.args)]), 130)
        sys.stdout.flush()
        # At once: a compilation that is still running in a thread of JAX would crash an orderly end.
        os._exit(130)


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"equiprop {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        raise suggest("command", arguments[0], [*COMMANDS, "--help", "--version"])
    with doing(f"equiprop {arguments[0]}"):
        importlib.import_module(f"equiprop.cli.{arguments[0]}").run(arguments[1:])
    return 0


def _let_go_of_output() -> None:
    """What cannot be written is not tried again, and complained of again, at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _how_to_go_on(run: object) -> str:
    if run is None:
        return "process 0 has written a checkpoint"
    return f"a checkpoint is written; continue with: equiprop train --resume {run}"


def _failed(message: object, code: int) -> int:
    print(f"equiprop: {printable(str(message))}", file=sys.stderr)
    return code
