"""Solutions to the exercises of step 3, attention. All are for one head: q, k, v (T, D)."""

import numpy


def causal_attention(q, k, v):
    """Return the output (T, D) where token t looks at the tokens 0 to t: later keys get the score minus infinity."""
    T, D = q.shape
    scores = q @ k.T / numpy.sqrt(D)  # (T, T)
    scores[numpy.triu_indices(T, 1)] = -numpy.inf  # s > t; the token itself is always left, so no row is empty
    return _softmax(scores) @ v


def row_backward(dout, q, k, v, place):
    """Go back from the output of the token `place` alone: dout (D,) -> its query's gradient (D,), dk (T, D), dv (T, D).

    Only one row of the weights is ever used, p. dk and dv are outer products, so both have rank 1 (or 0).
    """
    scale = 1 / numpy.sqrt(len(dout))
    p = _softmax(k @ q[place] * scale)  # (T,)
    dp = v @ dout  # (T,)
    ds = scale * p * (dp - p @ dp)  # (T,)
    return ds @ k, numpy.outer(ds, q[place]), numpy.outer(p, dout)


def attention_in_pieces(q, k, v, size):
    """Return the output (T, D), with at most `size` keys and values at a time.

    What has been summed holds factors exp(s - m). With a new largest score m' they should be exp(s - m'), which is
    exp(s - m) exp(m - m'). In the end the common factor exp(-m) cancels in the quotient of the two sums.
    """
    T, D = q.shape
    largest = numpy.full((T, 1), -numpy.inf)
    total, mixed = numpy.zeros((T, 1)), numpy.zeros((T, v.shape[1]))
    for start in range(0, len(k), size):
        piece = slice(start, start + size)
        scores = q @ k[piece].T / numpy.sqrt(D)  # (T, size)
        now_largest = numpy.maximum(largest, scores.max(axis=1, keepdims=True))
        shrink = numpy.exp(largest - now_largest)  # 0 for the first piece, where nothing is summed yet
        powers = numpy.exp(scores - now_largest)
        total = total * shrink + powers.sum(axis=1, keepdims=True)
        mixed = mixed * shrink + powers @ v[piece]
        largest = now_largest
    return mixed / total


def _softmax(scores):
    powers = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
