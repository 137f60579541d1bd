"""What MAPNet learns from: the scores of masks, and three objectives, each a pure function that gives (loss, its gradient).

With f_i = log |g_i| as predicted and token gradients nearly orthogonal, the gradient of the weighted loss of a mask,
sum_i a_i g_i, has the norm

    log S = 1/2 log sum_i a_i^2 exp(2 f_i)              a_i = 1/k for a mask's own loss; at k = 1 it is f_i

A mask is selected among n candidates c, all maskable positions of a sentence or the masks of a pool, by its score:
q(c) = (1 - u) S_c / sum S + u / n, p(c) = 1/n, and w = p/q is its weight. A step yields h = w |g|, the exact norm of
what was selected; h is divided by its running mean H, so that the learning rate has one meaning at every stage of training.

    regression      w/2 (log S - log |g|)^2          f becomes log |g|; by the weight w all masks count as under p
    cross-entropy   -(h / H - 1) log q(selected)     E_q[-h log q] = -sum_c p |g| log q: the cross-entropy of q to q*,
                                                     which is proportional to p |g|
    second moment   -(h^2 / H2 - 1) log q(selected)  the variance itself: E_q[h^2] = sum_c p^2 |g|^2 / q has the gradient
                                                     E_q[-h^2 d log q], by the score function; H2 is the running mean of h^2

The last two have the gradient that they name as their expectation, up to the factors 1/H and 1/H2, where H and H2 come from
the steps before: the 1 that is taken away adds E_q[d log q] = 0. It takes most of the noise away: where q is q*, h hardly
varies. They see the shape of q alone, not the level of f.
Sources: Chen 2020, arXiv 2008.05333 (the variance as the objective); Williams 1992, Machine Learning 8, 229-256 (the score
function and its baseline).

All arrays are on the host, in float64. Axis letters: B sentences, T positions, R masks, K places for masked positions,
G groups of M candidates, N that are selected.
"""

import numpy
from scipy import special


def mask_scores_forward(f: numpy.ndarray, sentences: numpy.ndarray, positions: numpy.ndarray, weights: numpy.ndarray):
    """Return log S of masks: f (B, T), sentences (R,) int, positions and weights (R, K) -> log S (R,) and the cache.

    Positions are padded with -1, where weights are 0; elsewhere they are positive.
    """
    log_norms = f[sentences[:, None], numpy.maximum(positions, 0)]  # (R, K)
    with numpy.errstate(divide="ignore"):
        parts = 2 * (log_norms + numpy.log(numpy.where(positions >= 0, weights, 0.0)))  # (R, K), -inf where padded
    largest = parts.max(axis=1, keepdims=True)  # by hand: SciPy's logsumexp takes a tenth of a small model's step
    shares = numpy.exp(parts - largest)  # (R, K)
    total = shares.sum(axis=1, keepdims=True)
    return (largest + numpy.log(total))[:, 0] / 2, (f.shape, sentences, positions, shares / total)


def mask_scores_backward(dscores: numpy.ndarray, cache) -> numpy.ndarray:
    """The mirror of the above: dlog S (R,) -> df (B, T). The slopes are each position's share of S^2, which add up to 1."""
    shape, sentences, positions, shares = cache
    df = numpy.zeros(shape)
    numpy.add.at(df, (sentences[:, None], numpy.maximum(positions, 0)), dscores[:, None] * shares)
    return df


def regression(log_scores, log_norms, importance) -> tuple[float, numpy.ndarray]:
    """Return the mean of w/2 (log S - log |g|)^2 and its gradient: three times (N,) -> (loss, (N,))."""
    error = log_scores - log_norms
    return float(numpy.mean(importance * error * error) / 2), importance * error / len(error)


def cross_entropy(log_scores, selected, uniform_mix: float, norms, mean: float) -> tuple[float, numpy.ndarray]:
    """Return the mean of -(h/H - 1) log q(selected) and its gradient with respect to log S.

    log_scores (G, M), -inf where there is no candidate; selected (N,) int as places in G*M; norms h (N,); mean H.
    -> (loss, (G, M)).
    """
    return _weighted_log_q(log_scores, selected, uniform_mix, norms / mean - 1)


def second_moment(log_scores, selected, uniform_mix: float, norms, mean_square: float) -> tuple[float, numpy.ndarray]:
    """Return the mean of -(h^2/H2 - 1) log q(selected) and its gradient: as `cross_entropy`, with H2."""
    return _weighted_log_q(log_scores, selected, uniform_mix, norms * norms / mean_square - 1)


def _weighted_log_q(log_scores, selected, uniform_mix, factors):
    """Return -mean of factors (N,) times log q(selected), and its gradient (G, M).

    With s the softmax of log S: d log q(c) / d log S_j = (1 - u) s_c / q(c) (1[c = j] - s_j).
    """
    shares = special.softmax(log_scores, axis=1)  # (G, M)
    q = (1 - uniform_mix) * shares + uniform_mix / numpy.isfinite(log_scores).sum(axis=1, keepdims=True)
    group, N = selected // log_scores.shape[1], len(selected)
    chosen_q, chosen_share = q.reshape(-1)[selected], shares.reshape(-1)[selected]  # (N,)
    slopes = -factors * (1 - uniform_mix) * chosen_share / chosen_q / N  # (N,)
    gradient = numpy.bincount(selected, slopes, log_scores.size).reshape(log_scores.shape)
    gradient -= numpy.bincount(group, slopes, len(log_scores))[:, None] * shares
    return float(-numpy.mean(factors * numpy.log(chosen_q))), gradient
