"""What is said of MAPNet's predictions: by hand, and at the two ends."""

import numpy
import pytest

from minimapnet import InputError
from minimapnet.mapnet.quality import position_probabilities, quality, second_moments, share_won

MASKABLE = numpy.array([[True, True, True, False], [True, True, False, False]])
NORMS = numpy.array([[1.0, 2.0, 6.0, 99.0], [4.0, 1.0, 99.0, 99.0]])


def test_exact_predictions_win_everything():
    found = quality(NORMS, numpy.log(NORMS) - 3, MASKABLE)
    for name in ("correlation", "correlation_within", "slope", "won"):
        assert getattr(found, name) == pytest.approx(1, rel=1e-12), name
    assert found.intercept == pytest.approx(3, rel=1e-12)
    assert found.error == pytest.approx(0, abs=1e-9) and found.divergence == pytest.approx(0, abs=1e-12)
    assert found.headroom == pytest.approx(1 - (9 + 6.25) / (41 / 3 + 17 / 2), rel=1e-12)


def test_constant_predictions_win_nothing():
    found = quality(NORMS, numpy.zeros((2, 4)), MASKABLE)
    assert (found.correlation, found.correlation_within, found.slope) == (0, 0, 0)
    assert found.won == pytest.approx(0, abs=1e-12)
    assert found.divergence == pytest.approx(found.divergence_of_uniform, rel=1e-12)
    best = [numpy.array([1, 2, 6]) / 9, numpy.array([4, 1]) / 5]
    expected = numpy.mean([(q * numpy.log(q * len(q))).sum() for q in best])
    assert found.divergence_of_uniform == pytest.approx(expected, rel=1e-12)


def test_second_moments_are_what_a_sum_over_masks_gives():
    q = position_probabilities(numpy.array([[0.5, -1.0, 0.2, 7.0], [0.0, 2.0, 7.0, 7.0]]), MASKABLE, 0.3)
    numpy.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-12)
    assert (q[~MASKABLE] == 0).all() and (q[0, :3] > 0.1).all()
    moments = second_moments(numpy.where(MASKABLE, NORMS, 0.0), q, MASKABLE)
    for b, row in enumerate(MASKABLE):
        g, own, n = NORMS[b, row], q[b, row], row.sum()
        weights = 1 / (n * own)
        by_hand = [(own * (weights * g) ** 2).sum(), (g * g).mean(), g.mean() ** 2]
        numpy.testing.assert_allclose(moments[b], by_hand, rtol=1e-12)


def test_the_share_is_a_ratio_of_sums_and_may_be_negative():
    assert share_won(numpy.array([[2.0, 4.0, 0.0], [3.0, 3.0, 3.0]])) == 0.5
    assert share_won(numpy.array([[6.0, 4.0, 0.0]])) == -0.5
    assert share_won(numpy.array([[3.0, 3.0, 3.0]])) == 0


def test_a_prediction_half_as_steep():
    f = numpy.log(NORMS) / 2
    found = quality(NORMS, f, MASKABLE)
    assert found.slope == pytest.approx(2, rel=1e-12) and found.correlation == pytest.approx(1, rel=1e-12)
    assert 0 < found.won < 1
    assert quality(NORMS, f, MASKABLE, 1.0).won == pytest.approx(0, abs=1e-12)  # all masks uniform


def test_bad_input():
    with pytest.raises(InputError, match="positive and finite"):
        quality(numpy.zeros((2, 4)), numpy.zeros((2, 4)), MASKABLE)
    with pytest.raises(InputError, match="must be finite"):
        quality(NORMS, numpy.full((2, 4), numpy.nan), MASKABLE)
    with pytest.raises(InputError, match="must be of shape"):
        quality(NORMS[:, :3], numpy.zeros((2, 4)), MASKABLE)
