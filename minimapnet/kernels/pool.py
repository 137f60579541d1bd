"""A pool of threads for NumPy, which by itself uses one.

NumPy lets go of Python's lock inside its loops and inside BLAS, so threads that work on parts of a batch, or on parts of
one large array, do run side by side. While they do, BLAS is held to one thread each: its own pool would fight with ours.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

from threadpoolctl import ThreadpoolController

_local = threading.local()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@cache
def threads() -> int:
    """Return the number of threads: what BLAS would use, so OPENBLAS_NUM_THREADS or OMP_NUM_THREADS sets it."""
    return max([library["num_threads"] for library in _blas().info()], default=1)


def inside() -> bool:
    """Return whether this is asked within a task of `run`, which has one thread to itself and no more."""
    return getattr(_local, "inside", False)


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads() - 1, thread_name_prefix="minimapnet")


def run(tasks: Sequence[Callable[[], object]]) -> list:
    """Call every task, side by side where there is more than one, and return their results in order.

    Tasks are dealt to threads in turn, by number alone, so what runs in one thread after what is always the same. The
    caller's thread works too. Inside a task `run` is a plain loop. The first error of a task is raised here.
    """
    workers = min(threads(), len(tasks))
    if workers < 2 or inside():
        return [task() for task in tasks]
    results = [None] * len(tasks)

    def work(worker):
        _local.inside = True
        try:
            for number in range(worker, len(tasks), workers):
                results[number] = tasks[number]()
        finally:
            _local.inside = False

    with _blas().limit(limits=1):
        others = [_executor().submit(work, worker) for worker in range(1, workers)]
        try:
            work(0)
        finally:
            errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error
    return results


def split(size: int, parts: int) -> list[slice]:
    """Cut range(size) into `parts` slices of almost equal length, none of them empty."""
    parts = max(1, min(parts, size))
    edges = [size * part // parts for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]
