"""The processes of a comparison's runs: what they tell, what they leave, and what becomes of them when one breaks off."""

import multiprocessing
import os
import queue
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from minimapnet.errors import InputError
from minimapnet.experiments import processes
from minimapnet.experiments.presets import Run
from minimapnet.experiments.processes import Job
from tests.helpers.command_cases import environment
from tests.helpers.small_comparison import SMALL

WARM, SCRATCH, BRANCH = Run("warm", "uniform", 0), Run("scratch", "uniform, 15 % masked", 0), Run("branches", "a", 1)


def job(folder, source="grammar", steps=4):
    settings = replace(SMALL, scratch=replace(SMALL.scratch, steps=steps))
    return Job(settings, source, folder / "cache", folder, "numpy")


def ignore(run, steps):
    pass


def say_threads(run, job):
    return {name: os.environ.get(name) for name in processes.THREAD_VARIABLES}


def be_killed(run, job):
    processes._progress.put((run, 0))
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_of_a_run_is_the_comparisons(tmp_path):
    chosen = [Run("scratch", "uniform", seed) for seed in range(3)]
    with pytest.raises(InputError, match="there is no text nowhere"):
        processes.run_all(chosen, job(tmp_path, "nowhere"), ignore)


def test_a_run_that_breaks_off_is_named(tmp_path):
    with pytest.raises(InputError, match=r"^the run scratch, unheard of, seed 0 broke off: .+"):
        processes.run_all([Run("scratch", "unheard of", 0)], job(tmp_path), ignore)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_run_whose_process_is_killed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "perform", be_killed)
    message = r"^the run scratch, uniform, 15 % masked, seed 0 broke off: its process was killed$"
    with pytest.raises(InputError, match=message):
        processes.run_all([SCRATCH], job(tmp_path), ignore)


def test_no_process_is_left_behind_after_ctrl_c(tmp_path):
    before = set(multiprocessing.active_children())

    def interrupt(run, steps):
        assert set(multiprocessing.active_children()) > before
        if steps:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.run_all([SCRATCH], job(tmp_path, steps=10**6), interrupt)
    assert set(multiprocessing.active_children()) == before


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_processes_end_with_their_parent(tmp_path):
    """The script has no guard of its main part: workers do not run it."""
    code = f"""
import multiprocessing, pathlib
from minimapnet.experiments import processes
from tests.experiments.test_processes import SCRATCH, job

def say(run, steps):
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)

processes.run_all([SCRATCH], job(pathlib.Path({str(tmp_path)!r}), steps=10**6), say)
"""
    script = tmp_path / "endless.py"
    script.write_text(code, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment())
    workers = [int(number) for number in parent.stdout.readline().split()]
    parent.kill()
    parent.communicate()  # ends when no worker holds the pipe
    assert workers
    deadline = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_progress_is_told_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_progress", told := queue.SimpleQueue(), raising=False)
    processes.perform(SCRATCH, job(tmp_path, steps=2 * processes.EVERY + 3))
    found = [told.get() for _ in range(told.qsize())]
    assert found == [(SCRATCH, 0), (SCRATCH, processes.EVERY), (SCRATCH, processes.EVERY)]


def test_branches_wait_for_the_warm_start(tmp_path, monkeypatch):
    begun, submit = [], processes.submit

    def watched(workforce, task, run, job):
        assert run != BRANCH or begun[0][1].done()
        begun.append((run, submit(workforce, task, run, job)))
        return begun[-1][1]

    monkeypatch.setattr(processes, "perform", say_threads)
    monkeypatch.setattr(processes, "submit", watched)
    found = processes.run_all([WARM, BRANCH, SCRATCH], job(tmp_path), ignore, first=WARM)
    assert set(found) == {WARM, BRANCH, SCRATCH} and begun[-1][0] == BRANCH


def test_processes_have_one_thread_and_the_parent_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "perform", say_threads)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = dict(os.environ)
    found = processes.run_all([SCRATCH], job(tmp_path), ignore)
    assert found == {SCRATCH: dict.fromkeys(processes.THREAD_VARIABLES, "1")}
    assert dict(os.environ) == before
