"""Many training runs side by side: each in a process of its own, with one thread.

Runs are small, and one thread each is the best use of the cores; it also makes a run's numbers independent of how many cores
there are. A process gets its job as JSON on its standard input and answers by lines of JSON: {"steps": n} as it goes, then
{"result": ...}, or {"error": line} for an InputError.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from queue import SimpleQueue

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.experiments.presets import Run
from minimapnet.kernels import pool

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def workers() -> int:
    """Return how many runs go side by side: one a core, or one alone on a GPU."""
    return pool.threads() if backend.name == "numpy" else 1


def run_all(
    runs: Iterable[Run], job: dict, on_steps: Callable[[Run, int], None], first: Run | None = None
) -> dict[Run, dict]:
    """Make all runs; return {run: result}. `first`, where given, is made first, and the branches only after it.

    `job` is what a process has to know beside its run; `on_steps(run, n)` is told of progress.

    Raises InputError as the runs do; then, and after Ctrl-C, no process is left behind.
    """
    waiting, running, found = list(runs), {}, {}
    answers = SimpleQueue()
    try:
        while waiting or running:
            for run in [run for run in waiting if run.experiment != "branches" or first is None or first in found]:
                if len(running) < workers():
                    waiting.remove(run)
                    running[run] = _start(run, job, answers)
            run, answer = answers.get()
            if "steps" in answer:
                on_steps(run, answer["steps"])
                continue
            running.pop(run).wait()
            if "error" in answer:
                raise InputError(answer["error"])
            found[run] = answer["result"]
    finally:
        for process in running.values():
            process.kill()
            process.wait()
    return found


def _start(run: Run, job: dict, answers: SimpleQueue) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-m", "minimapnet.experiments.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=os.environ | dict.fromkeys(THREAD_VARIABLES, "1"),
        start_new_session=True,  # Ctrl-C is for us alone: we stop the others
    )
    process.stdin.write(json.dumps(job | {"run": asdict(run)}))
    process.stdin.close()
    threading.Thread(target=_listen, args=(run, process, answers), daemon=True).start()
    return process


def _listen(run: Run, process: subprocess.Popen, answers: SimpleQueue) -> None:
    """Hand on what a process says; where it ends without a result, the last line of its complaint."""
    complaint = []
    listener = threading.Thread(target=lambda: complaint.extend(process.stderr), daemon=True)
    listener.start()
    last = {}
    for line in process.stdout:
        if not line.endswith("\n"):  # killed in the midst of it
            last = {}
            break
        last = json.loads(line)
        answers.put((run, last))
    listener.join()
    if not last.keys() & {"result", "error"}:
        why = complaint[-1].strip() if complaint else f"it ended with code {process.wait()}"
        answers.put((run, {"error": f"the run {run.experiment}, {run.proposal}, seed {run.seed} broke off: {why}"}))
