"""95 % intervals from N numbers: what an estimate would have been with each sentence left out in turn.

The plain interval, estimate +- t * jackknife standard error with N - 1 degrees of freedom, covers too seldom where few
sentences make most of the variance, and it errs to one side: a sample without them finds a small variance *and* a small
error. Two old remedies, both from the same N numbers:

1. *A scale without walls.* A variance cannot be below 0, nor a share outside 0 to 1. The jackknife is done on the logarithm
   of the distance to the wall (between two walls, on the log-odds), where the error hardly depends on the value, and the
   ends are taken back: such an interval is longer to the far side. Where an estimate, or one with a sentence left out, lies
   beyond the wall, as unbiased ones may, it is done on the plain scale.
2. *Degrees of freedom from the tails* (Satterthwaite's): 2 / (e/N + 2/(N-1)), with e the excess kurtosis of the N numbers.
   That is N - 1 for normal ones, and 2 where one sentence decides.

Sources: Tukey 1958, Annals of Mathematical Statistics 29, 614 (jackknife); Cressie 1981, Biometrics 37, 255-262, and Miller
1974, Biometrika 61, 1-15, section 4 (transformations); Satterthwaite 1946, Biometrics Bulletin 2, 110-114; Joanes and Gill
1998, The Statistician 47, 183-189 (their G2 is e).
"""

import math

import numpy
from scipy import special

CONFIDENCE = 0.95
FARTHEST = 10.0  # half an interval's length in logarithms: beyond a factor of e^10 the plain scale says as much


def standard_error(left_out) -> float:
    """Give the jackknife's standard error of an estimate whose values with one sentence left out are left_out (N,)."""
    return math.sqrt((len(left_out) - 1) * left_out.var())


def interval(value: float, left_out, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """Give the ends of the 95 % interval of an estimate: `value`, and left_out (N,) as for `standard_error`.

    `low` and `high` are walls: what is estimated is known to lie between them.
    """
    if low < value < high and (low < left_out).all() and (left_out < high).all() and (low, high) != (-math.inf, math.inf):
        scaled, half = _scaled(value, low, high), _half(_scaled(left_out, low, high))
        if half < FARTHEST:
            return _back(scaled - half, low, high), _back(scaled + half, low, high)
    half = _half(left_out)
    return value - half, value + half


def _half(left_out) -> float:
    return float(special.stdtrit(freedom(left_out), (1 + CONFIDENCE) / 2)) * standard_error(left_out)


def freedom(values) -> float:
    """Give the degrees of freedom of the variance of `values` (N,), N at least 2, by their sample excess kurtosis."""
    N, away = len(values), values - values.mean()
    square = (away**2).mean()
    if N < 4 or square == 0:
        return N - 1
    excess = (N - 1) / ((N - 2) * (N - 3)) * ((N + 1) * ((away**4).mean() / square**2 - 3) + 6)
    return 2 / (max(excess, 0.0) / N + 2 / (N - 1))


def _scaled(x, low, high):
    """Put x, between the walls, on a line that has none."""
    from_low = numpy.log(x - low) if low > -math.inf else 0.0
    from_high = numpy.log(high - x) if high < math.inf else 0.0
    return from_low - from_high


def _back(y, low, high) -> float:
    if high == math.inf:
        return float(low + math.exp(y))
    if low == -math.inf:
        return float(high - math.exp(-y))
    return float(low + (high - low) / (1 + math.exp(-y)))
