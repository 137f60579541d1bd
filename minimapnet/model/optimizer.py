"""AdamW over one flat buffer, with clipping: for everything that has parameters, a Bert and a MapNet alike."""

import math

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.model import parameters


class AdamW:
    """AdamW for one model, whose flat buffer it updates in place; its own arrays are on the same device.

    Weight decay acts on weights and tables, not on biases and LayerNorms. `steps` counts the updates made. `gradient` is a
    flat buffer of the model's form, for `gradients(..., out=optimizer.gradient)` to write into.
    Source: Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2.
    """

    def __init__(self, model, betas=(0.9, 0.98), eps: float = 1e-6, weight_decay: float = 0.01, max_grad_norm: float = 1.0):
        """`max_grad_norm` is the largest Euclidean norm that a gradient may have; a longer one is shortened to it.

        Raises InputError for values outside their range.
        """
        if not all(0 <= beta < 1 for beta in betas) or not eps > 0 or not weight_decay >= 0 or not max_grad_norm > 0:
            raise InputError(
                f"AdamW needs betas in [0, 1), eps > 0, weight_decay >= 0 and max_grad_norm > 0, "
                f"not {betas}, {eps}, {weight_decay} and {max_grad_norm}"
            )
        self.model, self.betas, self.eps, self.weight_decay, self.max_grad_norm = (
            model,
            betas,
            eps,
            weight_decay,
            max_grad_norm,
        )
        self.steps = 0
        self.mean, self.square = backend.xp.zeros_like(model.flat), backend.xp.zeros_like(model.flat)
        self.gradient = backend.xp.zeros_like(model.flat)
        self._decayed = parameters.decayed_size(model.shapes)

    def step(self, gradients: dict, lr: float) -> float:
        """Update the model from `gradients` {name: array}, which stay as they are; return their norm before clipping.

        A gradient that is not finite changes nothing: its norm, infinite or NaN, is given for the caller to act on.
        """
        for name, view in parameters.flat_views(self.gradient, self.model.shapes).items():
            view[...] = gradients[name]
        return self.update(lr)

    def update(self, lr: float) -> float:
        """As `step`, from what is in `gradient`, which is clipped in place."""
        with numpy.errstate(over="ignore"):  # the norm shows it to the caller
            norm = math.sqrt(float(self.gradient @ self.gradient))
        if not math.isfinite(norm):
            return norm
        if norm > self.max_grad_norm:
            self.gradient *= self.max_grad_norm / norm
        self.steps += 1
        backend.kernels.adamw_step(
            self.model.flat, self.gradient, self.mean, self.square, self.steps, self._decayed,
            lr=lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay,
        )  # fmt: skip
        return norm

    def state(self) -> dict:
        """Return what a resumed run needs, as copies on the host: the two moments (n,) and the number of updates ()."""
        moments = {"mean": self.mean, "square": self.square}
        return {name: backend.to_host(array).copy() for name, array in moments.items()} | {"steps": numpy.array(self.steps)}

    def load_state(self, state: dict) -> None:
        """Go on from what `state` gave. Raises InputError where that belongs to a model of another size."""
        for name in ("mean", "square"):
            if state[name].shape != self.model.flat.shape:
                raise InputError(f"the optimizer's {name} holds {state[name].size} values, the model {self.model.flat.size}")
            getattr(self, name)[...] = backend.to_device(state[name])
        self.steps = int(state["steps"])
