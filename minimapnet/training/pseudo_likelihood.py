"""Pseudo-log-likelihoods: how probable a model finds whole sentences, each token guessed from all the others.

Source: Salazar et al. 2020, Masked Language Model Scoring, arXiv 1910.14659.

Axis letters: S sentences, T tokens, R copies of sentences that go through the model at once.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy

from minimapnet import backend
from minimapnet.gradient_norms.gradients import token_losses

TOGETHER = 4096  # tokens that go through the model at once


def pseudo_log_likelihoods(model, sentences: Sequence[numpy.ndarray], watch: Callable[[list], Iterable] = iter):
    """Return, for each sentence, the sum of log P(token | all other tokens) over its tokens, in nats: float64 (S,).

    A sentence's first and last id are [CLS] and [SEP], which are not guessed: so one of n + 2 ids gets n copies, in each of
    which one token is [MASK]. One of no more than these two has 0. `watch` may show how far it is.

    Raises InputError for ids out of range and sentences longer than the model.
    """
    totals = numpy.zeros(len(sentences))
    for chunk in watch(_chunks([len(ids) for ids in sentences])):
        which, positions = chunk.T  # (R,), (R,)
        lengths = numpy.array([len(sentences[s]) for s in which])
        inside = numpy.arange(lengths.max()) < lengths[:, None]  # (R, T)
        ids = numpy.zeros(inside.shape, numpy.int64)
        ids[inside] = numpy.concatenate([sentences[s] for s in which])
        losses = backend.to_host(token_losses(model, ids, positions[:, None], inside.astype(numpy.int8)))[:, 0]
        numpy.subtract.at(totals, which, losses.astype(numpy.float64))
    return totals


def _chunks(lengths: list[int]) -> list[numpy.ndarray]:
    """Return the copies that go through the model together, as (sentence, position) pairs int64 (R, 2), the longest last."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    pairs = [(sentence, position) for sentence in order for position in range(1, lengths[sentence] - 1)]
    chunks, start = [], 0
    while start < len(pairs):
        stop = start + 1
        while stop < len(pairs) and (stop + 1 - start) * lengths[pairs[stop][0]] <= TOGETHER:
            stop += 1
        chunks.append(numpy.array(pairs[start:stop], numpy.int64))
        start = stop
    return chunks
