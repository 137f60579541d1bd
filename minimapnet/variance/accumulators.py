"""The streaming sums of the variance decomposition, and what is estimated from them: pure arithmetic, no model.

Sentence b has the mean gradient m_b of R masks with gradients g_b1 .. g_bR. A few numbers a sentence are all that is kept,
each for the whole and for every group of parameters:

    within   1/(R-1) sum_r |g_br - m_b|^2 = R/(R-1) (mean_r |g_br|^2 - |m_b|^2)      its expectation is Var_M(g | x_b)
    noise    within / R                                                              Var_M(m_b | x_b)
    norms    the sample variance over r of |g_br|                                    Var_M(|g| | x_b)
    square   |m_b|^2
    step     (b-1)/b |m_b - mean of m_1 .. m_(b-1)|^2, from b = 2 on                 Var_x(m)

The mean of the N-1 steps *is* the sample variance of the means, sum_b |m_b - mean|^2 / (N-1): Welford's recursion adds up
exactly these numbers. So the unbiased estimate over all pairs of sentences needs one parameter-sized vector, the sum so far,
and no second pass. Var_x(m) holds the noise of the masks too, and

    data variance   mean step - mean noise              mask variance   mean within
    headroom        mean norms                          |E g|^2         mean square - mean step

are unbiased (the last is the mean of m_b . m_c over all pairs of different sentences).

Everything reported is a function of the means of such numbers, and its error is judged by the jackknife over sentences: the
function with one sentence's numbers left out (`jackknife`). For means of `within` and `norms` that is exact. For a
step it is nearly so: leaving sentence b out of the text would also change the later steps a little. The steps of vectors
that are drawn independently are uncorrelated with equal expectations (they are what Helmert's orthogonal transformation
gives), and to first order a step differs from |m_b - E m|^2, which a sentence contributes to the variance, by noise of zero
mean. Where |E g|^2, or the square of a bias, is small against the noise, its standard error comes out too large, not too
small.

Sources: Welford 1962, Technometrics 4, 419-420; Efron and Stein 1981, The jackknife estimate of variance, Annals of
Statistics 9, 586-596.

Axis letters: N sentences, R masks, P parameters, G groups of parameters, Q the whole and then the groups: 1 + G.
"""

from collections.abc import Callable

import numpy


class RunningSum:
    """The sum of the vectors (P,) seen so far, flat buffers, and from it how far each new one lies from their mean.

    With the sum S of b-1 vectors, |v - S/(b-1)|^2 = |v|^2 - 2 v.S / (b-1) + |S|^2 / (b-1)^2, so a vector costs two products
    and one addition, all while a block of it is in the cache. Like `within`, that is a difference of large numbers: what it
    loses in float32 is some 1e-6 of |v|^2.
    """

    def __init__(self, groups):
        self._groups, self._sum, self._square, self._count = groups, None, None, 0

    def take(self, vector) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Take in a vector -> |vector|^2 and (b-1)/b |vector - mean so far|^2, for the whole and by group: both (Q,).

        The second is NaN for the first vector.
        """

        def add(part):
            new, total = vector[part], self._sum[part]
            found = new @ new, new @ total
            total += new
            return found

        self._count += 1
        b = self._count
        if b == 1:
            self._sum, self._square = vector.copy(), self._groups.squares(vector)
            return whole_and_groups(self._square), numpy.full(1 + len(self._square), numpy.nan)
        square, product = self._groups.totals(add)  # (G,)
        step = ((b - 1) * square - 2 * product + self._square / (b - 1)) / b
        self._square = self._square + 2 * product + square
        return whole_and_groups(square), whole_and_groups(step)


def whole_and_groups(squares: numpy.ndarray) -> numpy.ndarray:
    """Put the sum over groups before them: (G, ...) -> (Q, ...)."""
    return numpy.concatenate([squares.sum(axis=0, keepdims=True), squares])


class VarianceAccumulator:
    """The numbers of every sentence: `columns` {name: list of (Q,)}, to which `add` adds those of one more.

    Those of a proposal are in columns that begin with its name.
    """

    def __init__(self, groups):
        self.groups, self.columns = groups, {}
        self._sums = {}  # what is added up -> RunningSum

    def add(self, mean, squares: numpy.ndarray) -> None:
        """Take in a sentence: its mean gradient (P,), a flat buffer, and |g_r|^2 of each of its masks by group (G, R)."""
        squares, (square, step) = whole_and_groups(squares), self._take("", mean)  # (Q, R), (Q,)
        self._put("within", within(squares, square))
        self._put("noise", self.columns["within"][-1] / squares.shape[1])
        self._put("norms", numpy.sqrt(squares).var(axis=1, ddof=1))
        self._put("square", square)
        self._put("step", step)

    def add_weighted(self, name: str, squares: numpy.ndarray, importance: numpy.ndarray) -> None:
        """Take in what a proposal drew for the latest sentence: |w g|^2 by group (G, R) and the weights w (R,)."""
        self._put(f"{name}/removed", removed(whole_and_groups(squares), importance))

    def add_estimates(self, name: str, mean, squares: numpy.ndarray, rows: int, uniform=None) -> None:
        """Take in a proposal's own estimates of the latest sentence's gradient, of `rows` rows each, in the form of `add`.

        For a biased proposal `uniform` (P,) is the mean gradient that was given to `add`.
        """
        variance = within(whole_and_groups(squares), whole_and_groups(self.groups.squares(mean)))  # (Q,), of one estimate
        self._put(f"{name}/removed", self.columns["within"][-1] - rows * variance)
        if uniform is not None:
            square, step = self._take(name, mean - uniform)
            noise = variance / squares.shape[1] + self.columns["noise"][-1]
            self._put(f"{name}/sentence bias", square - noise)
            self._put(f"{name}/square", square)
            self._put(f"{name}/step", step)

    def _take(self, name, vector):
        return self._sums.setdefault(name, RunningSum(self.groups)).take(vector)

    def _put(self, column, values):
        self.columns.setdefault(column, []).append(values)


def within(squares: numpy.ndarray, square: numpy.ndarray) -> numpy.ndarray:
    """Return the sample variance of R vectors from their squared norms (Q, R) and that of their mean (Q,) -> (Q,)."""
    R = squares.shape[1]
    return R / (R - 1) * (squares.mean(axis=1) - square)


def removed(squares: numpy.ndarray, importance: numpy.ndarray) -> numpy.ndarray:
    """Estimate what a proposal removes, E_p |g|^2 - E_q |h|^2 with h = w g, from its own draws: unbiased, (Q,).

    squares (Q, R) are the squared norms |h|^2 of R independent draws M ~ q, importance (R,) their weights w = p/q.

    E_q[w f] = E_p[f] for every f, so E_p |g|^2 = E_q[w |g|^2] = E_q[|h|^2 / w], and the difference is E_q[|h|^2 (1/w - 1)].
    Added to it is a (w - 1), whose expectation is 0 for every a that does not depend on the draw. With a = the mean |h|^2 of
    the other draws nearly all noise cancels near q*: there |h| hardly varies, and (1/w - 1) + (w - 1) = (1 - w)^2 / w.
    """
    others = (squares.sum(axis=1, keepdims=True) - squares) / (squares.shape[1] - 1)  # (Q, R)
    return (squares * (1 / importance - 1) + others * (importance - 1)).mean(axis=1)


def share(part, whole):
    """Return part / whole elementwise, 0 where the whole is 0: where there is but one mask, nothing varies."""
    part, whole = numpy.broadcast_arrays(part, whole)
    return numpy.divide(part, whole, out=numpy.zeros(whole.shape), where=whole != 0)


def leave_one_out(
    columns: dict[str, list], function: Callable[[dict], numpy.ndarray]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return function(means of the columns) (Q,), and the same with the numbers of each sentence left out in turn (N, Q).

    `columns` {name: N numbers (Q,), NaN where a sentence has none}; `function` takes {name: means (..., Q)} -> (..., Q).
    """
    full, without = {}, {}
    for name, rows in columns.items():
        values = numpy.array(rows)  # (N, Q)
        there = ~numpy.isnan(values)
        values = numpy.where(there, values, 0.0)
        total, count = values.sum(axis=0), there.sum(axis=0)  # (Q,)
        full[name] = total / count
        without[name] = (total - values) / (count - there)  # (N, Q)
    return function(full), function(without)
