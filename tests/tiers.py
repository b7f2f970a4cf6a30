"""The two tiers of the suite: `make test` leaves out what is marked slow, `make test-all` does not.

Slow is what shows for many kinds, at the price of compiling each, what a quicker test shows for one; and what calls commands as a
user does, in a process of its own.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def quick_where(quick: Callable[..., bool], cases: Iterable[Any]) -> list[Any]:
    """Cases of `pytest.mark.parametrize`, tuples of arguments or one argument; those that are not `quick` are marked slow."""
    return [
        pytest.param(*values, marks=() if quick(*values) else pytest.mark.slow)
        for case in cases
        for values in (case if isinstance(case, tuple) else (case,),)
    ]
