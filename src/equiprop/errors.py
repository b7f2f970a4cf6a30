"""The errors a user can cause, each a single line that says what is wrong, where, and how to mend it."""

from difflib import get_close_matches


class EquipropError(Exception):
    """Something went wrong that is not a fault of the input; the command line exits with 1."""


class InputError(EquipropError, ValueError):
    """The input is wrong: a setting, a file or a run directory. The command line exits with 2 and writes nothing.

    The message is one line: the field, the value that was given, what is allowed.
    """


def suggest(name: str, value: object, allowed: list[str]) -> InputError:
    """An `InputError` for a choice that does not exist, with the nearest allowed one."""
    return InputError(f"{name} = {value!r} is not known: choose one of {', '.join(allowed)}{_nearest(value, allowed)}")


def unknown_key(where: str, key: str, allowed: list[str]) -> InputError:
    """An `InputError` for a key that does not exist, with the nearest one that does."""
    return InputError(f"{where}: there is no key {key!r}: the keys are {', '.join(allowed)}{_nearest(key, allowed)}")


def _nearest(value: object, allowed: list[str]) -> str:
    near = get_close_matches(str(value), allowed, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
