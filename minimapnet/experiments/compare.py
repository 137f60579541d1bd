"""`minimapnet compare`: do better masks make a better model, or the same model sooner?

All runs of the two experiments (see `experiments`), what is measured on the way, and what follows from it; the result is two
tables, of which the first is the same for the same command and the second holds what was timed.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path

from minimapnet import backend
from minimapnet.experiments import candidates, curves, presets, processes, timing, training_runs
from minimapnet.experiments.presets import CompareSettings, Run
from minimapnet.experiments.processes import Job
from minimapnet.files import no_new_empty
from minimapnet.progress import progress
from minimapnet.text.batches import unigram_entropy
from minimapnet.text.load import Corpus, warn_of_unknown

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

RUNS = ".runs-"  # in a comparison's folder: those of its runs, until it ends
BAR = "{desc} {percentage:3.0f} %|{bar:20}| {elapsed}, {remaining} left"


def compare(source: str, preset: str, seed: int, cache: Path, folder: Path, seeds: int | None = None) -> tuple[dict, dict]:
    """Make both experiments; return the results and the times, as `report` takes them.

    source: a text, as of `load_corpus`; `seed` and those after it are used, `seeds` of them in each experiment instead of
    the preset's. Temporary files go to `folder`, tokens to `cache`. A folder that had to be made is gone again, being empty.

    Raises InputError for text that cannot be used, and where training diverges.
    """
    settings = presets.PRESETS[preset]
    if seeds is not None:
        chosen = {name: replace(getattr(settings, name), seeds=seeds) for name in ("scratch", "branches")}
        settings = replace(settings, **chosen)
    text = training_runs.read_text(source, cache, settings)  # before any run, and into the cache
    warn_of_unknown(text)
    with _folder_of_runs(folder) as run_folder:
        job = Job(settings, str(source), cache, Path(run_folder), backend.name)
        results_by_run, times = _all_runs(settings, seed, job)
    results = _results(settings, preset, seed, text, results_by_run)
    return results, times | {"time_ratios": _time_ratios(results, times)}


def planned(settings: CompareSettings, seed: int) -> dict[Run, int]:
    """Return every run with its number of steps, the warm start first; the branches' seeds are not the warm start's."""
    chosen = {Run("warm", "uniform", seed): settings.branches.warm_steps + settings.branches.restart_steps}
    for candidate in reversed(candidates.scratch(settings.scratch)):  # the slow ones first, so that no core waits for them
        for number in range(settings.scratch.seeds):
            chosen[Run("scratch", candidate.name, seed + number)] = settings.scratch.steps
    for candidate in reversed(candidates.branches(settings.branches)):
        for number in range(settings.branches.seeds):
            chosen[Run("branches", candidate.name, seed + 1 + number)] = settings.branches.steps
    return chosen


@contextmanager
def _folder_of_runs(folder: Path) -> Iterator[str]:
    """Make a temporary folder within `folder`, and clear away those of comparisons that were killed.

    Raises OSError where it cannot be made.
    """
    with no_new_empty(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _shared(folder), tempfile.TemporaryDirectory(dir=folder, prefix=RUNS) as run_folder:
            yield run_folder


@contextmanager
def _shared(folder: Path) -> Iterator[None]:
    """Hold a folder together with other comparisons, and where there is no other, clear away what killed ones have left.

    The system lets go of it when the process ends, however it ends. Where it cannot hold folders, nothing is cleared.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # another comparison holds it
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(folder)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if re.fullmatch(re.escape(RUNS) + "[a-z0-9_]{8}", path.name):  # as `tempfile` names them
            shutil.rmtree(path, ignore_errors=True)


def _all_runs(settings: CompareSettings, seed: int, job: Job) -> tuple[dict[Run, dict], dict]:
    chosen = planned(settings, seed)
    first, clock = next(iter(chosen)), Run("times", "all", seed)
    tried = {(run.experiment, run.proposal) for run in chosen if run.experiment != "warm"}
    timed = timing.steps_of(settings.timed_steps) * len(tried)
    with progress(total=sum(chosen.values()) + timed, bar_format=BAR) as bar:

        def on_steps(run, count):
            bar.set_description(f"{run.experiment}: {run.proposal}, seed {run.seed}", refresh=False)
            bar.update(count)

        results = processes.run_all(chosen, job, on_steps, first)
        times = processes.run_all([clock], job, on_steps)[clock]
    return results, times


def _results(settings: CompareSettings, preset: str, seed: int, text: Corpus, by_run: dict[Run, dict]) -> dict:
    warm = next(result for run, result in by_run.items() if run.experiment == "warm")
    scratch, branches = settings.scratch, settings.branches
    start = {"warm": _about_the_start(branches, warm)}
    return {
        "preset": preset,
        "seed": seed,
        "backend": backend.name,
        "settings": asdict(settings),
        "text": _about(text, settings),
        **{name: warm[name] for name in ("decomposition", "stages", "calibration", "sentences")},
        "experiments": {
            "scratch": _experiment("scratch", candidates.scratch(scratch), scratch, {}, by_run),
            "branches": _experiment("branches", candidates.branches(branches), branches, start, by_run),
        },
        "rules": curves.RULES | {"start": training_runs.START, "learning": candidates.LEARNING},
    }


def _about_the_start(chosen: presets.BranchSettings, warm: dict) -> dict:
    return {
        "steps": chosen.warm_steps,
        "restart_steps": chosen.restart_steps,
        "curve": warm["curve"],
        "start": warm["start"],
    }


def _about(text: Corpus, settings: CompareSettings) -> dict:
    return {
        "name": text.name,
        "train_rows": len(text.train),
        "validation_rows": min(len(text.validation), settings.text.validation_rows),
        "vocabulary": text.vocab_size,
        "unknown_share": text.unknown_share,
        "max_length": settings.text.max_length,
        "unigram_entropy": unigram_entropy(text.train, text.validation, text.vocab_size),
        "true_entropy": training_runs.true_entropy(text),
    }


def _experiment(name: str, tried: list[candidates.Candidate], settings, about: dict, by_run: dict[Run, dict]) -> dict:
    """Collect the results of one experiment's runs, and compare every proposal with the best uniform one."""
    by_name: dict[str, dict] = {}
    proposals: list[dict] = []
    for candidate in tried:
        wanted = (name, candidate.name)
        own = {str(run.seed): result for run, result in by_run.items() if (run.experiment, run.proposal) == wanted}
        own = dict(sorted(own.items(), key=lambda pair: int(pair[0])))
        by_name[candidate.name] = {seed: result["curve"] for seed, result in own.items()}
        mean, ends = curves.interval([curves.final_loss(curve) for curve in by_name[candidate.name].values()])
        judged = [result["mapnet"] for result in own.values() if "mapnet" in result]
        proposals.append(
            {
                "name": candidate.name,
                "family": candidate.family,
                "masked": candidate.masked,
                "unbiased": candidate.unbiased,
                "curves": by_name[candidate.name],
                "final": {"mean": mean, "interval": ends},
                "diagnostics": _means([result["diagnostics"] for result in own.values()]),
                "mapnet": _means(judged) if judged else None,  # at the end, on held-out rows
            }
        )
    uniform = [proposal for proposal in proposals if proposal["family"] == "uniform"]
    baseline = min(uniform, key=lambda proposal: proposal["final"]["mean"])["name"]
    others = [candidate.name for candidate in tried if candidate.name != baseline]
    comparisons = [curves.comparison(other, by_name[other], baseline, by_name[baseline]) for other in others]
    about = {"steps": settings.steps, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate} | about
    return about | {"baseline": baseline, "proposals": proposals, "comparisons": comparisons}


def _means(tables: list[dict]) -> dict:
    return {name: sum(table[name] for table in tables) / len(tables) for name in tables[0]}


def _time_ratios(results: dict, times: dict) -> dict:
    """Return the ratios of time to the baseline's final loss: the ratios of steps, times what a step costs."""
    ratios = {}
    for name, experiment in results["experiments"].items():
        cost = {proposal: timed["ratio"] for proposal, timed in times["steps"][name].items()}
        ratios[name] = {}
        for comparison in experiment["comparisons"]:
            factor = cost[comparison["name"]] / cost[experiment["baseline"]]
            mean, ends = curves.geometric_interval([factor * ratio for ratio in comparison["steps_ratio"]["by_seed"]])
            own = curves.geometric_interval([factor * ratio for ratio in comparison["own_ratio"]["by_seed"]])[1]
            verdict = curves.agreed(ends, own)
            ratios[name][comparison["name"]] = {"mean": mean, "interval": ends, "cost": factor, "verdict": verdict}
    return ratios
