"""The 95 % intervals of the variance decomposition: their formulas, and how often they hold the truth."""

import math

import numpy
import pytest
from scipy import special, stats

from minimapnet import decompose_variance
from minimapnet.proposals import SetProposal
from minimapnet.variance.accumulators import leave_one_out
from minimapnet.variance.jackknife import degrees_of_freedom, intervals, standard_errors
from tests.helpers.variance_population import Population, even_model, exact_share, scores


def without_each(numbers):
    """Return their means with each left out."""
    return (numbers.sum() - numbers) / (len(numbers) - 1)


def interval(value, without, low=-math.inf, high=math.inf):
    """Return one of the intervals as a pair."""
    return tuple(intervals(numpy.array([value]), without[:, None], low, high)[:, 0])


def freedom(numbers):
    return degrees_of_freedom(numbers[:, None])[0]


def standard_error(without):
    return standard_errors(without[:, None])[0]


def test_jackknife_is_the_plain_one():
    rng = numpy.random.default_rng(0)
    a, b = rng.uniform(1, 2, (2, 12))
    columns = {"a": list(a[:, None]), "b": [numpy.array([numpy.nan]), *b[1:, None]]}
    value, without = leave_one_out(columns, lambda m: m["a"] / m["b"])
    expected = [numpy.delete(a, i).mean() / b[1:][numpy.arange(1, 12) != i].mean() for i in range(12)]
    assert value[0] == pytest.approx(a.mean() / b[1:].mean())
    numpy.testing.assert_allclose(without[:, 0], expected, rtol=1e-12)
    assert standard_error(without_each(a)) == pytest.approx(a.std(ddof=1) / numpy.sqrt(12))


def test_without_walls_it_is_students_for_even_numbers():
    numbers = numpy.linspace(-1, 2, 20)  # lighter tails than normal ones
    expected = stats.t.interval(0.95, 19, numbers.mean(), stats.sem(numbers))
    assert interval(numbers.mean(), without_each(numbers)) == pytest.approx(expected)


def test_degrees_of_freedom_follow_the_tails():
    numbers = numpy.random.default_rng(0).lognormal(size=30)
    excess = stats.kurtosis(numbers, bias=False)
    assert excess > 1
    assert freedom(numbers) == pytest.approx(2 / (excess / 30 + 2 / 29))
    assert freedom(without_each(numbers)) == pytest.approx(freedom(numbers))
    assert freedom(numpy.arange(30.0)) == pytest.approx(29)
    assert freedom(numpy.eye(30)[0]) == pytest.approx(2 / (1 + 2 / 29))  # one decides
    assert freedom(numpy.ones(30)) == 29
    assert freedom(numpy.array([0.0, 0.0, 1.0])) == 2


@pytest.mark.parametrize(
    ("low", "high", "scale", "back"),
    [
        (0.0, math.inf, numpy.log, numpy.exp),
        (0.1, math.inf, lambda x: numpy.log(x - 0.1), lambda y: 0.1 + numpy.exp(y)),
        (-math.inf, 1.0, lambda x: -numpy.log(1 - x), lambda y: 1 - numpy.exp(-y)),
        (0.0, 1.0, special.logit, special.expit),
        (-1.0, 3.0, lambda x: special.logit((x + 1) / 4), lambda y: 4 * special.expit(y) - 1),
    ],
)
def test_between_walls_it_is_students_on_a_line_without(low, high, scale, back):
    numbers = numpy.random.default_rng(1).beta(2, 3, 25)
    value, without = numbers.mean(), without_each(numbers)
    half = special.stdtrit(freedom(scale(without)), 0.975) * standard_error(scale(without))
    found = interval(value, without, low, high)
    assert found == pytest.approx((back(scale(value) - half), back(scale(value) + half)))
    assert low < found[0] < value < found[1] < high


def test_beyond_bounds_it_is_the_plain_estimate():
    numbers = numpy.array([5.0, -1, -1, -1, 0.5, 0.2])
    assert numbers.mean() > 0 > without_each(numbers).min()
    assert interval(numbers.mean(), without_each(numbers), low=0.0) == interval(numbers.mean(), without_each(numbers))
    numbers = numpy.array([1.0, *numpy.full(9, 1e-9)])
    assert interval(numbers.mean(), without_each(numbers), low=0.0) == interval(numbers.mean(), without_each(numbers))
    assert interval(0.0, numpy.zeros(5), low=0.0) == (0, 0)
    assert interval(1.0, numpy.ones(5), low=0.0) == (1, 1)


def test_many_at_once_are_each_alone():
    values = numpy.random.default_rng(2).normal(1, 0.5, (15, 4))
    values[:, 0] **= 2
    value, without = values.mean(axis=0), (values.sum(axis=0) - values) / 14
    low, high = numpy.array([0, -math.inf, -9, -math.inf]), numpy.array([math.inf, 9, 9, math.inf])
    found = intervals(value, without, low, high)
    for q in range(4):
        assert tuple(found[:, q]) == pytest.approx(interval(value[q], without[:, q], low[q], high[q]))


POPULATIONS = {
    "even": (lambda: Population(48, 6, 2, even_model()), 32),
    "heavy tails": (lambda: Population(48, 6, 2), 24),  # 6 channels: single sentences with ten times the mean headroom
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_cover_the_truth_as_often_as_they_say(name, monkeypatch):
    """95 % intervals of 150 samples with 4 masks a sentence, drawn and estimated by `decompose_variance` itself."""
    make, sentences = POPULATIONS[name]
    population, proposal = make(), SetProposal(2, scores)
    truth = population.truth()
    unbiased = ("data", "mask", "headroom", "signal", "own mask")  # and the others are ratios
    truth["share_won"] = exact_share(population, proposal)
    truth["ratio"] = 1 - truth["share_won"] * truth["headroom_share"]
    truth["own mask"] = truth["ratio"] * truth["mask"]
    population.lookup(monkeypatch)
    rng, covered, found = numpy.random.default_rng(1), {one: [] for one in truth}, {one: [] for one in truth}
    for repetition in range(150):
        ids = population.ids[rng.integers(len(population.ids), size=sentences)]
        report = decompose_variance(population.model, ids, 2, 4, seed=repetition, proposals={"set": proposal})
        tried = report.proposals["set"]
        own = {"share_won": tried.share_won, "ratio": tried.ratio, "own mask": tried.mask}
        for one, expected in truth.items():
            estimate = own[one] if one in own else getattr(report, one)
            low, high = estimate.interval
            covered[one].append(low <= expected <= high)
            found[one].append(estimate.value)
    for one, expected in truth.items():
        # what a proposal wins where tails are heavy: see `Estimate`
        least = 0.85 if name == "heavy tails" and one in ("share_won", "ratio") else 0.90
        assert least <= numpy.mean(covered[one]) <= 0.99, one
        if one in unbiased:
            error = numpy.std(found[one]) / numpy.sqrt(len(found[one]))
            assert abs(numpy.mean(found[one]) - expected) < 4 * error, one
