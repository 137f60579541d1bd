"""Solutions to the exercises of step 1, guessing hidden words."""

import numpy


def mask_losses(log_q, ids, positions):
    """Return the loss of every sentence's mask (B,): the mean of -log q over its hidden words.

    log_q (B, T, V), ids (B, T), positions (B, K) filled up with -1. A position of -1 is looked up like any other, which
    costs nothing and gives the last token's loss, and is then left out of the mean.
    """
    sentence = numpy.arange(len(ids))[:, None]  # (B, 1)
    losses = -log_q[sentence, positions, ids[sentence, positions]]  # (B, K)
    hidden = positions != -1  # (B, K)
    return numpy.where(hidden, losses, 0.0).sum(axis=1) / hidden.sum(axis=1)


def perplexity(P, q):
    """Return exp(-sum P log q) for the truth P and the announcement q, both (V,).

    Infinite where q misses a possible word.
    """
    possible = P > 0
    if (q[possible] == 0).any():
        return numpy.inf
    return float(numpy.exp(-(P[possible] * numpy.log(q[possible])).sum()))


def mutual_information(language, sentence, first, second):
    """Return in nats what the word at `first` tells about that at `second`, given the words at all other places.

    The second word's entropy with both hidden, minus the mean of its entropy over what the first may turn out to be.
    """
    of_first = language.distribution(sentence, first, masked=[second])  # (V,)
    with_both_hidden = _entropy(language.distribution(sentence, second, masked=[first]))
    once_shown = 0.0
    for number in numpy.flatnonzero(of_first):
        shown = list(sentence)
        shown[first] = language.vocabulary[number]
        once_shown += of_first[number] * _entropy(language.distribution(shown, second))
    return with_both_hidden - once_shown


def _entropy(P):
    possible = P[P > 0]
    return -(possible * numpy.log(possible)).sum()
