"""The costs of steps: who is timed, how often, and against whom. The clock is ours."""

import time

import pytest

from minimapnet.experiments import timing
from minimapnet.training.proposal_registry import LEARN_EVERY


class Stepper:
    """A trainer whose every `slow`-th step takes ten seconds more than the one that the others take."""

    def __init__(self, clock, slow=None):
        self.clock, self.slow, self.steps = clock, slow, 0

    def make_step(self):
        self.steps += 1
        self.clock[0] += 1 + (10 if self.slow and self.steps % self.slow == 0 else 0)


@pytest.mark.parametrize(("count", "turns"), [(1, 1), (LEARN_EVERY, 1), (LEARN_EVERY + 1, 2), (48, 48 // LEARN_EVERY)])
def test_a_step_that_comes_seldom_counts_by_its_share(monkeypatch, count, turns):
    clock, told = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    trainers = {"plain": Stepper(clock), "seldom": Stepper(clock, LEARN_EVERY)}
    found = timing.in_turns(trainers, count, lambda: told.append(1))
    assert {one.steps for one in trainers.values()} == {(1 + turns) * LEARN_EVERY} == {timing.steps_of(count)}
    assert len(told) == 2 * timing.steps_of(count)
    mean = 1 + 10 / LEARN_EVERY
    assert found["plain"] == {"ms": 1000, "quartiles": [1000, 1000], "ratio": 1}
    assert found["seldom"] == {"ms": 1000 * mean, "quartiles": [1000 * mean] * 2, "ratio": mean}
