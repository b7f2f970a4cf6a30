"""Train and dissect networks that compute by relaxing to an equilibrium, by equilibrium propagation.

The rooms are imported when they are first used, so that `import equiprop` and `equiprop --help` do not wait for JAX:

    import equiprop as ep

    system = ep.systems.mlp(784, (256, 256), 10, key=key)
    estimate = ep.estimators.estimate(system, images, labels, ep.estimators.Centered(nudge=0.5))
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from equiprop import (
        benchmarking,
        data,
        diagnostics,
        estimators,
        homeostasis,
        numerics,
        reporting,
        solvers,
        systems,
        training,
    )

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "benchmarking",
    "data",
    "diagnostics",
    "estimators",
    "homeostasis",
    "numerics",
    "reporting",
    "solvers",
    "systems",
    "training",
]

_ROOMS = __all__[1:]


def __getattr__(name: str) -> ModuleType:
    if name in _ROOMS:
        return importlib.import_module(f"equiprop.{name}")
    raise AttributeError(f"module 'equiprop' has no attribute {name!r}; its rooms are {', '.join(_ROOMS)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
