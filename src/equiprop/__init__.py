"""Train and analyse systems that compute by relaxing to an equilibrium, by equilibrium propagation.

    import equiprop as ep

    system = ep.mlp(784, (256, 256), 10, key=key)
    answer = ep.estimate(system, images, labels, ep.Centered(nudge=0.05))

Everything one needs is here; the packages behind it are imported when they are first used, so that `import equiprop` and
`equiprop --help` do not wait for JAX.
"""

import importlib
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
    from equiprop import studies as studies
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
    "studies",
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
"""The packages whose `__all__` is also here, in the order in which they are searched."""


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name in _PACKAGES:
        return importlib.import_module(f"equiprop.{name}")
    if not name.startswith("_"):
        for package in _FLAT:
            module = importlib.import_module(f"equiprop.{package}")
            if name in module.__all__:
                return getattr(module, name)
    raise AttributeError(f"module 'equiprop' has no attribute {name!r}")


def __dir__() -> list[str]:
    offered = (importlib.import_module(f"equiprop.{package}").__all__ for package in _FLAT)
    return sorted({"__version__", *_PACKAGES}.union(*offered))
