"""95 % intervals from N numbers: what an estimate would have been with each sentence left out in turn.

The plain interval, estimate +- t * jackknife standard error with N - 1 degrees of freedom, covers too seldom where few
sentences make most of the variance, and it errs to one side: a sample without them finds a small variance *and* a small
error. Two old remedies, both from the same N numbers:

1. *A scale without bounds.* A variance cannot be below 0, nor a share outside 0 to 1. The jackknife is done on the logarithm
   of the distance to the bound (between two bounds, on the log-odds), where the error hardly depends on the value, and the
   ends are taken back: such an interval is longer to the far side. Where an estimate, or one with a sentence left out, lies
   beyond the bound, as unbiased ones may, it is done on the plain scale.
2. *Degrees of freedom from the tails* (Satterthwaite's): 2 / (e/N + 2/(N-1)), with e the excess kurtosis of the N numbers.
   That is N - 1 for normal ones, and 2 where one sentence decides.

Sources: Tukey 1958, Annals of Mathematical Statistics 29, 614 (jackknife); Cressie 1981, Biometrics 37, 255-262, and Miller
1974, Biometrika 61, 1-15, section 4 (transformations); Satterthwaite 1946, Biometrics Bulletin 2, 110-114; Joanes and Gill
1998, The Statistician 47, 183-189 (their G2 is e).
"""

import numpy
from scipy import special

CONFIDENCE = 0.95
FARTHEST = 10.0  # half an interval's length in logarithms: beyond a factor of e^10 the plain scale says as much


def standard_errors(leave_one_out: numpy.ndarray) -> numpy.ndarray:
    """Return the jackknife's standard errors (Q,): leave_one_out (N, Q) has the estimates without each sentence."""
    return numpy.sqrt((len(leave_one_out) - 1) * leave_one_out.var(axis=0))


def intervals(values: numpy.ndarray, leave_one_out: numpy.ndarray, low=-numpy.inf, high=numpy.inf) -> numpy.ndarray:
    """Return the ends (2, Q) of the 95 % intervals of estimates.

    values (Q,), and leave_one_out (N, Q) as for `standard_errors`.

    `low` and `high`, numbers or (Q,), are bounds: what is estimated is known to lie between them.
    """
    values, low, high = numpy.broadcast_arrays(values, low, high)
    half = _half(leave_one_out)
    ends = numpy.array([values - half, values + half])  # (2, Q)
    inside = (low < values) & (values < high) & ((low < leave_one_out) & (leave_one_out < high)).all(axis=0)
    inside &= numpy.isfinite(low) | numpy.isfinite(high)
    low, high = low[inside], high[inside]
    middle, half = _scaled(values[inside], low, high), _half(_scaled(leave_one_out[:, inside], low, high))
    found = _back(numpy.array([middle - half, middle + half]), low, high)
    ends[:, inside] = numpy.where(half < FARTHEST, found, ends[:, inside])
    return ends


def _half(leave_one_out):
    return special.stdtrit(degrees_of_freedom(leave_one_out), (1 + CONFIDENCE) / 2) * standard_errors(leave_one_out)


def degrees_of_freedom(values: numpy.ndarray) -> numpy.ndarray:
    """Return the degrees of freedom (Q,) of the variances of values (N, Q), N at least 2.

    They follow from the sample excess kurtosis (see above).
    """
    N, away = len(values), values - values.mean(axis=0)
    square, fourth = (away**2).mean(axis=0), (away**4).mean(axis=0)
    if N < 4:
        return numpy.full(square.shape, N - 1.0)
    kurtosis = numpy.divide(fourth, square**2, out=numpy.ones(square.shape), where=fourth > 0)
    excess = (N - 1) / ((N - 2) * (N - 3)) * ((N + 1) * (kurtosis - 3) + 6)
    return 2 / (numpy.maximum(excess, 0.0) / N + 2 / (N - 1))


def _scaled(x, low, high):
    """Put x, between bounds of which at least one is there, on a line that has none."""
    from_low = numpy.log(x - numpy.where(low > -numpy.inf, low, x - 1))  # log 1 = 0 where there is no bound
    from_high = numpy.log(numpy.where(high < numpy.inf, high, x + 1) - x)
    return from_low - from_high


def _back(y, low, high):
    """Undo `_scaled`."""
    with numpy.errstate(over="ignore", invalid="ignore"):  # in what is not chosen
        above, below, between = low + numpy.exp(y), high - numpy.exp(-y), low + (high - low) * special.expit(y)
    return numpy.where(high == numpy.inf, above, numpy.where(low == -numpy.inf, below, between))
