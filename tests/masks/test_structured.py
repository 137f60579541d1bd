"""Systematic, fully explored, whole-word and span masks, against exact tables of what their procedures can give."""

import collections
import itertools
import math

import numpy
import pytest

from minimapnet.errors import InputError
from minimapnet.masks import (
    ConditionalBernoulli,
    FullyExploredMasks,
    SpanMasks,
    SystematicMasks,
    UniformMasks,
    WholeWordMasks,
)
from tests.helpers.mask_checks import assert_frequencies, chi_square, table

MASKABLE = numpy.array([[1] * 8, [0, 1, 1, 0, 1, 1, 1, 0]], bool)


def test_systematic_masks_keep_their_inclusion_probabilities():
    inclusion = numpy.array([[0.9, 0.1, 0.5, 0.5, 0.2, 0.3, 0.25, 0.25], [0, 0.6, 0.6, 0, 0.6, 1.0, 0.2, 0]])
    distribution = SystematicMasks(inclusion, MASKABLE)
    positions = distribution.sample(numpy.random.default_rng(0), 20_000)
    assert ((positions >= 0).sum(axis=-1) == 3).all()
    numpy.testing.assert_allclose(distribution.inclusion_probabilities(), inclusion, atol=1e-11)
    for b in range(2):
        assert_frequencies(positions[:, b], inclusion[b])
    assert (positions[:, 1] == 5).any(axis=-1).all()  # its inclusion probability is 1


def test_systematic_masks_of_equal_probabilities_are_uniform():
    """Only because the order is shuffled: in the order of the sentence just {0, 3}, {1, 4} and {2, 5} would occur."""
    positions = SystematicMasks(numpy.full(6, 1 / 3)).sample(numpy.random.default_rng(1), 20_000)
    assert chi_square(positions[:, 0], table(UniformMasks(6, 2))[:, 0]) > 1e-3


def test_systematic_masks_are_complete_despite_rounding():
    rng = numpy.random.default_rng(2)
    inclusion = ConditionalBernoulli(rng.normal(size=(40, 301)) * 4, 19).inclusion_probabilities()
    assert (SystematicMasks(inclusion).sample(rng, 200) >= 0).all()


def test_systematic_masks_have_no_probability_and_say_so():
    with pytest.raises(InputError, match=r"position weights 1/\(n pi\), or ConditionalBernoulli"):
        SystematicMasks([0.5, 0.5]).log_prob(numpy.array([[0]]))


@pytest.mark.parametrize(
    ("inclusion", "message"), [([0.5, 0.6], "whole number k"), ([0.0, 1.0], "above 0"), ([1.5, 0.5], "1.5")]
)
def test_systematic_masks_refuse_bad_probabilities(inclusion, message):
    with pytest.raises(InputError, match=message):
        SystematicMasks(inclusion)


def test_fully_explored_masks_partition_each_sentence():
    k = numpy.array([3, 1])
    groups = (2, 5)  # 8 // 3, with 2 positions left over, and 5 // 1
    positions = FullyExploredMasks(MASKABLE, k).sample(numpy.random.default_rng(3), 40)
    for b, count in enumerate(groups):
        for start in range(0, 40, count):
            together = positions[start : start + count, b, : k[b]].ravel()
            assert len(numpy.unique(together)) == count * k[b]
            assert MASKABLE[b, together].all()
    assert (positions[:, 1, 1:] == -1).all()


def test_fully_explored_masks_are_each_uniform():
    distribution = FullyExploredMasks(MASKABLE, [3, 2])
    positions = distribution.sample(numpy.random.default_rng(4), 30_000)  # two masks to a partition, in both sentences
    for b, probabilities in enumerate(table(distribution).T):
        for which in range(2):
            assert chi_square(positions[which::2, b], probabilities) > 1e-3


def test_fully_explored_masks_leave_over_others_each_time():
    positions = FullyExploredMasks(5, 2).sample(numpy.random.default_rng(5), 2000).reshape(1000, 4)
    left = 10 - positions.sum(axis=1)
    assert_frequencies(left[:, None], numpy.full(5, 0.2))


def test_fully_explored_masks_finish_what_was_asked_for():
    distribution = FullyExploredMasks(MASKABLE, [3, 2])
    assert distribution.sample(numpy.random.default_rng(6), 1).shape == (1, 2, 3)
    numpy.testing.assert_array_equal(
        distribution.sample(numpy.random.default_rng(6), 3), distribution.sample(numpy.random.default_rng(6), 4)[:3]
    )


def whole_word_table(words, k):
    """Run BERT's procedure over all orders of the words -> {set of positions: probability}."""
    groups = [frozenset(numpy.flatnonzero(words == word).tolist()) for word in sorted(set(words[words >= 0].tolist()))]
    found = collections.Counter()
    for order in itertools.permutations(groups):
        mask = frozenset()
        for group in order:
            if len(mask) + len(group) <= k:
                mask |= group
        found[mask] += 1 / math.factorial(len(groups))
    return found


def test_whole_word_masks_are_those_of_all_orders():
    words = numpy.array([[-1, 7, 7, 2, 3, 3, 3, 9, 9, -1], [4, 4, 0, 0, 0, 0, 5, -1, 6, 4]])  # 4 is in two pieces
    k = numpy.array([4, 3])
    positions = WholeWordMasks(words, k).sample(numpy.random.default_rng(7), 20_000)
    for b in range(2):
        assert chi_square(positions[:, b], whole_word_table(words[b], k[b])) > 1e-3


@pytest.mark.parametrize(
    ("words", "k", "message"),
    [
        ([0, 0, 0, 1, 1, 1], 2, "every word of sentence 0 is longer than k = 2: raise k to 3 at least"),
        ([-1, -1], 1, "no maskable position"),
        ([0, 1], 3, "between 1 and the 2"),
        ([0.0, 1.0], 1, "words must be whole numbers"),
        ([0, -3], 1, "words must be whole numbers"),
    ],
)
def test_whole_word_masks_refuse_bad_input(words, k, message):
    with pytest.raises(InputError, match=message):
        WholeWordMasks(words, k)


def span_table(maskable, k, p=0.2, longest=10):
    """Follow every sequence of spans to its end -> {set of positions: probability}."""
    share = [p * (1 - p) ** i for i in range(longest)]
    share = [s / sum(share) for s in share]
    open_masks, done = {frozenset(): 1.0}, collections.Counter()
    while open_masks:
        after = collections.Counter()
        for mask, probability in open_masks.items():
            starts = [i for i in range(len(maskable)) if maskable[i] and i not in mask]
            for start, (length, chance) in itertools.product(starts, enumerate(share, 1)):
                longer = set(mask)
                for i in range(start, min(start + length, len(maskable))):
                    if not maskable[i] or len(longer) == k:
                        break
                    longer.add(i)
                after[frozenset(longer)] += probability * chance / len(starts)
        open_masks = {mask: q for mask, q in after.items() if len(mask) < k}
        done.update({mask: q for mask, q in after.items() if len(mask) == k})
    return done


def test_span_masks_are_those_of_all_sequences_of_spans():
    k = numpy.array([5, 2])
    positions = SpanMasks(MASKABLE, k).sample(numpy.random.default_rng(8), 20_000)
    for b in range(2):
        expected = span_table(MASKABLE[b], k[b])
        assert chi_square(positions[:, b], expected) > 1e-3
        assert chi_square(UniformMasks(MASKABLE, k).sample(numpy.random.default_rng(9), 20_000)[:, b], expected) < 1e-3


def test_spans_are_geometric_and_at_most_ten_long():
    """In a sentence so long that spans hardly meet, neighbours belong to one span."""
    positions = SpanMasks(2000, 11).sample(numpy.random.default_rng(10), 2000)[:, 0]
    neighbours = numpy.diff(positions, axis=1) == 1  # (S, 10)
    assert neighbours.mean() == pytest.approx((11 - expected_starts(11)) / 10, abs=0.01)
    assert neighbours.all(axis=1).mean() < 0.005  # 11 in a row: without the limit of 10 it would be 0.8^10 = 0.107


def expected_starts(k, p=0.2, longest=10):
    """Return the mean number of spans that fill k positions, in a sentence so long that they never meet."""
    share = numpy.array([p * (1 - p) ** i for i in range(longest)])
    share /= share.sum()
    starts = [0.0]
    for need in range(1, k + 1):
        starts.append(1 + sum(q * starts[max(need - length, 0)] for length, q in enumerate(share, 1)))
    return starts[k]


@pytest.mark.parametrize("distribution", [SpanMasks(6, 3), WholeWordMasks([0, 0, 1, 2], 2)])
def test_what_has_no_probability_says_so(distribution):
    with pytest.raises(InputError, match="cannot be computed"):
        distribution.log_prob(numpy.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="no closed form"):
        distribution.inclusion_probabilities()


def test_span_masks_refuse_bad_input():
    with pytest.raises(InputError, match="between 1 and the 3"):
        SpanMasks(3, 4)
