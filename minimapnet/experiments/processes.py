"""Many training runs side by side: a pool of processes with one thread each.

Runs are small, and one thread each is the best use of the cores; it also makes a run's numbers independent of how many cores
there are.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.experiments import timing, training_runs
from minimapnet.experiments.presets import CompareSettings, Run
from minimapnet.kernels import pool

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
EVERY = 10  # steps between two lines of progress
POLL = 0.1  # seconds between two looks at the progress
PERFORM = {
    "warm": training_runs.warm_start,
    "scratch": training_runs.from_scratch,
    "branches": training_runs.branch,
    "times": timing.measure,
}
SPAWN = multiprocessing.get_context("spawn")  # forked, a process would have its parent's BLAS, threads and locks
_progress: SimpleQueue | None  # in a worker: where it reports how far its run has come


@dataclass(frozen=True)
class Job:
    """The inputs that all runs of a comparison share; `folder` holds the warm start."""

    settings: CompareSettings
    source: str
    cache: Path
    folder: Path
    backend: str


def workers() -> int:
    """Return how many runs go side by side: one a core, or one alone on a GPU."""
    return pool.threads() if backend.name == "numpy" else 1


def run_all(
    runs: Iterable[Run], job: Job, on_steps: Callable[[Run, int], None], first: Run | None = None
) -> dict[Run, dict]:
    """Make all runs; return {run: result}. `first`, where given, goes first, and the branches only after it.

    `on_steps(run, n)` gets progress. Raises InputError as the runs do; then, and after Ctrl-C, no process is left.
    """
    waiting, futures, results, begun = list(runs), {}, {}, set()
    progress = SPAWN.SimpleQueue()
    with executor(progress) as workforce:
        while waiting or futures:
            for run in [run for run in waiting if run.experiment != "branches" or first is None or first in results]:
                waiting.remove(run)
                futures[submit(workforce, perform, run, job)] = run
            done = wait(futures, POLL, FIRST_COMPLETED).done
            while not progress.empty():
                run, steps = progress.get()
                begun.add(run)
                on_steps(run, steps)
            for future in done:
                run = futures.pop(future)
                results[run] = _result(future, run, begun - results.keys())
    return results


def _result(future: Future, run: Run, under_way: set[Run]) -> dict:
    try:
        return future.result()
    except InputError:
        raise
    except BrokenProcessPool:  # it does not say whose process it was
        names = " or ".join(sorted(map(str, under_way or {run})))
        raise InputError(f"{names} broke off: its process was killed") from None
    except Exception as error:
        why = traceback.format_exception_only(error)[-1].strip()
        raise InputError(f"{run} broke off: {why}") from error


@contextmanager
def executor(progress: SimpleQueue | None = None) -> Iterator[ProcessPoolExecutor]:
    """Yield an executor of `workers()` processes; when the block is left by an error or Ctrl-C, they are killed."""
    others = set(multiprocessing.active_children())
    one_thread = _environment(dict.fromkeys(THREAD_VARIABLES, "1"))  # before a worker imports NumPy
    with one_thread, ProcessPoolExecutor(workers(), SPAWN, _begin, (progress,)) as workforce:
        try:
            yield workforce
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            workforce.shutdown(cancel_futures=True)
            raise


def submit(workforce: ProcessPoolExecutor, task: Callable, *arguments) -> Future:
    """Let a worker of `executor` call `task`; the worker may have to be started for it.

    Ctrl-C is for the parent alone: a new worker inherits that it is blocked. It imports the main script only where `task` is
    defined there, since a script without `if __name__ == "__main__"` would begin anew in every worker.
    """
    main = sys.modules["__main__"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        if task.__module__ != "__main__":
            sys.modules["__main__"] = ModuleType("__main__")
        return workforce.submit(task, *arguments)
    finally:
        sys.modules["__main__"] = main
        if before is not None:  # not on Windows
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(progress: SimpleQueue | None) -> None:
    """Make a new process a worker, which ends with its parent, however that ends."""
    global _progress
    _progress = progress
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all of the group, they are for the parent, which kills us
        signal.signal(number, signal.SIG_IGN)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which a process that is killed leaves behind
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def perform(run: Run, job: Job) -> dict:
    """Make a run, in a worker; return its result.

    Raises InputError for a text that cannot be used, and where training diverges.
    """
    _progress.put((run, 0))
    backend.use(job.backend)
    text = training_runs.read_text(job.source, job.cache, job.settings)
    steps = 0

    def on_step(*_) -> None:
        nonlocal steps
        steps += 1
        if steps % EVERY == 0:
            _progress.put((run, EVERY))

    return PERFORM[run.experiment](run, job.settings, text, job.folder, on_step)
