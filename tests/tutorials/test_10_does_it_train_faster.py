"""The exercises of step 10, does it train faster?"""

import math

import numpy
import pytest

from minimapnet.experiments import curves


@pytest.mark.parametrize("kind", ["constant", "falling", "random"])
def test_expected_losses_are_the_mean_of_many_runs(answers, kind):
    rng = numpy.random.default_rng(0)
    rates = {
        "constant": numpy.full(25, 0.2),
        "falling": 0.3 * (1 - numpy.arange(25) / 25),
        "random": rng.uniform(0.05, 0.5, 25),
    }[kind]
    theta, losses = numpy.full(100_000, -1.5), [0.7 / 2 * 1.5**2]
    for rate in rates:
        theta = theta - rate * (0.7 * theta + math.sqrt(1.3) * rng.normal(size=theta.shape))
        losses.append(0.7 / 2 * (theta**2).mean())
    found = answers.expected_losses(rates, 0.7, 1.3, -1.5)
    assert numpy.shape(found) == (26,)
    assert numpy.allclose(found, losses, rtol=0.02)


def test_expected_losses_end_at_the_floor(answers):
    rate, c, v = 0.1, 2.0, 3.0
    assert numpy.isclose(answers.expected_losses(numpy.full(500, rate), c, v, 5.0)[-1], rate * v / (2 * (2 - rate * c)))


def test_without_noise_the_rates_alone_decide(answers):
    assert numpy.allclose(answers.expected_losses(numpy.array([0.5, 1.0]), 1.0, 0.0, 2.0), [2.0, 0.5, 0.0])


def half_width(deviation, seeds):
    """Return the half width of the package's interval for numbers with exactly this standard deviation."""
    numbers = numpy.random.default_rng(seeds).normal(size=seeds)
    numbers = (numbers - numbers.mean()) / numbers.std(ddof=1) * deviation
    mean, (_, high) = curves.interval(numbers)
    return high - mean


@pytest.mark.parametrize(("deviation", "effect"), [(1.0, 1.0), (0.02, 0.01), (0.02, 0.1), (0.3, 0.05), (5.0, 1e6)])
def test_seeds_are_enough_and_one_less_is_not(answers, deviation, effect):
    seeds = answers.seeds_needed(deviation, effect)
    assert seeds >= 2 and half_width(deviation, seeds) < effect
    assert seeds == 2 or half_width(deviation, seeds - 1) >= effect


def test_only_the_ratio_matters_for_the_seeds(answers):
    assert answers.seeds_needed(0.02, 0.01) == answers.seeds_needed(2.0, 1.0)


@pytest.mark.parametrize("seeds", [3, 6])
def test_one_proposal_gives_a_false_alarm_in_a_twentieth(answers, seeds):
    found = answers.false_alarms(1, seeds, 20_000, numpy.random.default_rng(0))
    assert abs(found - 0.05) < 0.008


def test_false_alarms_are_those_of_the_packages_intervals(answers):
    rng = numpy.random.default_rng(1)
    alarms = 0
    for finals in rng.normal(size=(3000, 5, 4)):
        ends = [curves.interval(proposal - finals[0])[1] for proposal in finals[1:]]
        alarms += any(low > 0 or high < 0 for low, high in ends)
    found = answers.false_alarms(4, 4, 20_000, numpy.random.default_rng(2))
    assert abs(found - alarms / 3000) < 4 * math.sqrt(found * (1 - found) * (1 / 3000 + 1 / 20_000))


def test_more_proposals_give_more_false_alarms(answers):
    one, six = (answers.false_alarms(many, 5, 20_000, numpy.random.default_rng(many)) for many in (1, 6))
    assert 2 * one < six < 1 - 0.95**6
