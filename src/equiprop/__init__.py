"""Train and analyse systems that compute by relaxing to an equilibrium, by equilibrium propagation.

    import equiprop as ep

    system = ep.mlp(784, (256, 256), 10, key=key)
    answer = ep.estimate(system, images, labels, ep.Centered(nudge=0.05))

Everything one needs is here; the packages behind it are imported when they are first used, so that `import equiprop` and
`equiprop --help` do not wait for JAX.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from equiprop import benchmarking as benchmarking
    from equiprop import data as data
    from equiprop import diagnostics as diagnostics
    from equiprop import estimators as estimators
    from equiprop import experiment as experiment
    from equiprop import hardware as hardware
    from equiprop import homeostasis as homeostasis
    from equiprop import numerics as numerics
    from equiprop import reporting as reporting
    from equiprop import solvers as solvers
    from equiprop import systems as systems
    from equiprop import training as training
    from equiprop.diagnostics import *
    from equiprop.errors import *
    from equiprop.estimators import *
    from equiprop.experiment import *
    from equiprop.homeostasis import *
    from equiprop.numerics import *
    from equiprop.solvers import *
    from equiprop.systems import *
    from equiprop.training import *

__version__ = "0.2.0"

_PACKAGES = (
    "benchmarking",
    "data",
    "diagnostics",
    "estimators",
    "experiment",
    "hardware",
    "homeostasis",
    "numerics",
    "reporting",
    "solvers",
    "systems",
    "training",
)

_FLAT = (
    "errors",
    "numerics",
    "systems",
    "solvers",
    "estimators",
    "homeostasis",
    "diagnostics",
    "training",
    "experiment",
)
"""The packages whose names are also here, in the order in which they are searched."""


def _exported(package: str) -> dict[str, Any]:
    """What a package offers: no modules, which importing it leaves behind, and where it says `__all__` no more than that."""
    found = vars(importlib.import_module(f"equiprop.{package}"))
    names = found.get("__all__", [name for name in found if not name.startswith("_")])
    return {name: found[name] for name in names if not isinstance(found[name], ModuleType)}


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"equiprop.{name}")
    if not name.startswith("_"):
        for package in _FLAT:
            exported = _exported(package)
            if name in exported:
                return exported[name]
    raise AttributeError(f"module 'equiprop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({"__version__", *_PACKAGES}.union(*map(_exported, _FLAT)))
