"""The proposals that are biased for the uniform objective: that they are, and by how much where that is documented."""

import numpy
import pytest

from minimapnet.masks.conditional_bernoulli import ConditionalBernoulli
from minimapnet.proposals import PositionProposal, SpanProposal, UniformProposal, WholeWordProposal
from minimapnet.proposals.importance import horvitz_thompson, inclusion_of
from tests.helpers import proposal_checks as checks
from tests.helpers.mask_checks import chi_square
from tests.helpers.proposal_checks import IDS

CONTINUES = numpy.arange(11) % 3 == 0
PAIRS = checks.list_masks(numpy.ones((1, 5), bool), (2,))
narrow = checks.fixed_position_scores(numpy.array([1.0, 1.2, 1.5, 2.0]))


def test_whole_words_are_biased():
    """Two words of two tokens: of the six masks two occur."""
    model, ids = checks.model(), numpy.array([[4, 3, 5, 6]])
    drawn = WholeWordProposal(2, CONTINUES).draw(model, numpy.repeat(ids, 200, axis=0), numpy.random.default_rng(1))
    assert set(map(tuple, drawn.positions)) == {(0, 1), (2, 3)}
    masks = checks.list_masks(ids > 0, (2,))
    words = numpy.isin(numpy.arange(6), (0, 5))[:, None] / 2
    found = checks.gradient_sum(model, ids, masks, checks.per_mask(words, masks))
    expected = checks.gradient_sum(model, ids, masks, checks.per_mask(checks.uniform(masks), masks))
    assert numpy.abs(found - expected).max() > 0.01 * numpy.abs(expected).max()
    assert not WholeWordProposal.unbiased


def test_spans_are_biased():
    ids, uniform = numpy.zeros((4000, 5), int), {tuple(mask): 0.1 for mask in PAIRS[:, 0]}
    assert chi_square(UniformProposal(2).draw(None, ids, numpy.random.default_rng(1)).positions, uniform) > 1e-3
    assert chi_square(SpanProposal(2).draw(None, ids, numpy.random.default_rng(1)).positions, uniform) < 1e-12
    assert not SpanProposal.unbiased


def position_bias(model, ids, masks, q, inclusion):
    """Return what horvitz_thompson's weights are off by, and what the formula says -> two vectors.

    The formula: (1/n) sum_i (E_q[g_i(M) | i in M] - E_p[g_i(M) | i in M]), where the conditional probability of each mask
    with i is its own over the sum of those that hold i.
    """
    everywhere = numpy.ones(ids.shape, bool)
    p, n = checks.uniform(masks), ids.shape[1]
    weighted = q[:, :, None] * horvitz_thompson(masks, inclusion, everywhere)
    uniform = checks.gradient_sum(model, ids, masks, checks.per_mask(p, masks))
    found = checks.gradient_sum(model, ids, masks, weighted) - uniform

    formula = 0.0
    for i in range(n):
        holds = masks == i  # (S, 1, K)
        for sign, table in ((1, q), (-1, p)):
            given_i = table / table[holds.any(axis=-1)].sum()
            formula = formula + sign / n * checks.gradient_sum(model, ids, masks, holds * given_i[:, :, None])
    return found, formula, uniform


@pytest.mark.parametrize(
    ("design", "k", "biased"),
    [
        ("systematic", 1, False),
        ("systematic", 2, True),
        ("systematic", 3, True),
        ("systematic", 4, False),  # all four positions
        ("conditional Bernoulli", 1, False),
        ("conditional Bernoulli", 2, True),
        ("conditional Bernoulli", 3, True),
    ],
)
def test_position_weights_have_the_bias_that_is_documented(design, k, biased):
    model, ids, proposal = checks.model(), IDS[:1, :4], PositionProposal(k, narrow, 0.2)
    everywhere = numpy.ones(ids.shape, bool)
    masks = checks.list_masks(everywhere, (k,))
    drawn_from = checks.distribution_of(proposal, model, ids, everywhere)
    inclusion = drawn_from.inclusion_probabilities()
    if design == "systematic":
        q = checks.systematic_table(drawn_from, masks)
    else:
        q = numpy.exp(ConditionalBernoulli.from_inclusion_probabilities(inclusion).log_prob(masks))
    found, formula, uniform = position_bias(model, ids, masks, q, inclusion)
    numpy.testing.assert_allclose(found, formula, rtol=0, atol=1e-10 * numpy.abs(uniform).max())
    assert (numpy.abs(found).max() > 1e-3 * numpy.abs(uniform).max()) == biased
    assert not proposal.unbiased


def test_equal_scores_leave_no_bias():
    """Shuffled systematic masks with equal inclusion probabilities are uniform."""
    masks = checks.list_masks(numpy.ones((1, 5), bool), (2,))
    flat = PositionProposal(2, checks.fixed_position_scores(numpy.ones(5)))
    drawn_from = flat.distribution(numpy.ones((1, 5)), numpy.ones((1, 5), bool))
    numpy.testing.assert_allclose(checks.systematic_table(drawn_from, masks), 0.1, rtol=1e-9)


def test_positions_are_drawn_as_their_weights_assume():
    proposal = PositionProposal(2, narrow)
    drawn = proposal.draw(None, numpy.zeros((5000, 4), int), numpy.random.default_rng(3))
    everywhere = numpy.ones((1, 4), bool)
    drawn_from = checks.distribution_of(proposal, None, numpy.zeros((1, 4), int), everywhere)
    masks = checks.list_masks(everywhere, (2,))
    table = checks.systematic_table(drawn_from, masks)
    assert chi_square(drawn.positions, {tuple(m): q for m, q in zip(masks[:, 0], table[:, 0], strict=True)}) > 1e-3
    numpy.testing.assert_allclose(
        drawn.weights, 1 / (4 * drawn_from.inclusion_probabilities()[0][drawn.positions]), rtol=1e-12
    )


def test_inclusion_is_proportional_to_scores_and_at_most_1():
    given = numpy.array([[8.0, 1.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    maskable = numpy.array([[True, True, True, True, False], [True] * 5])
    found = inclusion_of(given, numpy.array([3, 2]), maskable, 0.0)
    numpy.testing.assert_allclose(found, [[1, 0.5, 1, 0.5, 0], [0.4] * 5], rtol=1e-12)  # 2 shares of 2 would be above 1 too
    mixed = inclusion_of(given, numpy.array([1, 1]), maskable, 0.5)
    numpy.testing.assert_allclose(mixed[0], [1 / 3 + 1 / 8, 1 / 24 + 1 / 8, 1 / 12 + 1 / 8, 1 / 24 + 1 / 8, 0], rtol=1e-12)
    numpy.testing.assert_array_equal(inclusion_of(given, numpy.array([4, 5]), maskable, 0.0), maskable)
