"""What a training run is made of, and the learning rate's course."""

import math
from dataclasses import dataclass

from minimapnet.errors import InputError
from minimapnet.model.config import BertConfig
from minimapnet.text.load import Corpus

SCHEDULES = ("linear", "constant")


@dataclass(frozen=True)
class TrainSettings:
    """The numbers of a run; with the model, the text and the proposal they fix every bit of it.

    `gradient_accumulation` cuts a step's rows into that many parts, which go through the model one after the other: the same
    step in less memory. "constant" stays at the peak after the warm-up, "linear" goes down towards zero from there. 0 for
    `eval_every` or `checkpoint_every` means: at the end alone.

    Raises InputError for a value outside its range.
    """

    steps: int = 2000
    batch_size: int = 32  # of text that the proposal gets for a step
    gradient_accumulation: int = 1
    learning_rate: float = 2e-3
    warmup_ratio: float = 0.1  # of the steps
    schedule: str = "linear"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0  # the longest gradient that is not shortened
    eval_every: int = 0  # steps
    log_every: int = 10  # steps
    checkpoint_every: int = 500  # steps
    max_minutes: float | None = None  # of one process; a resumed run has them anew
    seed: int = 0

    def __post_init__(self):
        for name, least in WHOLE.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name} must be a whole number of at least {least}, not {value!r}")
        for name in ("learning_rate", "max_grad_norm", "max_minutes"):
            value = getattr(self, name)
            if not (value is None and name == "max_minutes") and not (_number(value) and value > 0):
                raise InputError(f"{name} must be a number above 0, not {value!r}")
        if not _number(self.weight_decay) or self.weight_decay < 0:
            raise InputError(f"weight_decay must be a number of at least 0, not {self.weight_decay!r}")
        if not _number(self.warmup_ratio) or not 0 <= self.warmup_ratio <= 1:
            raise InputError(f"warmup_ratio must lie between 0 and 1, not {self.warmup_ratio!r}")
        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule {self.schedule!r} is not one of {', '.join(SCHEDULES)}")

    def lr_scale(self, step: int) -> float:
        """Return the learning rate of update `step` of 0 .. steps - 1 as a share of its peak, above 0 and at most 1."""
        warmup = math.ceil(self.warmup_ratio * self.steps)
        if self.schedule == "constant":
            return min(1.0, (step + 1) / max(1, warmup))
        return learning_rate(step, self.steps, 1.0, warmup)


WHOLE = {  # fields that are whole numbers, and the least that each may be
    "steps": 1,
    "batch_size": 1,
    "gradient_accumulation": 1,
    "eval_every": 0,
    "log_every": 1,
    "checkpoint_every": 0,
    "seed": 0,
}


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Return the learning rate of update `step` of 0 .. steps - 1: a line up to `peak` in `warmup` updates, a line down.

    The first update has peak / warmup, the last peak / (steps - warmup): none is zero.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / max(1, steps - warmup)


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class ModelSettings:
    """The model that all runs train."""

    hidden_size: int = 128
    layers: int = 1
    heads: int = 4

    def config(self, text: Corpus, max_length: int) -> BertConfig:
        """Return the model's config for a text in rows of at most `max_length`."""
        return BertConfig(
            vocab_size=text.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden_size,
            max_position_embeddings=max_length,
            pad_token_id=text.pad_token_id,
            mask_token_id=text.mask_token_id,
        )
