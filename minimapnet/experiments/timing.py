"""What a training step costs with each proposal: in one process, in turns, so that a busy machine slows all alike."""

import math
import platform
import time
from pathlib import Path

import numpy

from minimapnet.experiments import candidates, training_runs
from minimapnet.experiments.presets import CompareSettings, Run
from minimapnet.kernels import pool
from minimapnet.text.load import Corpus
from minimapnet.training.proposal_registry import LEARN_EVERY


def measure(run: Run, settings: CompareSettings, text: Corpus, folder: Path, on_step) -> dict:
    """Time steps of every proposal of both experiments; -> {"machine", "threads", "steps": {experiment: {name: times}}}.

    Times are medians and quartiles in ms, and `ratio`, the median of the ratios to the first proposal's step of the same
    turn. Models are those of the end of the warm start.
    """
    scratch = {
        candidate.name: training_runs.scratch_trainer(
            candidate, training_runs.warm_model(settings, text, folder), settings, text, run.seed
        )
        for candidate in candidates.scratch(settings.scratch)
    }
    branches = {
        candidate.name: training_runs.branch_trainer(candidate, settings, text, folder, run.seed)
        for candidate in candidates.branches(settings.branches)
    }
    steps = {"scratch": in_turns(scratch, settings.timed_steps, on_step)}
    steps["branches"] = in_turns(branches, settings.timed_steps, on_step)
    return {"machine": f"{platform.machine()}, {platform.system()}", "threads": pool.threads(), "steps": steps}


def steps_of(count: int) -> int:
    """Return how many steps of each trainer `in_turns` makes: whole turns, and one more to warm up."""
    return (1 + math.ceil(count / LEARN_EVERY)) * LEARN_EVERY


def in_turns(trainers: dict, count: int, on_step) -> dict:
    """Time about `count` steps of each trainer, by name; the ratios are to the first one. Returns what `measure` says.

    A turn is as many steps as a MAPNet takes from one time that it learns to the next, and counts by its mean step.
    """
    taken = {name: [] for name in trainers}
    for turn in range(steps_of(count) // LEARN_EVERY):
        for name, trainer in trainers.items():
            started = time.perf_counter()
            for _ in range(LEARN_EVERY):
                trainer.make_step()
                on_step()
            if turn:
                taken[name].append(1000 * (time.perf_counter() - started) / LEARN_EVERY)
    first = numpy.array(next(iter(taken.values())))
    return {name: _summary(numpy.array(times), first) for name, times in taken.items()}


def _summary(times: numpy.ndarray, first: numpy.ndarray) -> dict:
    low, middle, high = numpy.quantile(times, (0.25, 0.5, 0.75))
    return {"ms": float(middle), "quartiles": [float(low), float(high)], "ratio": float(numpy.median(times / first))}
