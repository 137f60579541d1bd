"""Pools against sums over all pools: every ordered list of candidates, and every candidate that may be kept of it."""

import itertools

import numpy
import pytest
from scipy import stats

from minimapnet.proposals import BatchPoolProposal, PoolProposal
from minimapnet.proposals import scores as ready
from minimapnet.proposals.pools import resample_probabilities, systematic_resample
from tests.helpers import proposal_checks as checks
from tests.helpers.mask_checks import chi_square
from tests.helpers.proposal_checks import IDS

MASKS = checks.list_masks(numpy.ones((1, 5), bool), (2,))  # (10, 1, 2)
SIX = checks.list_masks(numpy.ones((1, 4), bool), (2,))  # (6, 1, 2)
WILD = 10.0 ** numpy.random.default_rng(2).uniform(-3, 3, 10)
SCORES = {
    "exact norm": ready.exact_norm,
    "norm from tokens": ready.norm_from_tokens,
    "output bound": ready.output_bound,
    "loss": ready.mean_loss,
    "wild": checks.fixed_mask_scores(MASKS, WILD),
}


def pools(count, m):
    """List all ordered lists of m of the candidates, which uniform draws give with equal probabilities -> (count^m, m)."""
    return numpy.array(list(itertools.product(range(count), repeat=m)))


def kept_weight(scores, m):
    """Sum over all pools: return the probability that each mask is kept, and its expected weight -> (S,), (S,)."""
    listed = pools(len(scores), m)
    probabilities, weights = resample_probabilities(scores[listed])
    numpy.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    kept = numpy.bincount(listed.ravel(), probabilities.ravel()) / len(listed)
    return kept, numpy.bincount(listed.ravel(), (probabilities * weights).ravel()) / len(listed)


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_all_pools_of_a_sentence_give_the_uniform_expectation(score, m):
    model, ids = checks.model(), IDS[:1, :5]
    found = checks.host_scores(score, model, ids, MASKS)
    assert found.max() > 1.01 * found.min()
    _, expected = kept_weight(found, m)
    numpy.testing.assert_allclose(expected, 0.1, rtol=1e-12)
    gradient = checks.gradient_sum(model, ids, MASKS, checks.per_mask(expected[:, None], MASKS))
    uniform = checks.gradient_sum(model, ids, MASKS, checks.per_mask(checks.uniform(MASKS), MASKS))
    checks.assert_same_gradient(gradient, uniform)
    assert PoolProposal.unbiased


def test_the_second_moment_falls_towards_the_least():
    """By the exact norms: E[w^2 |g|^2] over all pools, which no pool can bring below (E |g|)^2."""
    norms = checks.host_scores(ready.exact_norm, checks.model(), IDS[:1, :5], MASKS)
    moments = []
    for m in range(1, 6):
        listed = pools(10, m)
        probabilities, weights = resample_probabilities(norms[listed])
        moments.append((probabilities * (weights * norms[listed]) ** 2).sum(axis=1).mean())
    assert moments[0] == pytest.approx((norms**2).mean(), rel=1e-12)
    assert (numpy.diff(moments) < 0).all() and moments[-1] > norms.mean() ** 2
    assert moments[-1] - norms.mean() ** 2 < 0.25 * norms.var()  # m = 5 leaves a fifth of the headroom


def test_a_pool_draws_what_the_sum_counts():
    score = checks.fixed_mask_scores(MASKS, WILD ** (1 / 3))
    drawn = PoolProposal(2, score, 3).draw(None, numpy.zeros((6000, 5), int), numpy.random.default_rng(5))
    kept, _ = kept_weight(WILD ** (1 / 3), 3)
    assert chi_square(drawn.positions, {tuple(mask): one for mask, one in zip(MASKS[:, 0], kept, strict=True)}) > 1e-3


def test_the_one_kept_has_its_weight():
    """From the candidates of the same generator: the mean of their scores over that of the one kept."""
    score = checks.fixed_mask_scores(MASKS, WILD)
    seen = []

    def watched(model, ids, positions, attention_mask):
        seen.append(score(model, ids, positions, attention_mask).reshape(30, 4))
        return seen[-1].ravel()

    drawn = PoolProposal(2, ready.MaskScore(watched), 4).draw(None, numpy.zeros((30, 5), int), numpy.random.default_rng(5))
    own = score(None, None, drawn.positions, None)
    assert (seen[0] == own[:, None]).any(axis=1).all()
    numpy.testing.assert_allclose(
        drawn.weights, numpy.repeat((seen[0].mean(axis=1) / own)[:, None] / 2, 2, axis=1), rtol=1e-12
    )
    tau = numpy.sqrt(((seen[0] ** 2).mean(axis=1) / seen[0].mean(axis=1) ** 2).mean())
    assert drawn.diagnostics["tau"] == pytest.approx(tau, rel=1e-12)


# Across a batch


def resample_counts(probabilities, N):
    """Integrate over the offset: give how often each candidate is hit on average (M,), and the least and the most."""
    edges = numpy.unique([0, 1, *(N * numpy.cumsum(probabilities) % 1)])
    hits = [
        numpy.bincount(systematic_resample(probabilities, middle, N), minlength=len(probabilities))
        for middle in (edges[1:] + edges[:-1]) / 2
    ]
    return numpy.diff(edges) @ numpy.array(hits), numpy.min(hits, axis=0), numpy.max(hits, axis=0)


@pytest.mark.parametrize("N", [1, 3, 8])
def test_systematic_resampling_is_in_proportion(N):
    probabilities = numpy.random.default_rng(N).dirichlet(numpy.ones(5))
    mean, least, most = resample_counts(probabilities, N)
    numpy.testing.assert_allclose(mean, N * probabilities, rtol=1e-9)
    assert (least >= numpy.floor(N * probabilities)).all() and (most <= numpy.ceil(N * probabilities)).all()
    assert least.sum() <= N <= most.sum()


@pytest.mark.parametrize(("m", "N"), [(1, 1), (1, 3), (2, 3)])
def test_all_pools_of_a_batch_give_the_uniform_expectation(m, N):
    """Two sentences of four tokens, six masks each; the scores are the exact norms."""
    model, ids = checks.model(), IDS[:2, :4]
    norms = numpy.stack([checks.host_scores(ready.exact_norm, model, ids[b : b + 1], SIX) for b in (0, 1)])  # (B, S)
    expected = numpy.zeros((2, 6))
    sentence = numpy.repeat([0, 1], m)
    for drawn in pools(6, 2 * m):  # m masks of the first sentence, then of the second
        probabilities, weights = resample_probabilities(norms[sentence, drawn])
        numpy.add.at(expected, (sentence, drawn), resample_counts(probabilities, N)[0] * weights / N / 6 ** (2 * m))
    numpy.testing.assert_allclose(expected, 1 / 12, rtol=1e-9)
    both = numpy.repeat(SIX, 2, axis=1)  # (S, B, K)
    gradient = checks.gradient_sum(model, ids, both, 2 * checks.per_mask(expected.T, both))  # the 1/B is in it already
    checks.assert_same_gradient(gradient, checks.gradient_sum(model, ids, both, checks.per_mask(checks.uniform(both), both)))
    assert BatchPoolProposal.unbiased


def test_pairs_kept_of_a_batch_have_the_uniform_expectation():
    """Many draws of 12 from 3 masks each of 20 sentences, of two kinds: kind 1 has scores five times as large."""
    table = checks.fixed_mask_scores(MASKS, WILD ** (1 / 4))
    ids = numpy.repeat([[0], [1]], 10, axis=0).repeat(5, axis=1)

    def score(model, rows, positions, attention_mask):
        return table(model, rows, positions, attention_mask) * (1 + 4 * rows[:, 0])

    proposal, samples, shares = BatchPoolProposal(2, ready.MaskScore(score), 12, 3), [], []
    for seed in range(1500):
        drawn = proposal.draw(None, ids, numpy.random.default_rng(seed))
        counted = checks.indicators_of(drawn, MASKS) * checks.importance_of(drawn)[:, None] / 12  # (N, S)
        samples.append([counted[drawn.ids[:, 0] == kind].sum(axis=0) for kind in (0, 1)])
        shares.append((drawn.ids[:, 0] == 1).mean())
    checks.assert_mean_is(numpy.reshape(samples, (1500, 20)), 1 / 20)
    assert 0.78 < numpy.mean(shares) < 0.88  # 5 of 6


def test_the_offset_of_resampling_is_drawn():
    """Every position is masked, so the candidates are always the same three: each is kept in proportion to its score."""
    proposal = BatchPoolProposal(2, ready.MaskScore(lambda model, rows, positions, attention_mask: 1.0 + rows[:, 0]), 1)
    ids = numpy.array([[0, 0], [1, 1], [2, 2]])
    kept = [proposal.draw(None, ids, numpy.random.default_rng(seed)).ids[0, 0] for seed in range(1200)]
    assert stats.chisquare(numpy.bincount(kept), [200, 400, 600]).pvalue > 1e-3


def test_rows_kept_come_with_their_sentences():
    ids, tokens = numpy.arange(12).reshape(3, 4), numpy.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    seen = []

    def score(model, rows, positions, attention_mask):
        seen.append((rows, positions, attention_mask))
        return 1.0 + rows[:, 0]

    drawn = BatchPoolProposal(2, ready.MaskScore(score), 7, 5).draw(None, ids, numpy.random.default_rng(1), None, tokens)
    rows, positions, mask = seen[0]
    for name, array in (("ids", rows), ("positions", positions), ("attention_mask", mask)):
        assert len(array) == 15 and len(getattr(drawn, name)) == 7, name
    candidates = {(tuple(a), tuple(b), tuple(c)) for a, b, c in zip(rows, positions, mask, strict=True)}
    for kept in zip(drawn.ids, drawn.positions, drawn.attention_mask, strict=True):
        assert tuple(map(tuple, kept)) in candidates
    scores = 1.0 + rows[:, 0]
    numpy.testing.assert_allclose(checks.importance_of(drawn), scores.mean() / (1 + drawn.ids[:, 0]), rtol=1e-12)
    assert drawn.diagnostics["tau"] == pytest.approx(numpy.sqrt((scores**2).mean()) / scores.mean(), rel=1e-12)
