"""The training loop: the same bits from one seed, micro-batches, what is recorded, and what stops it."""

import math
import os
import signal
import threading

import numpy
import pytest
from tqdm import tqdm

from minimapnet import Bert, InputError, backend, gradients, sequence_gradient_norms
from minimapnet.proposals import BatchPoolProposal, FullyExploredProposal, UniformProposal
from minimapnet.proposals.scores import mean_loss
from minimapnet.training import step as training_step
from minimapnet.training.dry_run import dry_run
from tests.helpers import training_cases as cases


def parameters_of(trainer) -> numpy.ndarray:
    return backend.to_host(trainer.model.flat).copy()


def test_two_runs_with_one_seed_agree_bit_for_bit(xp):
    runs = [cases.trainer(seed=seed, proposal=cases.Learner()) for seed in (1, 1, 2)]
    a, same, other = (cases.without_time(run.run()) for run in runs)
    assert a == same != other
    assert (parameters_of(runs[0]) == parameters_of(runs[1])).all()
    assert (parameters_of(runs[0]) != parameters_of(runs[2])).any()


def test_training_learns():
    """Half of a row repeats the other half: far below the entropy of eight letters, log 8 = 2.08, once that is seen."""
    config = cases.model(hidden_size=32, intermediate_size=64).config
    run = cases.trainer(made=Bert(config, 0, "random"), steps=400, batch_size=16, eval_every=0)
    first, *_, last = run.run()
    assert first["step"] == 0
    assert first["validation_loss"] > 2.0
    assert last["validation_loss"] < 1.5


# Micro-batches

DROPOUT = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.1}


@pytest.mark.parametrize("parts", [2, 3, 6, 9])
@pytest.mark.parametrize("config", [{}, DROPOUT], ids=["plain", "dropout"])
def test_accumulation_equals_the_full_batch(xp, parts, config):
    """Rows have unequal numbers of masked tokens and the weights depend on the norms of all rows before."""
    whole, cut = (
        cases.trainer(made=cases.model("float64", **config), proposal=cases.Learner(0.5), steps=4, gradient_accumulation=n)
        for n in (1, parts)
    )
    for left, right in zip(whole.run(), cut.run(), strict=True):
        assert left.keys() == right.keys()
        for name in left.keys() - {"seconds"}:
            numpy.testing.assert_allclose(right[name], left[name], rtol=1e-8, err_msg=name)
    for (left, _), (right, _) in zip(whole.proposal.told, cut.proposal.told, strict=True):
        numpy.testing.assert_allclose(right, left, rtol=1e-9)
    numpy.testing.assert_allclose(parameters_of(cut), parameters_of(whole), rtol=1e-7, atol=1e-10)


def test_dividing_each_part_by_its_own_count_would_be_seen(monkeypatch):
    real = training_step.gradients_and_norms

    def by_own_count(model, ids, positions, weights, **options):
        return real(model, ids, positions, weights * 6 / len(ids), **options)

    def parameters(parts):
        run = cases.trainer(made=cases.model("float64"), steps=1, gradient_accumulation=parts)
        run.run()
        return parameters_of(run)

    expected = parameters(1)
    monkeypatch.setattr(training_step, "gradients_and_norms", by_own_count)
    monkeypatch.setattr(training_step, "gradients", None)
    assert numpy.abs(parameters(4) - expected).max() > 1e-6


# What is recorded


def test_what_a_record_says(xp):
    run = cases.trainer(made=cases.model("float64"), steps=1, batch_size=5)
    drawn = training_step.draw(run.model, run.text, run.proposal, run.settings, 0)
    batch = (run.model, drawn.ids, drawn.positions, drawn.weights, drawn.attention_mask)
    loss, grads = gradients(*batch)
    norms = backend.to_host(sequence_gradient_norms(*batch))
    before = run.evaluation.loss(run.model)
    start, record = run.run()
    assert start == {"step": 0, "seconds": 0.0, "tokens": 0, "validation_loss": before}
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
    expected = {
        "step": 1,
        "tokens": int(drawn.attention_mask.sum()),
        "loss": loss,
        "learning_rate": 1e-2,
        "gradient_norm": norm,
        "gradient_variance": ((norms**2).mean() - norm**2) / 4,
        "effective_sample_size": 1.0,
        "largest_weight": 1.0,
        "validation_loss": run.evaluation.loss(run.model),
    }
    assert list(record) == ["step", "seconds", *list(expected)[1:]]
    for name, value in expected.items():
        numpy.testing.assert_allclose(record[name], value, rtol=1e-9, err_msg=name)
    assert record["seconds"] > 0


def test_the_variance_is_that_of_the_mean_of_the_rows():
    rows = numpy.random.default_rng(0).standard_normal((7, 5)) + 1
    expected = numpy.cov(rows.T).trace() / 7
    norms, norm = numpy.linalg.norm(rows, axis=1), float(numpy.linalg.norm(rows.mean(axis=0)))
    assert math.isclose(training_step.variance_of_mean(norms, norm), expected, rel_tol=1e-12)


def test_when_a_step_is_recorded_and_when_the_model_is_judged():
    records = cases.trainer(steps=11, log_every=4, eval_every=3).run()
    assert [record["step"] for record in records] == [0, 3, 4, 6, 8, 9, 11]
    assert [record["step"] for record in records if "validation_loss" in record] == [0, 3, 6, 9, 11]
    records = cases.trainer(steps=11, log_every=4, options={"evaluation": None}).run()
    assert [record["step"] for record in records] == [4, 8, 11]
    assert not any("validation_loss" in record for record in records)


def test_norms_are_computed_only_where_they_are_wanted(monkeypatch):
    asked = []
    for name in ("gradients", "gradients_and_norms"):
        real = getattr(training_step, name)
        monkeypatch.setattr(training_step, name, lambda *a, real=real, name=name, **o: asked.append(name) or real(*a, **o))
    cases.trainer(steps=5, log_every=2, options={"evaluation": None}).run()
    assert asked == ["gradients", "gradients_and_norms", "gradients", "gradients_and_norms", "gradients_and_norms"]
    asked.clear()
    cases.trainer(steps=3, proposal=cases.Learner(), options={"evaluation": None}).run()
    assert asked == ["gradients_and_norms"] * 3
    asked.clear()
    seldom = cases.Learner()
    seldom.learn_every = 3
    cases.trainer(steps=7, log_every=100, proposal=seldom, options={"evaluation": None}).run()
    learns, last = {2, 5}, 6  # the last step is recorded
    assert asked == ["gradients_and_norms" if step in {*learns, last} else "gradients" for step in range(7)]
    assert len(seldom.told) == len(learns)


@pytest.mark.parametrize("parts", [1, 4])
def test_a_proposal_that_learns_gets_the_norms_of_all_its_rows(parts):
    learner = cases.Learner(0.3, masks=2)
    run = cases.trainer(made=cases.model("float64"), proposal=learner, steps=1, gradient_accumulation=parts)
    drawn = training_step.draw(run.model, run.text, learner, run.settings, 0)
    expected = sequence_gradient_norms(run.model, drawn.ids, drawn.positions, drawn.weights, drawn.attention_mask)
    record = run.run()[-1]
    ((norms, scale),) = learner.told
    assert type(norms) is numpy.ndarray
    assert norms.dtype == numpy.float64
    assert scale == 1.0
    assert len(norms) == 12  # 6 rows of text, two masks of each
    numpy.testing.assert_allclose(norms, expected, rtol=1e-9)
    assert record["number"] == norms.mean()


@pytest.mark.parametrize(
    "proposal", [FullyExploredProposal(0.2, 3), BatchPoolProposal(1, mean_loss, 4, 2)], ids=["more rows", "fewer rows"]
)
def test_proposals_may_give_rows_of_their_own(proposal):
    records = cases.trainer(proposal=proposal, gradient_accumulation=2).run()
    assert records[-1]["validation_loss"] < records[0]["validation_loss"]


def test_a_single_row_has_no_variance():
    assert "gradient_variance" not in cases.trainer(steps=2, batch_size=1).run()[-1]


def test_every_step_is_told_of_and_moves_the_bar(capsys):
    steps, bar = [], tqdm(total=24, disable=False, mininterval=0)
    for _ in range(2):
        cases.trainer(options={"bar": bar, "on_step": lambda run: steps.append(run.step)}).run()
    assert steps == [*range(1, 13)] * 2
    assert bar.n == 24
    assert "tokens/s, variance" in capsys.readouterr().err


# What stops it


def test_a_loss_that_is_not_finite_stops_the_run():
    run = cases.trainer(steps=8, log_every=1)
    seen = []

    def spoil(trainer):
        if trainer.step == 5:
            seen.append(parameters_of(trainer))
            trainer.model.params["head.decoder.bias"][3] = math.nan
            seen.append(parameters_of(trainer))

    run.on_step = spoil
    with pytest.raises(InputError) as error:
        run.run()
    assert str(error.value) == (
        "training diverged at step 5 (learning rate 0.0043): the loss is nan. "
        "Try a lower learning rate, a longer warm-up or a lower max_grad_norm"
    )
    numpy.testing.assert_array_equal(parameters_of(run), seen[1])
    assert run.optimizer.steps == 5


def test_a_gradient_that_is_not_finite_stops_the_run():
    class Heavy(UniformProposal):
        def draw(self, *arguments):
            drawn = super().draw(*arguments)
            drawn.weights[0] *= 1e30
            return drawn

    with pytest.raises(InputError, match=r"training diverged at step 0 \(learning rate 0.005\): the gradient's norm is inf"):
        cases.trainer(proposal=Heavy(0.3)).run()


def test_too_high_a_learning_rate_is_answered_in_one_line(recwarn):
    with pytest.raises(InputError, match=r"training diverged at step \d+ \(learning rate \d"):
        cases.trainer(learning_rate=1e6, steps=100).run()
    assert not recwarn.list


def test_a_validation_loss_that_is_not_finite_stops_the_run(monkeypatch):
    run = cases.trainer()
    monkeypatch.setattr(run.evaluation, "loss", lambda model: math.inf if run.step else 2.0)
    with pytest.raises(InputError, match=r"diverged at step 6 .*: the validation loss is inf\. Try a lower learning rate"):
        run.run()
    monkeypatch.setattr(run.evaluation, "loss", lambda model: math.nan if run.step == 12 else 2.0)
    with pytest.raises(InputError, match=r"diverged at step 12 \(learning rate 0.001\): the validation loss is nan"):
        run.run()


def test_the_time_budget_stops_after_a_step(monkeypatch):
    clock = iter([1000.0, 1001.0, 1029.0, 1031.0])
    monkeypatch.setattr("minimapnet.training.trainer.time.monotonic", lambda: next(clock))
    run = cases.trainer(max_minutes=0.5)
    run.run()
    assert run.step == 3
    assert run.stopped == "max_minutes"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step(number, capfd):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    run = cases.trainer(options={"on_step": lambda run: run.step == 4 and os.kill(os.getpid(), number)})
    run.run()
    assert run.step == 4
    assert run.stopped == number.name
    assert "stopping after this step; once more stops at once" in capfd.readouterr().err
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_without_a_folder_the_trainer_itself_goes_on():
    expected = cases.trainer().run()
    run = cases.trainer(options={"on_step": lambda run: run.step == 5 and os.kill(os.getpid(), signal.SIGTERM)})
    assert len(run.run()) < len(expected)
    assert cases.without_time(run.run()) == cases.without_time(expected)
    assert run.stopped is None


def test_a_second_signal_stops_at_once():
    def twice(run):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on after the second Ctrl-C")

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        cases.trainer(options={"on_step": twice}).run()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = cases.trainer(options={"on_step": lambda run: os.kill(os.getpid(), signal.SIGINT)})
        run.run()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.stopped is None
    assert run.step == 12


def test_outside_the_main_thread_signals_are_left_alone():
    handlers, run = [], cases.trainer(options={"on_step": lambda run: handlers.append(signal.getsignal(signal.SIGINT))})
    thread = threading.Thread(target=run.run)
    thread.start()
    thread.join()
    assert run.step == 12
    assert set(handlers) == {signal.getsignal(signal.SIGINT)}


def test_a_signal_at_the_last_step_leaves_a_finished_run():
    run = cases.trainer(options={"on_step": lambda run: run.step == 12 and os.kill(os.getpid(), signal.SIGINT)})
    run.run()
    assert run.stopped is None


# What cannot be trained, and what would be


def test_text_and_model_must_fit():
    with pytest.raises(InputError, match="tiny gives 40 rows to train on, fewer than the 41 of a step"):
        cases.trainer(batch_size=41)
    with pytest.raises(InputError, match="the tokenizer has ids for 13 pieces, the model only 12"):
        cases.trainer(made=cases.model(vocab_size=12))
    with pytest.raises(InputError, match="tiny has rows of 8 tokens, the model reads 7"):
        cases.trainer(made=cases.model(max_position_embeddings=7))
    with pytest.raises(InputError, match=r"\[MASK\] is token 4 of tiny, but 1 of the model: read the text with"):
        cases.trainer(made=cases.model(mask_token_id=1))


def test_a_dry_run_leaves_everything_as_it_was(tmp_path):
    expected = cases.trainer(proposal=cases.Learner()).run()
    run = cases.trainer(tmp_path / "run", proposal=cases.Learner())
    found = dry_run(run)
    assert not (tmp_path / "run").exists()
    assert (found.rows, found.parameters) == (6, run.model.flat.size)
    assert found.checkpoint_mib * 2**20 == 3 * run.model.flat.nbytes + 2 * 8
    assert found.total_seconds == 12 * found.step_seconds + 3 * found.evaluation_seconds
    assert f"{run.model.flat.size:,} parameters" in str(found)
    assert cases.without_time(run.run()) == cases.without_time(expected)
