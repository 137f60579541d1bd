"""A process that forks a training run for every folder that it reads: `python kill_runs.py`, for test_resume.py.

What a run needs is imported once, so that a run begins within milliseconds. On stdout: the run's process id, from itself,
as it begins; and when it has ended, its exit status.
"""

import os
import signal
import sys
from pathlib import Path

from minimapnet.training import checkpoint
from tests.helpers import training_cases as cases

LONGEST_RUN = 60  # seconds, after which the system ends a run that hangs


def main():
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            signal.alarm(LONGEST_RUN)
            run(Path(line.strip()))
            os._exit(0)
        print(os.waitpid(pid, 0)[1], flush=True)


def run(folder: Path) -> None:
    """Begin the run of `folder`, or go on with it."""
    trainer = cases.long_trainer(folder)
    print(os.getpid(), flush=True)
    trainer.run(resume=checkpoint.exists(folder))


if __name__ == "__main__":
    main()
