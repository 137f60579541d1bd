"""How well a MAPNet predicts: its f = log |g_i| against the exact norms of held-out sentences, and what q wins by it.

For masks of one position everything is a sum over the n maskable positions of a sentence: with w_i = 1/(n q_i),

    E_q[w^2 |g|^2] = sum_i |g_i|^2 / (n^2 q_i)       uniform: mean |g|^2       least, at q*: (mean |g|)^2

The headroom is uniform - least, and its share won (uniform - E_q) / (uniform - least), each summed over sentences first, as
the variance of a batch is: a sentence of large gradients counts more. It is 1 for q*, 0 for uniform masks, and below 0 for
a proposal that does harm.

Axis letters: B sentences, T positions.
"""

from dataclasses import dataclass

import numpy
from scipy import special

from minimapnet import backend
from minimapnet.masks.base import per_position
from minimapnet.proposals.base import checked_scores, checked_share


@dataclass(frozen=True)
class Quality:
    """What `quality` finds.

    correlation: of f and log |g| over all positions; correlation_within: of their differences from their sentences' means,
    which are what masks of one sentence depend on. slope, intercept: of the line of least squares that gives log |g| from f,
    1 and 0 where f is calibrated (the intercept is in nats, and free where f is known up to a constant); error: the root of
    the mean square of what the line leaves, in nats. divergence: KL(q* || q) in nats, the mean over sentences, and that of
    uniform masks. headroom: of uniform masks' mean second moment, the part that q* takes away; won: the share of that which
    q takes away.
    """

    correlation: float
    correlation_within: float
    slope: float
    intercept: float
    error: float
    divergence: float
    divergence_of_uniform: float
    headroom: float
    won: float


def quality(norms, log_norms, maskable=None, uniform_mix: float = 0.0) -> Quality:
    """Hold f = log_norms (B, T) against exact norms (B, T), as each position masked alone gives them.

    maskable bool (B, T), None for all; uniform_mix is the share u of uniform masks in q = (1 - u) softmax(f) + u / n.

    Raises InputError for norms that are not positive and finite, and f that is not finite, where maskable.
    """
    f, maskable = per_position(backend.to_host(log_norms), maskable, "predicted log norms")
    norms = checked_scores(norms, f.shape, maskable)  # (B, T), 0 where not maskable
    n = maskable.sum(axis=1, keepdims=True)  # (B, 1)
    true = numpy.log(norms, where=maskable, out=numpy.zeros(f.shape))
    f = numpy.where(maskable, f, 0.0)
    within = [(a - a.sum(axis=1, keepdims=True) / n)[maskable] for a in (f, true)]
    slope, intercept, error = _line(f[maskable], true[maskable])
    q = position_probabilities(f, maskable, uniform_mix)
    best = norms / norms.sum(axis=1, keepdims=True)  # (B, T)
    moments = second_moments(norms, q, maskable)
    return Quality(
        correlation=_correlation(f[maskable], true[maskable]),
        correlation_within=_correlation(*within),
        slope=slope,
        intercept=intercept,
        error=error,
        divergence=float(special.rel_entr(best, q).sum(axis=1).mean()),
        divergence_of_uniform=float(special.rel_entr(best, maskable / n).sum(axis=1).mean()),
        headroom=headroom(moments),
        won=share_won(moments),
    )


def position_probabilities(f: numpy.ndarray, maskable: numpy.ndarray, uniform_mix: float) -> numpy.ndarray:
    """Return q = (1 - u) softmax(f) + u / n for f (B, T) -> (B, T), 0 where not maskable."""
    uniform_mix = checked_share(uniform_mix, "the share of uniform masks")
    shares = special.softmax(numpy.where(maskable, f, -numpy.inf), axis=1)
    return maskable * ((1 - uniform_mix) * shares + uniform_mix / maskable.sum(axis=1, keepdims=True))


def second_moments(norms: numpy.ndarray, q: numpy.ndarray, maskable: numpy.ndarray) -> numpy.ndarray:
    """Return by sentence the second moment under q, uniform masks and q*: norms, q (B, T), 0 elsewhere -> (B, 3)."""
    n = maskable.sum(axis=1)
    squares = norms * norms
    under_q = (squares / numpy.where(maskable, q, 1.0)).sum(axis=1) / (n * n)
    return numpy.stack([under_q, squares.sum(axis=1) / n, (norms.sum(axis=1) / n) ** 2], axis=1)


def headroom(moments: numpy.ndarray) -> float:
    """Return the part of uniform masks' second moment that q* takes away, over all sentences: moments (B, 3)."""
    _, even, least = moments.sum(axis=0)
    return float((even - least) / even)


def share_won(moments: numpy.ndarray) -> float:
    """Return the share of the headroom that q wins, 0 where there is none.

    It is a ratio of sums over sentences: moments (B, 3) as `second_moments` gives them.
    """
    under_q, even, least = moments.sum(axis=0)
    return float((even - under_q) / (even - least)) if even > least else 0.0


def _correlation(a: numpy.ndarray, b: numpy.ndarray) -> float:
    """Return Pearson's, 0 where one of them does not vary."""
    a, b = a - a.mean(), b - b.mean()
    scale = numpy.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else 0.0


def _line(f: numpy.ndarray, true: numpy.ndarray) -> tuple[float, float, float]:
    """Return slope, intercept and root mean square error of the line that predicts `true` from f, both (N,)."""
    centred = f - f.mean()
    spread = centred @ centred
    slope = float(centred @ true / spread) if spread > 0 else 0.0
    rest = true - true.mean() - slope * centred
    return slope, float(true.mean() - slope * f.mean()), float(numpy.sqrt(rest @ rest / len(rest)))
