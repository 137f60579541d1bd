"""Solutions to the exercises of step 5, Noise.

Axis letters: N draws, P parameters, D documents, S sentences of each, M masks of each sentence.
"""

import math


def signal(vectors) -> float:
    """Estimate |E g|^2 from independent draws (N, P), without bias.

    The mean's square is |E g|^2 + Var g / N on average, so the sample variance over N is taken off. Multiplied out, that is
    the mean of g_a . g_b over all pairs of different draws.
    """
    N = len(vectors)
    mean = vectors.mean(axis=0)  # (P,)
    sample_variance = ((vectors - mean) ** 2).sum() / (N - 1)
    return float(mean @ mean - sample_variance / N)


def best_masks(data: float, mask: float, sentence_cost: float, row_cost: float) -> int:
    """Return the number R >= 1 of masks a sentence for which variance times cost is least.

    With the cost c given, N = c / (sentence_cost + R row_cost), and the variance is (data + mask / R) / N. So what must be
    least is (data + mask / R)(sentence_cost + R row_cost) = constant + R data row_cost + mask sentence_cost / R: a term
    that grows and one that falls, equal at R^2 = mask sentence_cost / (data row_cost). That is a convex function of R, so
    the best whole number is a neighbour.
    """

    def product(R):
        return (data + mask / R) * (sentence_cost + R * row_cost)

    below = max(1, math.floor(math.sqrt(mask * sentence_cost / (data * row_cost))))
    return min(below, below + 1, key=product)


def three_sources(vectors) -> tuple[float, float, float]:
    """Return the variances from documents, sentences and masks of all gradients (D, S, M, P), which are equally likely.

    First the whole document's random choice, sentence and mask together, takes the place of the mask in the theorem; then
    the theorem is used within each document.
    """
    of_sentence = vectors.mean(axis=2)  # (D, S, P)
    of_document = of_sentence.mean(axis=1)  # (D, P)

    def mean_square(deviations):
        return float((deviations**2).sum(axis=-1).mean())

    return (
        mean_square(of_document - of_document.mean(axis=0)),
        mean_square(of_sentence - of_document[:, None]),
        mean_square(vectors - of_sentence[:, :, None]),
    )
