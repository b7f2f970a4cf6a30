"""Whether everything that a training needs is here, and does what it should."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from equiprop.data import data_directory, glance, names, verify
from equiprop.errors import EquipropError
from equiprop.estimators import Adjoint, ExactResponse, Holomorphic, estimate
from equiprop.experiment._check_run import Finding
from equiprop.experiment._fit import fit
from equiprop.solvers import GaussSeidel
from equiprop.systems import from_force, mlp

# Seconds for two devices that are pretended, compilation included.
_PATIENCE = 300


def examine() -> Iterator[Finding]:
    """Versions, devices, caches and data that are there, and two tests: whether a gradient is that of linear algebra, and
    whether a training on two devices is that on one. Half a minute, nearly all of it compilation."""
    yield Finding("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    yield from _packages()
    yield Finding("devices", ", ".join(f"{d.device_kind} ({d.platform})" for d in jax.devices()))
    yield _cache()
    yield Finding("ngspice", shutil.which("ngspice") or "not here: circuits can be written, and not compared")
    yield _datasets()
    yield _tried("gradient", _gradient)
    yield _tried("two devices", _two_devices)


_OF_DEVELOPERS = {"bench", "docs", "lint", "test"}
"""Extras that nobody needs but who changes equiprop itself."""


def _packages() -> Iterator[Finding]:
    """What the project asks for, and what its extras do."""
    extras: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("equiprop") or ():
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if name != "equiprop":
            extras.setdefault(extra.group(1) if extra else "", []).append(name)
    for name in extras.pop("", []):
        version = _version(name)
        yield Finding(name, version or "", "" if version else "is not installed")
    for extra in sorted(extras.keys() - _OF_DEVELOPERS):
        needed = extras[extra]
        lost = [name for name in needed if _version(name) is None]
        told = f"not here: {', '.join(lost)} (pip install 'equiprop[{extra}]')" if lost else "here"
        yield Finding(f"extra {extra}", told)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cache() -> Finding:
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if folder is None:
        return Finding("compiled programs", "are not kept from command to command: no folder for them can be written")
    size = sum(file.stat().st_size for file in Path(folder).glob("*") if file.is_file())
    return Finding("compiled programs", f"{size / 2**20:.0f} MiB in {folder}")


def _datasets() -> Finding:
    """Every set of which there is a file is read."""
    begun = [name for name in names() if any(state.state != "missing" for state in glance(name))]
    states = {name: verify(name) for name in begun}
    here = [name for name in names() if all(state.ok for state in states.get(name, glance(name)))]
    broken = [f"{s.path} is {s.state}" for found in states.values() for s in found if s.state.startswith("corrupt")]
    return Finding("data", f"{', '.join(here)}; others belong into {data_directory()}", "; ".join(broken))


def _tried(part: str, test: Callable[[], str]) -> Finding:
    try:
        return Finding(part, test())
    except EquipropError as error:
        return Finding(part, "", str(error))


def _gradient() -> str:
    """A field of eight units without symmetry, relaxed and differentiated by NumPy in double precision."""
    draw = np.random.default_rng(0)
    weight, drive = draw.normal(scale=0.2, size=(8, 8)), draw.normal(size=(4, 8))
    target = draw.normal(size=(4, 8))
    state = np.zeros((4, 8))
    for _ in range(200):
        state = np.tanh(state) @ weight + drive
    # Of the activity r: H = r·W + x, so that J = Wᵀ − diag 1/φ′.
    activity = np.tanh(state)
    jacobian = weight.T - np.stack([np.diag(1 / (1 - r**2)) for r in activity])
    slope = activity - target
    exact, response = (-np.linalg.solve(j, slope[:, :, None])[:, :, 0] for j in (jacobian.transpose(0, 2, 1), jacobian))

    system = from_force(
        lambda w, u, x: jnp.tanh(u) @ w + x - u,
        jnp.asarray(weight, jnp.float32),
        initial_state=jnp.zeros(8),
        activity=jnp.tanh,
        leak=1.0,
    )
    x, y = (jnp.asarray(a, jnp.float32) for a in (drive, target))
    off = {}
    for estimator, vector in ((Adjoint(), exact), (ExactResponse(), response), (Holomorphic(0.1, 6), response)):
        found = estimate(system, x, y, estimator, solver=GaussSeidel(tolerance=1e-6)).gradient
        ours, theirs = np.asarray(jax.tree.leaves(found)[0], float), activity.T @ vector / 4
        off[estimator.label] = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
    worst = max(off, key=lambda label: off[label])
    if not off[worst] < 1e-4:
        raise EquipropError(f"{worst} is off that of linear algebra by {off[worst]:.1e} of its length")
    return f"as by linear algebra, to {off[worst]:.0e}"


_TWO = """
from equiprop.experiment._doctor import weights_of_training
import numpy as np
one, two = weights_of_training(1), weights_of_training(2)
assert np.allclose(one, two, rtol=1e-3, atol=1e-5), np.abs(one - two).max()
"""


def _two_devices() -> str:
    """In a process of its own, in which the CPU pretends to be two."""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _TWO],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EquipropError(f"a training on two devices has not ended after {_PATIENCE} s") from None
    if answer.returncode != 0:
        said = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise EquipropError(f"a training on two devices is not that on one: {said}")
    return "a training on two is that on one"


def weights_of_training(devices: int) -> np.ndarray:
    """The weights after two epochs of a small network on so many devices."""
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(16, 4)).astype(np.float32), draw.integers(0, 3, 16)
    system = mlp(4, (6,), 3, key=jax.random.key(0))
    result = fit(system, (x, y), epochs=2, batch_size=8, audit_samples=0, devices=devices, quiet=True)
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(result.system) if hasattr(a, "shape")])
