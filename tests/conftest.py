"""Set-up that every test shares: double precision, checked types and shapes, compiled programs kept between runs."""

import ctypes
import gc
import os
import resource
from importlib.metadata import version
from pathlib import Path

from jaxtyping import install_import_hook

# Before the first import of the library: every annotated shape and type is enforced while the tests run.
install_import_hook("equiprop", "typecheck.typechecker")

# The tests compile thousands of tiny programs, for each of which XLA's newer code generator takes three times as long as its
# older one, and in pieces a tenth longer. XLA ends a process that names a flag which it does not know: from JAX 0.11 on the older
# generator is gone.
if tuple(int(number) for number in version("jax").split(".")[:2]) < (0, 11):
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()

# For the commands that a test runs as processes of their own, too.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".cache" / "tests")

import jax  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("deterministic", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("deterministic")

jax.config.update("jax_enable_x64", True)
# As the commands set it, so that what a library test has compiled serves a test of a command too.
jax.config.update("jax_default_matmul_precision", "highest")
# The programs of the tests are tiny: compiling them fast matters more than running them fast.
jax.config.update("jax_disable_most_optimizations", True)
# What is compiled in no time costs more to keep.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(20)


@pytest.fixture(scope="module")
def _drawn_at_import(request):
    rng = getattr(request.module, "RNG", None)
    return rng if rng is None else (rng, rng.bit_generator.state)


@pytest.fixture(autouse=True)
def _numbers_do_not_depend_on_what_ran_before(_drawn_at_import):
    """A module's `RNG` begins each test where the import left it: which tests share a process is chance."""
    if _drawn_at_import is not None:
        rng, state = _drawn_at_import
        rng.bit_generator.state = state


# A process may have about 65,000 memory mappings, of which every compiled program holds some, before XLA crashes. A module adds
# 6,000 at most. What has been traced holds much more memory than that: a worker grew to nine gigabytes. Forgetting everything
# takes ten seconds.
_MANY_MAPPINGS = 50_000
_MUCH_MEMORY = 4 * 2**30


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs():
    """Frees what modules have traced and compiled, when there is much of it.

    The garbage collector would walk through all of it again and again: it is left for the end of a module, and then made to
    forget what stays.
    """
    gc.disable()
    yield
    if _is_much():
        jax.clear_caches()
        gc.unfreeze()
        gc.collect()
        _give_back()
    gc.collect()
    gc.freeze()


def _is_much() -> bool:
    """Where the system does not say, always."""
    process = Path("/proc/self")
    if not process.exists():
        return True
    pages = int((process / "statm").read_text().split()[1])
    return (process / "maps").read_text().count("\n") > _MANY_MAPPINGS or pages * resource.getpagesize() > _MUCH_MEMORY


def _give_back() -> None:
    """The C library keeps what has been freed unless it is asked."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
