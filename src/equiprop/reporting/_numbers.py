"""Numbers out of files that promise none: what counts as one, and how it is printed."""

import math

MISSING = "–"

# What is larger is no fraction, and has no digits to round.
_LARGEST_FRACTION = 1e6


def number(value: object) -> float | None:
    """`value` as a float where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def is_unbounded(value: object) -> bool:
    """Whether `value` is a float that is infinite or not a number."""
    return isinstance(value, float) and not math.isfinite(value)


def fixed(value: object, digits: int) -> str:
    """`value` with `digits` decimals; `nan` and `inf` are said, anything else than a number is missing."""
    if is_unbounded(value):
        return str(value).replace("-", "−")
    known = number(value)
    if known is None:
        return MISSING
    text = f"{known:.{digits}f}" if abs(known) < 1e12 else f"{known:.2e}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def percent(fraction: object, digits: int) -> str:
    """A fraction of samples in percent, rounded down: 100 means every sample, not nearly every one."""
    known = number(fraction)
    if known is None:
        return fixed(fraction, digits)
    scale = 10**digits
    if abs(known) > _LARGEST_FRACTION:
        return fixed(100 * known, digits)
    # The tiny summand keeps 0.29 · 100 = 28.999999999999996 from being cut to 28.9.
    return fixed(math.floor(known * 100 * scale + 1e-9) / scale, digits)


def plain(value: object) -> str:
    """`value` in the fewest digits that tell it apart: a setting, as the user would type it."""
    known = number(value)
    return f"{known:g}" if known is not None else str(value)
