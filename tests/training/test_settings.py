"""The settings of a run: what they refuse, and the learning rate's course."""

import math

import numpy
import pytest

from minimapnet import InputError
from minimapnet.training.settings import TrainSettings, learning_rate


def test_the_learning_rate_rises_and_falls_in_straight_lines():
    rates = [learning_rate(step, 10, 2.0, 4) for step in range(10)]
    numpy.testing.assert_allclose(rates, [0.5, 1.0, 1.5, 2.0, 2.0, 10 / 6, 8 / 6, 1.0, 4 / 6, 2 / 6])
    assert [learning_rate(step, 3, 3.0, 0) for step in range(3)] == [3.0, 2.0, 1.0]
    assert learning_rate(0, 1, 1.0, 1) == 1.0


def test_the_schedules_share_their_warm_up():
    linear, constant = (TrainSettings(steps=10, warmup_ratio=0.35, schedule=name) for name in ("linear", "constant"))
    numpy.testing.assert_allclose(
        [linear.lr_scale(step) for step in range(10)], [1 / 4, 2 / 4, 3 / 4, 1, *numpy.arange(6, 0, -1) / 6]
    )
    assert [constant.lr_scale(step) for step in range(10)] == [1 / 4, 2 / 4, 3 / 4, *[1.0] * 7]
    assert TrainSettings(warmup_ratio=0, schedule="constant").lr_scale(0) == 1.0


@pytest.mark.parametrize("schedule", ["linear", "constant"])
@pytest.mark.parametrize("share", [0, 0.1, 1])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_no_step_is_lost_to_a_learning_rate_of_zero(schedule, share, steps):
    scales = [TrainSettings(steps=steps, warmup_ratio=share, schedule=schedule).lr_scale(step) for step in range(steps)]
    assert min(scales) > 0
    assert max(scales) == 1.0


WRONG = {
    "steps must be a whole number of at least 1, not 0": {"steps": 0},
    "steps must be a whole number of at least 1, not 2.0": {"steps": 2.0},
    "batch_size must be a whole number of at least 1, not True": {"batch_size": True},
    "gradient_accumulation must be a whole number of at least 1, not 0": {"gradient_accumulation": 0},
    "log_every must be a whole number of at least 1, not 0": {"log_every": 0},
    "checkpoint_every must be a whole number of at least 0, not -1": {"checkpoint_every": -1},
    "seed must be a whole number of at least 0, not '1'": {"seed": "1"},
    "learning_rate must be a number above 0, not 0": {"learning_rate": 0},
    "learning_rate must be a number above 0, not nan": {"learning_rate": math.nan},
    "max_grad_norm must be a number above 0, not -1": {"max_grad_norm": -1},
    "max_minutes must be a number above 0, not 0": {"max_minutes": 0},
    "weight_decay must be a number of at least 0, not -0.1": {"weight_decay": -0.1},
    "warmup_ratio must be a number from 0 to 1, not 1.5": {"warmup_ratio": 1.5},
    "schedule must be one of linear, constant, not 'cosine'": {"schedule": "cosine"},
}


@pytest.mark.parametrize(("message", "changes"), WRONG.items())
def test_settings_out_of_range_are_refused(message, changes):
    with pytest.raises(InputError) as error:
        TrainSettings(**changes)
    assert str(error.value) == message
