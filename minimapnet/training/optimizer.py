"""The learning rate's course over the steps of a run."""

from minimapnet.model.optimizer import AdamW

__all__ = ["AdamW", "learning_rate"]


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Give the learning rate of update `step` of 0 .. steps - 1: a line up to `peak` in `warmup` updates, a line down.

    The first update has peak / warmup, the last peak / (steps - warmup): none is zero.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / max(1, steps - warmup)
