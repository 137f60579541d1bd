"""Elementary symmetric polynomials in log space.

e_j(w_1 .. w_n) is the sum over all sets of j of the n weights of their product. Adding a weight w to the list gives
e_j(list and w) = e_j(list) + w e_(j-1)(list): all e_0 .. e_k in O(nk) additions of positive numbers, nothing cancels.
Source: Chen, Dempster and Liu 1994, Biometrika 81, 457-469; Chen and Liu 1997, Statistica Sinica 7, 875-892.

Axis letters: B sentences, T positions, K the largest order.
"""

import numpy


def log_tails(log_weights: numpy.ndarray, K: int) -> numpy.ndarray:
    """Give log e_j of the weights from position t on: log_weights (B, T), -inf for none -> (T+1, B, K+1)."""
    B, T = log_weights.shape
    tails = numpy.full((T + 1, B, K + 1), -numpy.inf)
    tails[:, :, 0] = 0.0  # e_0 = 1, also of no weights at all
    for t in reversed(range(T)):
        with_t = tails[t + 1, :, :-1] + log_weights[:, t, None]  # (B, K)
        numpy.logaddexp(tails[t + 1, :, 1:], with_t, out=tails[t, :, 1:])
    return tails


def log_heads(log_weights: numpy.ndarray, K: int) -> numpy.ndarray:
    """Give log e_j of the weights before position t: log_weights (B, T) -> (T+1, B, K+1)."""
    return log_tails(log_weights[:, ::-1], K)[::-1]


def log_join(left: numpy.ndarray, right: numpy.ndarray, order: numpy.ndarray) -> numpy.ndarray:
    """Give log e_order of two lists taken together, from theirs: both (T, B, K+1), order (B,) -> (T, B).

    e_order(both) = sum_j e_j(left) e_(order - j)(right).
    """
    width = right.shape[-1]
    opposite = order[:, None] - numpy.arange(width)  # (B, K+1)
    none = numpy.full((*right.shape[:-1], 1), -numpy.inf)
    right = numpy.concatenate([right, none], axis=-1)  # (T, B, K+2)
    opposite = numpy.where(opposite < 0, width, opposite)
    right = numpy.take_along_axis(right, numpy.broadcast_to(opposite, left.shape), axis=-1)  # (T, B, K+1)
    return numpy.logaddexp.reduce(left + right, axis=-1)  # (T, B)
