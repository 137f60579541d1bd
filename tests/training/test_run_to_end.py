"""Runs of an experiment are whole, or there is no result."""

import os
import signal

import pytest

from minimapnet.training.trainer import run_to_end
from tests.helpers import training_cases as cases


def test_a_run_that_ends_gives_its_records():
    assert cases.without_time(run_to_end(cases.trainer())) == cases.without_time(cases.trainer().run())


def test_a_signal_is_not_lost_on_a_run():
    trainer = cases.trainer(options={"on_step": lambda run: run.step == 4 and os.kill(os.getpid(), signal.SIGINT)})
    with pytest.raises(KeyboardInterrupt):
        run_to_end(trainer)
    assert trainer.step == 4


def test_sigterm_reaches_the_handler_that_was_there_before():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        run_to_end(cases.trainer(options={"on_step": lambda run: run.step == 4 and os.kill(os.getpid(), signal.SIGTERM)}))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
