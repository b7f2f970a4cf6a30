"""Where the trials of a sweep are trained: processes of this machine, jobs of a Slurm cluster, or tasks of a Ray cluster.

All do the same: so many workers, each of which trains trials until none is left. What a worker that was killed had under way is
gone on with by another.
"""

import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from equiprop._interrupts import doing
from equiprop._jax import set_up
from equiprop.errors import EquipropError, InputError, suggest, unknown_key
from equiprop.experiment.sweeps._sweep import FILE, Sweep
from equiprop.experiment.sweeps._trials import Trial

Told = Callable[[Trial], None]


def work(file: str) -> None:
    """What a worker does: trains trials of the sweep that a file describes until none is left."""
    sweep = Sweep.from_file(file)
    set_up(sweep.precision)
    sweep.work()


class Work:
    """`work` as an object that Slurm may interrupt and start again."""

    def __init__(self, file: str) -> None:
        self.file = file

    def __call__(self) -> None:
        work(self.file)

    def checkpoint(self) -> Any:
        """What submitit runs in place of a job that was interrupted."""
        return _imported("submitit", "submitit").helpers.DelayedSubmission(Work(self.file))


def execute(sweep: Sweep, tell: Told) -> None:
    """Trains all trials of a sweep that are left. Raises `InputError` for an executor that does not exist."""
    options = dict(sweep.executor)
    kind = options.pop("kind", "local")
    if kind not in EXECUTORS:
        raise suggest(("executor", "kind"), kind, EXECUTORS)
    # The folder and its file are there, and right, before any worker is.
    sweep.open()
    EXECUTORS[kind](sweep, options, tell)


def local(sweep: Sweep, options: Mapping[str, Any], tell: Told) -> None:
    """In this process, or in several of this machine."""
    _require_known(options, ())
    if sweep.workers == 1:
        set_up(sweep.precision)
        sweep.work(tell)
        return
    with _telling(sweep, tell) as look:
        workers = [_begun(sweep) for _ in range(sweep.workers)]
        try:
            while workers:
                time.sleep(0.2)
                look()
                for worker in [each for each in workers if each.process.poll() is not None]:
                    workers.remove(worker)
                    code, said = worker.process.returncode, worker.ended()
                    # One that was killed is replaced: its trial is given up after a few times.
                    workers += [_begun(sweep)] if code < 0 else []
                    if code > 0:
                        raise EquipropError(f"a worker ended with: {said or code}")
        finally:
            for worker in workers:
                worker.process.terminate()
            with doing("the ends of the workers", waited_for=True):
                for worker in workers:
                    worker.ended()


@dataclass(frozen=True)
class _Worker:
    """A process, and the file that holds what it says on standard error: a pipe that nobody reads would stop it."""

    process: "subprocess.Popen[str]"
    said: IO[str]

    def ended(self) -> str:
        """Waits for its end; the last line that it said."""
        self.process.wait()
        with self.said as file:
            file.seek(0)
            return next(iter(reversed(file.read().strip().splitlines())), "")


def _begun(sweep: Sweep) -> _Worker:
    command = [sys.executable, "-m", "equiprop.experiment.sweeps", str(sweep.out / FILE)]
    said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # closed when the worker has ended
    # In a session of its own: Ctrl-C reaches this process alone, which lets each worker write its checkpoint.
    options: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": said, "text": True, "start_new_session": True}
    return _Worker(subprocess.Popen(command, **options), said)


def submitit(sweep: Sweep, options: Mapping[str, Any], tell: Told) -> None:
    """Jobs of a Slurm cluster, by submitit; `options` are those of its executor, such as `slurm_partition`, `timeout_min`."""
    library = _imported("submitit", "submitit")
    given = dict(options)
    try:
        executor = library.AutoExecutor(folder=sweep.out / "submitit", cluster=given.pop("cluster", None))
        executor.update_parameters(**given)
    except (NameError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(str(error).splitlines()[0], path="executor") from error
    jobs = [executor.submit(Work(str(sweep.out / FILE))) for _ in range(sweep.workers)]
    with _telling(sweep, tell) as look:
        while not all(job.done() for job in jobs):
            time.sleep(0.2)
            look()
        for job in jobs:
            if (failed := job.exception()) is not None:
                raise EquipropError(f"job {job.job_id}: {str(failed).strip().splitlines()[-1]}; see {job.paths.folder}")


def ray(sweep: Sweep, options: Mapping[str, Any], tell: Told) -> None:
    """Tasks of a Ray cluster whose nodes share the folder. `address` as of `ray.init`; `num_cpus`, `num_gpus` of a worker."""
    _require_known(options, ("address", "num_cpus", "num_gpus"))
    library = _imported("ray", "ray")
    if not library.is_initialized():
        library.init(address=options.get("address"), log_to_driver=False, logging_level="ERROR")
    resources = {name: options[name] for name in ("num_cpus", "num_gpus") if name in options}
    # A node that is lost takes its workers along; Ray starts them anew elsewhere.
    task = library.remote(max_retries=-1, **(resources or {"num_cpus": 1}))(work)
    left = [task.remote(str(sweep.out / FILE)) for _ in range(sweep.workers)]
    with _telling(sweep, tell) as look:
        while left:
            done, left = library.wait(left, timeout=0.2)
            library.get(done)
            look()


EXECUTORS: dict[str, Callable[[Sweep, Mapping[str, Any], Told], None]] = {
    "local": local,
    "submitit": submitit,
    "ray": ray,
}
"""By kind: where workers run."""


def _require_known(options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in options:
        if key not in known:
            raise unknown_key("executor", key, ("kind", *known))


def _imported(library: str, extra: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        hint = f"pip install 'equiprop[{extra}]'"
        raise InputError(f"needs {library}, which cannot be imported ({error})", path="executor", hint=hint) from None


@contextmanager
def _telling(sweep: Sweep, tell: Told) -> Iterator[Callable[[], None]]:
    """Tells of each trial that others have ended, once, whenever it is asked to look, and at the end."""
    trials = sweep.open()
    ended = {each.number for each in sweep.results(trials) if each.state not in ("running", "waiting")}

    def look() -> None:
        for each in sweep.results(trials):
            if each.state not in ("running", "waiting") and each.number not in ended:
                ended.add(each.number)
                tell(each)

    yield look
    look()
