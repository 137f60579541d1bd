"""Passes through the model for the variance decomposition: many masks of one sentence, their mean gradient and their norms.

Axis letters: N sentences, B masks of one sentence, T tokens, K places for masked positions, P parameters, G groups of them.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.accumulators import gather
from minimapnet.gradient_norms.gradients import backward_pass, loss_weights
from minimapnet.gradient_norms.norms import by_group, group_of
from minimapnet.model import parameters
from minimapnet.model.batch import masked_batch
from minimapnet.proposals.base import checked_batch, sizes

MEMORY_BUDGET = 64 * 2**20  # bytes of the scores over the vocabulary that are alive at once
SHORT = 4096  # tokens of a pass: threads that share fewer wait for each other, and each has its own sum of gradients


@dataclass(frozen=True)
class Sentence:
    """One sentence, cut behind its last token: ids (1, T), maskable bool (1, T), attention_mask (1, T) or None, k masked."""

    ids: numpy.ndarray
    maskable: numpy.ndarray
    attention_mask: numpy.ndarray | None
    k: int

    def copies(self, count: int) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray | None]:
        """Return ids, maskable and attention_mask with the sentence in `count` rows."""
        mask = self.attention_mask
        return (
            self.ids.repeat(count, axis=0),
            self.maskable.repeat(count, axis=0),
            None if mask is None else mask.repeat(count, axis=0),
        )


def sentences(ids, k, maskable=None, attention_mask=None) -> list[Sentence]:
    """Take a batch apart: ids (N, T), k as for a proposal, maskable bool (N, T), attention_mask (N, T).

    Raises InputError for other shapes, no sentence or an empty one, and k below 1 or above what is maskable.
    """
    ids, maskable = checked_batch(ids, maskable, attention_mask)
    k = sizes(k, maskable)  # (N,)
    mask = numpy.ones(ids.shape, numpy.int8) if attention_mask is None else backend.to_host(attention_mask)
    taken = []
    for b in range(len(ids)):
        row = (slice(b, b + 1), slice(0, int(mask[b].nonzero()[0].max()) + 1))
        taken.append(Sentence(ids[row], maskable[row], None if mask[row].all() else mask[row], int(k[b])))
    return taken


class Groups:
    """The groups of a model's parameters, in the order of the forward pass, and where they are in its flat buffer."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        layers = {name: name.removesuffix(".weight").removesuffix(".bias") for name in shapes}
        self.names = list(dict.fromkeys(group_of(layer) for layer in layers.values()))  # (G,)
        self.places, start = [], 0  # [(slice of the buffer, group), ...]
        for name in parameters.flat_order(shapes):
            stop = start + math.prod(shapes[name])
            group = self.names.index(group_of(layers[name]))
            if self.places and self.places[-1][1] == group:
                start = self.places.pop()[0].start
            self.places.append((slice(start, stop), group))
            start = stop

    def squares(self, vector) -> numpy.ndarray:
        """Return the squared norm of each group's part of vector (P,), a flat buffer -> float64 (G,) on the host."""
        return self.totals(lambda part: (vector[part] @ vector[part],))[0]

    def totals(self, work: Callable[[slice], tuple]) -> numpy.ndarray:
        """Add up by group the S numbers that `work` gives for a part of the flat buffer -> float64 (S, G) on the host.

        The parts are blocks that stay in a core's cache while `work` goes over them several times; threads share them.
        """
        shares = _shares(self.places, backend.kernels.PRODUCT_ELEMENTS)
        found = backend.kernels.run([lambda share=share: [work(block) for block, _ in share] for share in shares])
        numbers = [numbers for share in found for numbers in share]
        table = backend.to_host(backend.xp.stack([one for several in numbers for one in several])).astype(numpy.float64)
        group = [group for share in shares for _, group in share]
        return numpy.array([numpy.bincount(group, column, len(self.names)) for column in table.reshape(len(group), -1).T])


def _shares(places, size: int) -> list[list[tuple[slice, int]]]:
    """Cut places [(slice, group), ...] into blocks of at most `size` values; deal them out in shares of about as many."""
    shares, left = [], 0
    for place, group in places:
        for start in range(place.start, place.stop, size):
            stop = min(start + size, place.stop)
            if left <= 0:
                shares.append([])
                left = size
            shares[-1].append((slice(start, stop), group))
            left -= stop - start
    return shares


def mean_gradient(model, groups: Groups, sentence: Sentence, positions, weights=None):
    """Return the mean gradient of masks of one sentence, and the squared norm of each mask's own gradient.

    positions (B, K) and weights (B, K) are as for `gradients` -> a flat buffer (P,) on the device in use, and float64 (G, B)
    on the host. Masks go through the model in chunks, so that memory does not grow with B.

    Raises InputError as `gradients` does.
    """
    vector, squares, count = None, [], len(positions)
    for rows in _chunks(model.config, positions):
        share = None if weights is None else weights[rows]
        more, found = _gradient_share(model, sentence, positions[rows], share, count)
        if vector is None:
            vector = more
        else:
            vector += more
        squares.append([backend.to_host(found[name]).astype(numpy.float64) for name in groups.names])
    return vector, numpy.concatenate(squares, axis=1) * count**2


def mean_gradients(model, groups: Groups, batch: list[Sentence], draws: list) -> Iterator[tuple]:
    """Yield, in order, what `mean_gradient` gives for each sentence under its masks, draws[b] (B, K).

    Where a pass is too short to be shared by threads, sentences go through the model side by side, each in a thread of its
    own: then so many vectors are alive at once. Raises InputError as `gradients` does.
    """
    for pairs_together in _side_by_side(batch, draws):
        yield from backend.kernels.run(
            [partial(mean_gradient, model, groups, sentence, positions) for sentence, positions in pairs_together]
        )


def _side_by_side(batch, draws) -> Iterator[list[tuple]]:
    """Put sentences with their masks into groups of neighbours, one for each thread, or of one where passes are long."""
    pairs, together = list(zip(batch, draws, strict=True)), backend.kernels.workers(len(batch))
    for first in range(0, len(pairs), together):
        pairs_together = pairs[first : first + together]
        if all(len(positions) * sentence.ids.shape[1] <= SHORT for sentence, positions in pairs_together):
            yield pairs_together
        else:
            yield from ([one] for one in pairs_together)


def _chunks(config, positions) -> Iterator[slice]:
    row = positions.shape[1] * config.vocab_size * (8 if config.dtype == "float64" else 4)  # bytes of one mask's scores
    step = max(1, MEMORY_BUDGET // row)
    return (slice(start, start + step) for start in range(0, len(positions), step))


def _gradient_share(model, sentence, positions, weights, count):
    """Return the sum of g / count over masks (B, K) of one sentence (P,), and {group: |g / count|^2 (B,)}."""
    B = len(positions)
    ids, _, attention_mask = sentence.copies(B)
    batch = masked_batch(model.config, ids, positions, attention_mask)
    dlosses = loss_weights(positions, weights, model.config.dtype) * (B / count)
    result = backward_pass(model, batch, dlosses, norms=True)
    vector = parameters.empty_flat(model.shapes, model.config.dtype)
    gather(result.accumulators, parameters.flat_views(vector, model.shapes), model.decoder_name)
    return vector, by_group(result.squares)
