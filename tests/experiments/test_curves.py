"""Ratios of steps, intervals and verdicts, on curves whose answers are known by hand."""

import math

import numpy
import pytest

from minimapnet.experiments import curves


def line(slope, steps=100, every=10, start=1.0):
    return [(step, start - slope * step) for step in range(0, steps + 1, every)]


def test_a_curve_is_smoothed_over_three_evaluations():
    points = curves.smoothed([(0, 6.0), (10, 3.0), (20, 0.0), (30, 9.0)])
    assert points.tolist() == [[0, 6.0], [10, 4.5], [20, 3.0], [30, 4.0]]
    assert curves.final_loss([(0, 6.0), (10, 3.0), (20, 0.0), (30, 9.0)]) == 4.0


def test_a_crossing_is_found_between_evaluations():
    curve = [(0, 4.0), (10, 4.0), (20, 4.0), (30, 1.0)]  # smoothed: 4, 4, 4, 3
    assert curves.first_reached(curve, 3.25) == pytest.approx(27.5)
    assert curves.first_reached(curve, 4.0) == 0
    assert curves.first_reached(curve, 2.9) is None


def test_twice_the_slope_takes_half_the_steps():
    slow, fast = line(0.001), line(0.002)
    level = curves.final_loss(slow)  # 0.91, at step 90 without smoothing
    assert curves.first_reached(fast, level) == pytest.approx(55)  # smoothing lags by one evaluation
    assert curves.steps_ratio(fast, slow) == pytest.approx((0.55, 0.55))


def test_a_ratio_is_mirrored_where_the_level_is_not_reached():
    slow, fast = line(0.001), line(0.002)
    there, back = curves.steps_ratio(slow, fast), curves.steps_ratio(fast, slow)
    assert there[0] == pytest.approx(1 / back[0])


def test_a_curve_against_itself_has_the_ratio_one():
    rng = numpy.random.default_rng(0)
    curve = [(step, float(loss)) for step, loss in zip(range(0, 210, 10), rng.normal(size=21), strict=True)]
    of_all, of_own = curves.steps_ratio(curve, curve)
    assert of_own == pytest.approx(1.0) and of_all <= 1.0


def test_chance_alone_is_seldom_called_faster():
    """Flat noisy curves cross the baseline's level early, so the ratio to all steps alone would mislead."""
    rng, called, below_one = numpy.random.default_rng(1), 0, 0
    for _ in range(200):
        flat = [
            {
                seed: [(step, float(x)) for step, x in zip(range(0, 210, 10), rng.normal(size=21), strict=True)]
                for seed in range(4)
            }
            for _ in range(2)
        ]
        found = curves.comparison("a", flat[0], "b", flat[1])
        called += found["verdict_steps"] == "faster"
        below_one += found["steps_ratio"]["mean"] < 1
    assert called <= 12  # 2.5 % are expected
    assert below_one > 120


def test_intervals_by_hand():
    mean, ends = curves.interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and ends == pytest.approx([2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)])
    assert curves.interval([5.0]) == (5.0, None)
    mean, ends = curves.geometric_interval([0.5, 2.0])
    assert mean == pytest.approx(1.0) and ends[0] * ends[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "ends, word", [([-2, -1], "better"), ([1, 2], "worse"), ([-1, 1], "no difference found"), (None, "one seed: no verdict")]
)
def test_a_verdict_follows_from_the_interval(ends, word):
    assert curves.sign(ends, 0.0, "better", "worse") == word


def test_a_comparison_of_faster_and_better_curves():
    fast = {seed: line(0.002 + 1e-5 * seed) for seed in range(3)}
    slow = {seed: line(0.001 + 1e-5 * seed) for seed in range(3)}
    found = curves.comparison("fast", fast, "slow", slow)
    assert (found["verdict_loss"], found["verdict_steps"]) == ("better", "faster")
    assert 0.5 < found["steps_ratio"]["mean"] < 0.6
    other = curves.comparison("slow", slow, "fast", fast)
    assert (other["verdict_loss"], other["verdict_steps"]) == ("worse", "slower")
    assert len(found["steps_ratio"]["by_seed"]) == len(found["difference"]["by_seed"]) == 3
