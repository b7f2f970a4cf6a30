"""Setting up JAX for a command, or a worker of one."""

import contextlib
import os
from pathlib import Path


def set_up(precision: str) -> None:
    """Enables 64-bit numbers and rounded products where asked for, and keeps compiled programs between commands.

    `JAX_COMPILATION_CACHE_DIR` names the cache's folder; by default it is the user's cache folder, if there can be one.
    """
    import jax

    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
    # On a GPU the products of JAX round their factors to ten bits unless it is told not to.
    jax.config.update("jax_default_matmul_precision", "default" if precision == "tensorfloat32" else "highest")
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        import pooch

        # Without a home nothing is kept, which is no fault.
        with contextlib.suppress(OSError, RuntimeError):
            folder = Path(pooch.os_cache("equiprop")) / "compiled"
            if folder.is_absolute():
                folder.mkdir(parents=True, exist_ok=True)
                if os.access(folder, os.W_OK | os.X_OK):
                    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def forget_programs(share: float = 0.3) -> None:
    """Lets go of the compiled programs where they take more than this share of the pieces of memory that a process may map.

    Linux grants `vm.max_map_count`, 65,530 by default; a program for CPUs takes some tens, and where none is left the compiler
    fails, as after a hundred different trainings in one process. What is needed again comes from the cache of `set_up`.
    """
    try:
        most = int(Path("/proc/sys/vm/max_map_count").read_text())
        mapped = Path("/proc/self/maps").read_bytes().count(b"\n")
    except (OSError, ValueError):
        # No Linux, or one that does not tell.
        return
    if mapped > share * most:
        import jax

        jax.clear_caches()
