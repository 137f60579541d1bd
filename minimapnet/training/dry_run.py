"""What a run would be: a few of its steps are made, measured and taken back; nothing is written."""

import statistics
import sys
import time
from dataclasses import dataclass

from minimapnet import backend
from minimapnet.training.step import draw
from minimapnet.training.trainer import Trainer

MEASURED = 3  # steps, after one to warm up
MIB = 1 << 20


@dataclass(frozen=True)
class DryRun:
    """What a run would need; `str` of it is for people.

    rows N, width T and masked K are of the first step, ids (N, T) and positions (N, K); `parameters` are the model's.
    memory_mib is the most that the process has held, or on a GPU the device's pool; checkpoint_mib is what a checkpoint's
    arrays take on the disk. Seconds are those of a step, of an evaluation, and of the whole run without its checkpoints.
    """

    rows: int
    width: int
    masked: int
    parameters: int
    memory_mib: float | None
    checkpoint_mib: float
    step_seconds: float
    evaluation_seconds: float
    total_seconds: float

    def __str__(self) -> str:
        memory = "unknown" if self.memory_mib is None else f"{self.memory_mib:,.0f} MiB"
        return "\n".join(
            [
                f"a step        {self.rows} rows of up to {self.width} tokens, up to {self.masked} of them masked",
                f"model         {self.parameters:,} parameters",
                f"memory        {memory}",
                f"checkpoint    {self.checkpoint_mib:,.1f} MiB on the disk, the last two are kept",
                f"time          {self.step_seconds:.3g} s a step, {self.evaluation_seconds:.3g} s an evaluation, "
                f"{self.total_seconds / 60:,.1f} minutes in all",
            ]
        )


def dry_run(trainer: Trainer) -> DryRun:
    """Measure a few steps of a trainer that has not begun, and leave it, its model and its proposal as they were.

    Raises InputError as the run itself would.
    """
    drawn = draw(trainer.model, trainer.text, trainer.proposal, trainer.settings, 0)
    flat = backend.to_host(trainer.model.flat).copy()
    optimizer, proposal = trainer.optimizer.state(), trainer.proposal.state()
    taken = []
    for _ in range(1 + min(MEASURED, trainer.settings.steps - 1)):
        before = trainer.seconds
        trainer.make_step()
        taken.append(trainer.seconds - before)
    started = time.perf_counter()
    if trainer.evaluation:
        trainer.evaluation.loss(trainer.model)
    evaluation = time.perf_counter() - started
    trainer.model.flat[...] = backend.to_device(flat)
    trainer.optimizer.load_state(optimizer)
    trainer.proposal.load_state(proposal)
    trainer.step, trainer.seconds, trainer.tokens = 0, 0.0, 0
    step, settings = statistics.median(taken[1:] or taken), trainer.settings
    states = sum(array.nbytes for state in (optimizer, proposal) for array in state.values())
    rows, width = drawn.ids.shape
    masked, total = drawn.positions.shape[1], settings.steps * step + _evaluations(trainer) * evaluation
    size = (flat.nbytes + states) / MIB
    return DryRun(rows, width, masked, flat.size, _memory_mib(), size, step, evaluation, total)


def _evaluations(trainer: Trainer) -> int:
    """Count those of a whole run: before the first step, at every interval, after the last step."""
    steps, every = trainer.settings.steps, trainer.settings.eval_every
    if trainer.evaluation is None:
        return 0
    return 2 + ((steps - 1) // every if every else 0)


def _memory_mib() -> float | None:
    """Return the most memory held so far, or None where the system does not say."""
    if backend.name == "cupy":
        return backend.xp.get_default_memory_pool().total_bytes() / MIB
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB
