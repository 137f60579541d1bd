"""How good a model is: its loss on masks that are drawn once, uniformly, and are the same for everything compared.

Axis letters: N rows, B of them in a chunk, T tokens, K places for masked positions.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.gradient_norms.gradients import token_losses
from minimapnet.masks.uniform import UniformMasks
from minimapnet.model import layers
from minimapnet.proposals.base import sizes

MASK_RATE = 0.15  # share of the maskable tokens, whatever is masked in training
CHUNK_TOKENS = 4096  # that go through the model at once


class Chunk(NamedTuple):
    """Rows of like length with their masks, on the host: ids, attention_mask (B, T), positions, weights (B, K)."""

    ids: numpy.ndarray
    attention_mask: numpy.ndarray
    positions: numpy.ndarray
    weights: numpy.ndarray


class Quality(NamedTuple):
    """Loss in nats per masked token, and shares of masked tokens that are the best guess, and among the five best.

    All three are means over rows of the mean over the row's mask.
    """

    loss: float
    top1: float
    top5: float


class Evaluation:
    """Rows with a uniform mask each, both fixed by `seed`; `loss` is the mean over rows of the mean over the row's mask."""

    def __init__(self, rows, k, seed: int = 0, most: int = 1024):
        """rows as in `text.batches`; k is a whole number of positions, or a share of the maskable ones (a float below 1).

        Of more than `most` rows, so many are chosen at random. Raises InputError for no rows, and for k above the number of
        maskable positions of one that is chosen.
        """
        if not len(rows):
            raise InputError("there are no rows to evaluate on: the text is too short to keep some for validation")
        self.k, self.seed, self.rows = k, seed, min(most, len(rows))
        chosen = backend.generator(seed, "evaluation rows").permutation(len(rows))[:most]
        chosen = chosen[numpy.argsort(rows.lengths[chosen], kind="stable")]  # little padding where rows share a forward
        height = max(1, CHUNK_TOKENS // int(rows.lengths[chosen].max()))
        self.chunks = [
            self._chunk(number, rows.batch(chosen[start : start + height]))
            for number, start in enumerate(range(0, len(chosen), height))
        ]

    def _chunk(self, number, batch):
        masks = UniformMasks(batch.maskable, sizes(self.k, batch.maskable))
        positions = masks.sample(backend.generator(self.seed, "evaluation masks", number), 1)[0]  # (B, K)
        masked = positions != -1
        return Chunk(batch.ids, batch.attention_mask, positions, masked / masked.sum(axis=1, keepdims=True) / self.rows)

    def loss(self, model) -> float:
        """Return the model's loss in nats per masked token; no dropout."""
        total = 0.0
        for chunk in self.chunks:
            losses = backend.to_host(token_losses(model, chunk.ids, chunk.positions, chunk.attention_mask))  # (B, K)
            total += float((losses * chunk.weights).sum())
        return total

    def quality(self, model, watch: Callable[[list[Chunk]], Iterable[Chunk]] = iter) -> Quality:
        """Return the loss, as `loss` does, and how often the model's guesses are right; `watch` may show how far it is."""
        total = numpy.zeros(3)
        for chunk in watch(self.chunks):
            masked = chunk.positions != -1
            rows = numpy.nonzero(masked)[0]
            targets = chunk.ids[rows, chunk.positions[masked]]  # (N,)
            logits = model.masked_logits(chunk.ids, chunk.positions, chunk.attention_mask)  # (N, V)
            ranks = backend.to_host(_ranks(logits, targets))
            losses = backend.to_host(layers.cross_entropy_forward(logits, backend.to_device(targets))[0])
            total += numpy.stack([losses, ranks < 1, ranks < 5]) @ chunk.weights[masked]
        return Quality(*map(float, total))


def _ranks(logits, targets: numpy.ndarray):
    """Return how many tokens are better guesses than the target: logits (N, V), targets (N,) -> (N,) on the device.

    Of equal ones those with lower ids are better, so that guesses of a model that knows nothing are not all right.
    """
    targets = backend.to_device(targets)[:, None]  # (N, 1)
    own = backend.xp.take_along_axis(logits, targets, axis=1)  # (N, 1)
    earlier = backend.xp.arange(logits.shape[1]) < targets  # (N, V)
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)
