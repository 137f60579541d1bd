"""One training step: rows of text, masks, and the gradient, added up over micro-batches.

Axis letters: N rows of the step, T tokens, K places for masked positions.
"""

import dataclasses
from itertools import pairwise

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.gradients import gradients, gradients_and_norms
from minimapnet.masks.replacement import bert_mixture
from minimapnet.proposals.base import MaskBatch
from minimapnet.text.batches import rows_of_step


def draw(model, text, proposal, settings, step: int, replacement: str = "mask") -> MaskBatch:
    """Choose the rows of step `step`, which counts from 0, and their masks: from (seed, step) and the model alone.

    With the `replacement` "bert" the draw has inputs, in which not every masked token is [MASK].
    """
    rows = text.train
    batch = rows.batch(rows_of_step(rows, settings.batch_size, settings.seed, step))
    rng = backend.generator(settings.seed, "masks", step)
    drawn = proposal.draw(model, batch.ids, rng, batch.maskable, batch.attention_mask)
    if replacement == "mask":
        return drawn
    rng = backend.generator(settings.seed, "replacement", step)
    vocabulary = text.mask_token_id, text.vocab_size, text.never_at_random
    return dataclasses.replace(drawn, inputs=bert_mixture(rng, drawn.ids, drawn.positions, *vocabulary))


class Gradient:
    """Computes the gradient of a step into the flat buffer `out`, one micro-batch after the other."""

    def __init__(self, model, out, gradient_accumulation: int):
        self.model, self.out, self.gradient_accumulation = model, out, gradient_accumulation
        self._part = backend.xp.empty_like(out) if gradient_accumulation > 1 else None

    def __call__(self, drawn: MaskBatch, dropout_key, norms: bool) -> tuple[float, numpy.ndarray | None]:
        """Return the loss and, if asked for, the norm of each row's own gradient, float64 (N,) on the host.

        Every micro-batch is divided by the number of rows of the whole step, so that they add up to the full batch.
        """
        count = len(drawn.positions)
        edges = [count * i // self.gradient_accumulation for i in range(self.gradient_accumulation + 1)]
        total, squares = 0.0, []
        for start, stop in pairwise(edges):
            if start == stop:
                continue
            out = self._part if start else self.out
            loss, row_norms = self._micro_batch(drawn, slice(start, stop), dropout_key, norms, out)
            if start:
                self.out += self._part
            total += loss
            squares.append(row_norms)
        return total, numpy.concatenate(squares) if norms else None

    def _micro_batch(self, drawn, where, dropout_key, norms, out):
        share = (where.stop - where.start) / len(drawn.positions)  # `gradients` divides by the part's own count
        batch = (self.model, drawn.ids[where], drawn.positions[where], drawn.weights[where] * share)
        options = {"attention_mask": drawn.attention_mask[where], "out": out}
        if drawn.inputs is not None:
            options["inputs"] = drawn.inputs[where]
        if dropout_key:
            options["dropout_key"] = (*dropout_key, where.start)
        if not norms:
            return gradients(*batch, **options)[0], None
        loss, _, row_norms = gradients_and_norms(*batch, **options)
        return loss, backend.to_host(row_norms).astype(numpy.float64) / share


def variance_of_mean(norms: numpy.ndarray, norm: float) -> float:
    """Return the variance of a step's gradient, estimated from the norms (N,) of its rows' and its own: N above 1.

    It is (mean_b |g_b|^2 - |mean_b g_b|^2) / (N - 1), the trace of the covariance of the mean of N independent rows.
    """
    return max(0.0, float(numpy.mean(norms * norms)) - norm * norm) / (len(norms) - 1)
