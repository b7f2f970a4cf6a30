"""The errors a user can cause, each a single line that says what is wrong, where, and how to mend it."""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

__all__ = [
    "CheckpointWarning",
    "EquipropError",
    "EquipropWarning",
    "ExclusionWarning",
    "GradientWarning",
    "InputError",
    "RenamedWarning",
    "ScheduleWarning",
    "TrackerWarning",
]

_NOT_GIVEN = object()


def printable(text: str) -> str:
    """A text in one line, for any terminal and any page: what Python itself would not print as it is, is escaped.

    Names come from files, file names and other people, and may hold line breaks, colours, what turns the direction of writing,
    or what is no text at all.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class EquipropError(Exception):
    """Something went wrong that is not a fault of the input; the command line exits with 1."""


class InputError(EquipropError, ValueError):
    """The input is wrong: an argument, a setting, a file or a run directory. The command line exits with 2 and writes nothing.

    The message is one line, made of fields, so that whoever knows more can add to them: see `within`.

    **Fields:**

    - `path`: the names that lead to what is wrong, outermost first: `("estimator", "nudge")`. May be empty.
    - `value`: what was given there, if anything was.
    - `reason`: what is wrong with it.
    - `hint`: how to mend it. May be empty.
    """

    def __init__(
        self, reason: str, *, path: str | Iterable[str] = (), value: object = _NOT_GIVEN, hint: str = ""
    ) -> None:
        self.path = (path,) if isinstance(path, str) else tuple(path)
        self.value, self.reason, self.hint = value, reason, hint
        super().__init__(self.path, value, reason, hint)

    def __str__(self) -> str:
        where = ".".join(self.path)
        given = "" if self.value is _NOT_GIVEN else f" = {self._shown()}"
        # What other libraries say may be several lines.
        reason = " ".join(map(str.strip, self.reason.split("\n")))
        what = f"{where}{given}: {reason}" if where else reason
        return printable(f"{what}; {self.hint}" if self.hint else what)

    def _shown(self) -> str:
        """The value as it is written in Python; below a section as in a configuration, where truth is spelled `true`."""
        return repr(self.value).lower() if isinstance(self.value, bool) and len(self.path) > 1 else repr(self.value)

    def within(self, *names: str) -> "InputError":
        """The same error, said by someone who knows that it lies within `names`."""
        return InputError(self.reason, path=(*names, *self.path), value=self.value, hint=self.hint)

    def innermost(self, names: Mapping[str, str] | None = None) -> "InputError":
        """The same error, said by someone who asked for what is wrong once for all the places in which it was found.

        **Arguments:**

        - `names`: what is called otherwise there.
        """
        path = [(names or {}).get(name, name) for name in self.path[-1:]]
        return InputError(self.reason, path=path, value=self.value, hint=self.hint)


class EquipropWarning(UserWarning):
    """Something that a user should know and that stops nothing; the command line prints it as one line."""


class CheckpointWarning(EquipropWarning):
    """A checkpoint is damaged, and an older one is read in its place."""


class ExclusionWarning(EquipropWarning):
    """Many samples are excluded from a gradient."""


class GradientWarning(EquipropWarning):
    """A gradient may be further from the exact one than that is long."""


class RenamedWarning(EquipropWarning):
    """A setting is given by a name that it no longer has."""


class ScheduleWarning(EquipropWarning):
    """A schedule does not go on as it was begun."""


class TrackerWarning(EquipropWarning):
    """A record of a training cannot be kept; the training goes on without it."""


def warn(message: str, kind: type[EquipropWarning] = EquipropWarning) -> None:
    """Warns, naming the line of the user's program that called this package, through whatever other libraries."""
    frame, level, ours = inspect.currentframe(), 0, 0
    while frame is not None:
        level += 1
        if frame.f_globals.get("__name__", "").partition(".")[0] == __package__:
            ours = level
        frame = frame.f_back
    warnings.warn(message, kind, stacklevel=ours + 1)


def suggest(path: str | Iterable[str], value: object, allowed: Iterable[str]) -> InputError:
    """An `InputError` for a choice that does not exist, with the nearest allowed one."""
    allowed = list(allowed)
    hints = [f"choose one of {', '.join(allowed)}", nearest(value, allowed)]
    return InputError("is not known", path=path, value=value, hint="; ".join(filter(None, hints)))


def unknown_key(
    path: str | Iterable[str], key: str, allowed: Iterable[str], elsewhere: Iterable[str] = ()
) -> InputError:
    """An `InputError` for a key that does not exist.

    **Arguments:**

    - `allowed`: the keys that exist there.
    - `elsewhere`: the dotted keys of other places, where the one that was meant may be.
    """
    allowed = list(allowed)
    hint = nearest(key, allowed) or _nearest_elsewhere(key, elsewhere)
    return InputError(f"there is no key {key!r}: the keys are {', '.join(allowed)}", path=path, hint=hint)


def nearest(value: object, allowed: Iterable[str]) -> str:
    """`did you mean 'X'?` for the allowed name that is nearest to `value`; empty if none is near."""
    near = get_close_matches(str(value), list(allowed), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _nearest_elsewhere(key: str, elsewhere: Iterable[str]) -> str:
    by_last_name = {name.rpartition(".")[2]: name for name in elsewhere}
    near = get_close_matches(key, by_last_name, n=1)
    return f"did you mean {by_last_name[near[0]]!r}?" if near else ""
