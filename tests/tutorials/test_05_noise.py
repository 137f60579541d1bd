"""The exercises of step 5, held against lists of all samples, of all choices, and against the law of total variance."""

import itertools

import numpy
import pytest


@pytest.mark.parametrize("N", [2, 3])
def test_the_signal_is_right_on_average_over_all_samples(answers, N):
    population = numpy.random.default_rng(0).normal(0.3, 1.0, (5, 4))  # 5 equally likely vectors
    found = [answers.signal(population[list(sample)]) for sample in itertools.product(range(5), repeat=N)]
    mean = population.mean(axis=0)
    assert numpy.mean(found) == pytest.approx(mean @ mean, rel=1e-10)


def test_the_signal_of_noise_is_negative_half_the_time(answers):
    rng = numpy.random.default_rng(1)
    found = [answers.signal(rng.normal(0, 1, (4, 50))) for _ in range(400)]
    assert 0.4 < numpy.mean(numpy.array(found) < 0) < 0.6


@pytest.mark.parametrize("seed", range(20))
def test_no_other_number_of_masks_is_better(answers, seed):
    data, mask, sentence_cost, row_cost = numpy.exp(numpy.random.default_rng(seed).normal(0, 1.5, 4))
    R = numpy.arange(1, 2000)
    variances = (data + mask / R) * (sentence_cost + R * row_cost)  # at a cost of 1
    found = answers.best_masks(data, mask, sentence_cost, row_cost)
    assert found == int(found) and 1 <= found < 2000
    assert variances[int(found) - 1] == pytest.approx(variances.min(), rel=1e-12)


def test_a_new_sentence_for_every_row_where_they_cost_nothing(answers):
    assert answers.best_masks(2.0, 30.0, 0.0, 1.0) == 1


def brute_force(vectors):
    """Return the variance of all vectors (..., P), pair by pair: half the mean squared distance of two."""
    rows = vectors.reshape(-1, vectors.shape[-1])
    return float(((rows[:, None] - rows) ** 2).sum(axis=2).mean() / 2)


def test_three_sources_add_up_to_the_whole(answers):
    vectors = numpy.random.default_rng(2).normal(0, 1, (3, 4, 5, 6))
    found = answers.three_sources(vectors)
    assert len(found) == 3 and min(found) > 0
    assert sum(found) == pytest.approx(brute_force(vectors), rel=1e-10)


def test_each_source_is_found_by_itself(answers):
    rng = numpy.random.default_rng(3)
    shapes = [(3, 1, 1, 6), (3, 4, 1, 6), (3, 4, 5, 6)]
    for source, shape in enumerate(shapes):
        effects = rng.normal(0, 1, shape)
        centred = effects - effects.mean(axis=source, keepdims=True)  # so that it adds nothing to the sources above it
        found = answers.three_sources(numpy.broadcast_to(centred, (3, 4, 5, 6)))
        expected = numpy.zeros(3)
        expected[source] = (centred**2).sum(axis=-1).mean()
        numpy.testing.assert_allclose(found, expected, atol=1e-12)
