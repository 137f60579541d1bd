"""The field's structured masks: fully explored, whole word, and span.

Axis letters: S draws, B sentences, T positions, K places for masked positions, W words, R masks not yet full.
"""

import numpy

from minimapnet.errors import InputError
from minimapnet.masks.base import MaskDistribution, first_of, mask_sizes, maskable_positions, positions_of
from minimapnet.masks.uniform import UniformMasks

SPAN_STOP = 0.2  # the geometric distribution's p
LONGEST_SPAN = 10  # tokens; with p = 0.2 the mean is 3.8


class FullyExploredMasks(UniformMasks):
    """Masks of k positions that come from random partitions of the sentence into floor(n/k) disjoint masks.

    Consecutive draws of a sentence are the masks of one partition, then those of the next, so draws are not independent:
    that is what lowers the variance of their mean. Where k does not divide n, the n mod k positions that are left over, a
    random choice for each partition, are in none of its masks. Every single mask is uniform, so `log_prob` (of one mask by
    itself) and `inclusion_probabilities` are those of UniformMasks, and the plain mean over the masks is unbiased.

    Source: Zheng et al. 2020, Improving self-supervised pre-training via a fully-explored masked language model, arXiv
    2010.06040.
    """

    def sample(self, rng, size):
        """As for every distribution; `size` counts masks, and a last partition may be left unfinished."""
        groups = self.maskable.sum(axis=1) // self.k  # (B,)
        partitions = -(-size // int(groups.min()))
        keys = numpy.where(self.maskable, rng.random((partitions, *self.maskable.shape)), 2.0)
        order = numpy.argsort(keys, axis=-1)  # (partitions, B, T), those that are not maskable last
        partition, group = numpy.divmod(numpy.arange(size)[:, None], groups)  # (S, B)
        place = group[:, :, None] * self.k[:, None] + numpy.arange(self.k.max())  # (S, B, K)
        place = numpy.minimum(place, order.shape[-1] - 1)  # beyond k nothing is read
        return first_of(order[partition[:, :, None], numpy.arange(len(self.k))[:, None], place], self.k)


class WholeWordMasks(MaskDistribution):
    """At most k positions, all those of some words: words are taken in random order, skipping those that would exceed k.

    This is BERT's own procedure, so a mask may have fewer than k positions. It has neither `log_prob` nor
    `inclusion_probabilities`: both sum over all orders of the words.

    Source: create_pretraining_data.py of github.com/google-research/bert, option do_whole_word_mask.
    """

    def __init__(self, words, k):
        """words int (B, T), or (T,) for one sentence: each position's word, numbered from 0 up in any
        way, -1 where not maskable; k a number or (B,).

        Raises InputError for an empty sentence, k below 1 or above the number of maskable positions, and a sentence in which
        every word is longer than k.
        """
        words = numpy.atleast_2d(numpy.asarray(words))
        if words.dtype.kind not in "iu" or (words.size and words.min() < -1):
            raise InputError("words must be whole numbers from 0 up, the same for all positions of a word, or -1 for none")
        maskable = maskable_positions(words >= 0)
        super().__init__(maskable, mask_sizes(k, maskable))
        self._word, self._lengths = _numbered(words)  # (B, T), (B, W)
        shortest = numpy.where(self._lengths > 0, self._lengths, words.shape[1]).min(axis=1)  # (B,)
        if (shortest > self.k).any():
            b = int((shortest > self.k).argmax())
            raise InputError(f"every word of sentence {b} is longer than k = {self.k[b]}: raise k to {shortest[b]} at least")

    def sample(self, rng, size):
        order = numpy.argsort(rng.random((size, *self._lengths.shape)), axis=-1)  # (S, B, W)
        room = numpy.broadcast_to(self.k, order.shape[:2]).copy()  # (S, B)
        taken = numpy.zeros(order.shape, bool)
        for word in numpy.moveaxis(order, -1, 0)[..., None]:  # (S, B, 1)
            length = numpy.take_along_axis(self._lengths[None], word, axis=-1)[..., 0]  # (S, B), 0 for no word
            fits = (length > 0) & (length <= room)
            numpy.put_along_axis(taken, word, fits[..., None], axis=-1)
            room -= numpy.where(fits, length, 0)
        chosen = numpy.take_along_axis(taken, numpy.maximum(self._word, 0)[None], axis=-1) & self.maskable  # (S, B, T)
        return positions_of(chosen, int(self.k.max()))

    def log_prob(self, positions):
        """Raises InputError always: it cannot be computed."""
        raise InputError("a whole-word mask's probability sums over all orders of the words and cannot be computed")

    def inclusion_probabilities(self):
        """Raises InputError always: they have no closed form."""
        raise InputError("whole-word masks have no closed form for inclusion probabilities: average over draws instead")


class SpanMasks(MaskDistribution):
    """k positions in contiguous spans: a span starts at a uniformly chosen position that is not masked yet.

    Its length is geometric with p = 0.2, restricted to 1 .. 10 (mean 3.8). It ends at the sentence's end, at a position that
    is not maskable, and where k positions are masked; it may run into an earlier span. Lengths count tokens, where the
    source counts whole words. It has neither `log_prob` nor `inclusion_probabilities`: both sum over all sequences of spans,
    and positions near a sentence's start are masked less often.

    Source: Joshi et al. 2019, SpanBERT, arXiv 1907.10529, section 3.1, and its code (masking.py).
    """

    def __init__(self, n, k):
        """n is the number of positions of one sentence, or bool (B, T), true where maskable; k a number or (B,).

        Raises InputError for an empty sentence and for k below 1 or above n.
        """
        maskable = maskable_positions(n)
        super().__init__(maskable, mask_sizes(k, maskable))

    def sample(self, rng, size):
        B, T = self.maskable.shape
        stops = numpy.where(self.maskable, T, numpy.arange(T))
        stops = numpy.minimum.accumulate(stops[:, ::-1], axis=1)[:, ::-1]  # (B, T) where a span from here must end
        sentence = numpy.tile(numpy.arange(B), size)  # (S*B,)
        chosen = numpy.zeros((size * B, T), bool)
        rows = numpy.arange(size * B)  # (R,) those that are not full
        while rows.size:
            chosen[rows] |= self._next_span(rng, chosen[rows], sentence[rows], stops[sentence[rows]])
            rows = rows[chosen[rows].sum(axis=1) < self.k[sentence[rows]]]
        return positions_of(chosen.reshape(size, B, T), int(self.k.max()))

    def _next_span(self, rng, chosen, sentence, stops):
        """Return the positions that one more span adds to each mask.

        chosen (R, T), sentence (R,), stops (R, T) -> (R, T).
        """
        free = self.maskable[sentence] & ~chosen  # (R, T)
        start = numpy.where(free, rng.random(free.shape), -1.0).argmax(axis=1)[:, None]  # (R, 1)
        length = 1 + numpy.searchsorted(_length_reached(), rng.random(len(start)), side="right")[:, None]  # (R, 1)
        stop = numpy.minimum(start + length, numpy.take_along_axis(stops, start, axis=1))  # (R, 1)
        place = numpy.arange(free.shape[1])
        added = free & (place >= start) & (place < stop)
        missing = (self.k[sentence] - chosen.sum(axis=1))[:, None]  # (R, 1)
        return added & (numpy.cumsum(added, axis=1) <= missing)

    def log_prob(self, positions):
        """Raises InputError always: it cannot be computed."""
        raise InputError("a span mask's probability sums over all sequences of spans and cannot be computed")

    def inclusion_probabilities(self):
        """Raises InputError always: they have no closed form."""
        raise InputError("span masks have no closed form for inclusion probabilities: average over draws instead")


def _numbered(words):
    """Number the words of each sentence from 0: words (B, T), -1 for none -> (B, T) likewise, and their lengths (B, W)."""
    numbers = numpy.full(words.shape, -1, numpy.int64)
    lengths = numpy.zeros(words.shape, numpy.int64)  # W is at most T
    for b, row in enumerate(words):
        _, numbers[b, row >= 0], counts = numpy.unique(row[row >= 0], return_inverse=True, return_counts=True)
        lengths[b, : len(counts)] = counts
    return numbers, lengths[:, : numbers.max() + 1]


def _length_reached():
    """Return P(length <= l) of a span for l = 1 .. LONGEST_SPAN - 1 (beyond the last of them is the longest)."""
    share = (1 - SPAN_STOP) ** numpy.arange(LONGEST_SPAN)
    return (numpy.cumsum(share) / share.sum())[:-1]
