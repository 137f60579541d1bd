"""AdamW over one flat buffer, the learning rate's course, and clipping."""

import math

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.model import parameters


class AdamW:
    """AdamW for one model, whose flat buffer it updates in place; its own arrays lie on the same device.

    Weight decay acts on weights and tables, not on biases and LayerNorms. `steps` counts the updates made.
    Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2.
    """

    def __init__(self, model, betas=(0.9, 0.98), eps: float = 1e-6, weight_decay: float = 0.01, clip: float = 1.0):
        """`clip` is the largest Euclidean norm that a gradient may have; a longer one is shortened to it.

        Raises InputError for values outside their range.
        """
        if not all(0 <= beta < 1 for beta in betas) or eps <= 0 or weight_decay < 0 or clip <= 0:
            raise InputError(
                f"AdamW needs betas in [0, 1), eps > 0, weight_decay >= 0 and clip > 0, "
                f"not {betas}, {eps}, {weight_decay} and {clip}"
            )
        self.model, self.betas, self.eps, self.weight_decay, self.clip = model, betas, eps, weight_decay, clip
        self.steps = 0
        self.mean, self.square = backend.xp.zeros_like(model.flat), backend.xp.zeros_like(model.flat)
        self._gradient = backend.xp.zeros_like(model.flat)
        self._views = parameters.flat_views(self._gradient, model.shapes)
        self._decayed = parameters.decayed_size(model.shapes)

    def step(self, gradients: dict, lr: float) -> float:
        """Update the model from `gradients` {name: array}, which stay as they are; give their norm before clipping.

        A gradient that is not finite changes nothing: its norm, infinite or NaN, is given for the caller to act on.
        """
        for name, view in self._views.items():
            view[...] = gradients[name]
        norm = math.sqrt(float(self._gradient @ self._gradient))
        if not math.isfinite(norm):
            return norm
        if norm > self.clip:
            self._gradient *= self.clip / norm
        self.steps += 1
        backend.kernels.adamw_step(
            self.model.flat,
            self._gradient,
            self.mean,
            self.square,
            self.steps,
            self._decayed,
            lr=lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )
        return norm


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Give the learning rate of update `step` of 0 .. steps - 1: a line up to `peak` in `warmup` updates, a line down.

    The first update has peak / warmup, the last peak / (steps - warmup): none is zero.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / max(1, steps - warmup)
