"""Errors and warnings as a user sees them."""

from typing import Any

import pytest

from equiprop.errors import ExclusionWarning, warn

CALL = "def call(function, *arguments): return function(*arguments)"


def of_module(name: str) -> Any:
    """A function of a module of that name that calls what it is given."""
    module: dict[str, Any] = {"__name__": name}
    exec(CALL, module)
    return module["call"]


def test_a_warning_names_the_line_of_the_user_whatever_libraries_lie_between():
    fit, jitted = of_module("equiprop.experiment._fit"), of_module("equinox._jit")
    with pytest.warns(ExclusionWarning, match="that") as said:
        fit(jitted, fit, warn, "that", ExclusionWarning)
    assert [each.filename for each in said] == [__file__]
