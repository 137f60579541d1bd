"""One training run in a process of its own: see `runs`. Reads a job from standard input, answers on standard output.

A job has the "run", the "settings" (`presets.as_json`), the "source" of the text, the folders "cache" and "folder" (where
the warm start is kept), and the "backend".
"""

import json
import sys
from pathlib import Path

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.experiments import presets, timing, training_runs
from minimapnet.experiments.presets import Run

EVERY = 10  # steps between two lines of progress
PERFORM = {
    "warm": training_runs.warm_start,
    "scratch": training_runs.from_scratch,
    "branches": training_runs.branch,
    "times": timing.measure,
}


def main() -> None:
    """Make the run that standard input describes."""
    job = json.loads(sys.stdin.read())
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else gets between the lines of the answer

    def say(answer: dict) -> None:
        try:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
        except BrokenPipeError:  # nobody waits for this run any more
            raise SystemExit(1) from None

    try:
        say({"result": perform(job, _Progress(say))})
    except InputError as error:
        say({"error": str(error)})


def perform(job: dict, on_step) -> dict:
    """Make a run and give what it found, as JSON can hold it. `on_step` is called after every step.

    Raises InputError for a text that cannot be used, and where training diverges.
    """
    backend.use(job["backend"])
    run, settings = Run(**job["run"]), presets.from_json(job["settings"])
    text = training_runs.read_text(job["source"], Path(job["cache"]), settings)
    return PERFORM[run.experiment](run, settings, text, Path(job["folder"]), on_step)


class _Progress:
    """Says how many steps were made, but not of every single one."""

    def __init__(self, say):
        self.say, self.steps = say, 0

    def __call__(self, *_) -> None:
        self.steps += 1
        if self.steps % EVERY == 0:
            self.say({"steps": EVERY})


if __name__ == "__main__":
    main()
