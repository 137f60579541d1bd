"""Training runs of an experiment: one that was stopped half-way is no result."""

import signal

from minimapnet.training.trainer import Trainer


def whole_run(trainer: Trainer) -> list[dict]:
    """Train to the last step and give the log's records, as `Trainer.run` does.

    Ctrl-C and SIGTERM, which end a trainer's run after a step, then meet the handler that was there before: they end it all.
    """
    records = trainer.run()
    if trainer.stopped:
        signal.raise_signal(signal.Signals[trainer.stopped])
    return records
