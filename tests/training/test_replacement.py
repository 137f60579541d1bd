"""What the model reads at masked tokens in training: [MASK], or BERT's mixture, with the targets as they were."""

import os
import signal

import numpy
import pytest
from scipy import special

from minimapnet import InputError, backend, gradients, token_losses
from minimapnet.gradient_norms.gradients import gradients_and_norms
from minimapnet.training import proposal_registry
from minimapnet.training.step import draw
from tests.helpers import tiny
from tests.helpers import training_cases as cases
from tests.training.test_resume import assert_same_end

INPUTS = tiny.IDS.copy()
INPUTS[0, 1], INPUTS[0, 4], INPUTS[1, 3], INPUTS[2, 5] = 1, 9, 1, 8  # [MASK], random; as it was, [MASK]; random, as it was


def test_the_loss_is_that_of_a_batch_replaced_by_hand(xp):
    model = tiny.model()
    loss, _ = gradients(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS, inputs=INPUTS)
    logits = backend.to_host(model.logits(INPUTS))
    rows = numpy.arange(len(INPUTS))[:, None]
    log_probabilities = special.log_softmax(logits[rows, tiny.POSITIONS], axis=-1)  # (B, K, V)
    targets = tiny.IDS[rows, tiny.POSITIONS]
    losses = -numpy.take_along_axis(log_probabilities, targets[..., None], -1)[..., 0]
    numpy.testing.assert_allclose(loss, (losses * tiny.WEIGHTS).sum() / len(INPUTS), rtol=1e-10)
    plain, _ = gradients(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS)
    assert abs(plain - loss) > 1e-3


def test_the_gradient_is_that_of_finite_differences(xp):
    model, step = tiny.model(), 1e-6

    def loss():
        return gradients(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS, inputs=INPUTS)[0]

    _, found, norms = gradients_and_norms(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS, inputs=INPUTS)
    before, rng = backend.to_host(model.flat).copy(), numpy.random.default_rng(0)
    for name, gradient in tiny.host(found).items():
        direction = rng.standard_normal(gradient.shape)
        sides = []
        for sign in (1, -1):
            model.params[name] += backend.to_device(sign * step * direction)
            sides.append(loss())
            model.flat[...] = backend.to_device(before)
        numpy.testing.assert_allclose((gradient * direction).sum(), (sides[0] - sides[1]) / (2 * step), atol=1e-6, rtol=1e-5)
    for b in range(len(INPUTS)):
        one = slice(b, b + 1)
        _, alone = gradients(model, tiny.IDS[one], tiny.POSITIONS[one], tiny.WEIGHTS[one], inputs=INPUTS[one])
        square = sum((array * array).sum() for array in tiny.host(alone).values())
        numpy.testing.assert_allclose(float(norms[b]), square**0.5, rtol=1e-9)


def test_all_mask_as_inputs_changes_nothing(xp):
    inputs = tiny.IDS.copy()
    numpy.put_along_axis(inputs, tiny.POSITIONS, 1, axis=1)
    model = tiny.model()
    expected, found = gradients(model, tiny.IDS, tiny.POSITIONS), gradients(model, tiny.IDS, tiny.POSITIONS, inputs=inputs)
    assert expected[0] == found[0]
    for name, array in tiny.host(expected[1]).items():
        numpy.testing.assert_array_equal(array, tiny.host(found[1])[name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (numpy.where(numpy.arange(6) == 2, 3, tiny.IDS), "inputs differ from the ids where no position is masked"),
        (INPUTS[:2], "inputs must be of the ids' shape"),
        (INPUTS + 10, "inputs must lie between 0 and 10"),
        (INPUTS * 1.0, "inputs must be integers"),
    ],
)
def test_inputs_that_cannot_be(inputs, message):
    with pytest.raises(InputError, match=message):
        gradients(tiny.model(), tiny.IDS, tiny.POSITIONS, inputs=inputs)


@pytest.mark.parametrize("name", proposal_registry.KINDS)
def test_every_proposals_masks_are_replaced_and_nothing_else_changes(name):
    text, model, settings = cases.TinyText(), cases.model(), cases.settings()
    parameters = {"mask_rate": 0.5} if "mask_rate" in proposal_registry.KINDS[name].parameters else {}
    if name == "fully-explored":
        parameters["masks"] = 2
    if name == "whole-word":
        pytest.skip("the tiny text's tokenizer knows no words")
    proposal = proposal_registry.make(name, model, tokenizer=text.tokenizer, **parameters)
    for step in range(3):
        plain, mixed = (draw(model, text, proposal, settings, step, kind) for kind in ("mask", "bert"))
        assert plain.inputs is None
        for field in ("ids", "positions", "weights", "attention_mask"):
            numpy.testing.assert_array_equal(getattr(plain, field), getattr(mixed, field))
        masked = numpy.zeros(mixed.ids.shape, bool)
        for row, positions in zip(masked, mixed.positions, strict=True):
            row[positions[positions != -1]] = True
        assert (mixed.inputs == mixed.ids)[~masked].all()


def test_the_shares_over_many_steps_and_no_special_token_at_random():
    text, model, settings = cases.TinyText(), cases.model(), cases.settings(batch_size=40)
    proposal, counts, masked = proposal_registry.make("uniform", model, mask_rate=0.5), numpy.zeros(3), 0
    for step in range(150):
        drawn = draw(model, text, proposal, settings, step, "bert")
        rows = numpy.arange(len(drawn.ids))[:, None]
        real = drawn.positions != -1
        inputs, ids = drawn.inputs[rows, drawn.positions][real], drawn.ids[rows, drawn.positions][real]
        assert set(inputs) <= {cases.MASK, *range(5, cases.VOCABULARY)}
        counts += [(inputs == cases.MASK).sum(), (inputs == ids).sum(), ((inputs != ids) & (inputs != cases.MASK)).sum()]
        masked += len(ids)
    shares = numpy.array([0.8, 0.1 + 0.1 / 8, 0.1 * 7 / 8])  # of 8 ordinary tokens one is the token that was there
    assert numpy.abs(counts / masked - shares).max() < 4 * (0.16 / masked) ** 0.5


def test_a_step_draws_by_its_seed_and_number_alone():
    text, model, settings = cases.TinyText(), cases.model(), cases.settings()
    proposal = proposal_registry.make("uniform", model, mask_rate=0.5)
    one, same, other = (draw(model, text, proposal, settings, step, "bert").inputs for step in (1, 1, 2))
    numpy.testing.assert_array_equal(one, same)
    assert one.shape != other.shape or (one != other).any()


@pytest.mark.parametrize("gradient_accumulation", [1, 4])
def test_stopped_and_resumed(xp, tmp_path, gradient_accumulation):
    def run(folder, **options):
        changes = {"proposal": cases.Learner(), "gradient_accumulation": gradient_accumulation}
        return cases.trainer(tmp_path / folder, options={"replacement": "bert"} | options, **changes)

    run("whole").run()
    run("stopped", on_step=lambda run: run.step == 5 and os.kill(os.getpid(), signal.SIGTERM)).run()
    run("stopped").run(resume=True)
    assert_same_end(tmp_path / "stopped", tmp_path / "whole")


def test_accumulated_gradients_are_those_of_the_whole_step():
    ends = []
    for parts in (1, 3):
        run = cases.trainer(made=cases.model("float64"), gradient_accumulation=parts, options={"replacement": "bert"})
        run.run()
        ends.append(backend.to_host(run.model.flat))
    numpy.testing.assert_allclose(*ends, rtol=1e-7, atol=1e-9)


def test_evaluations_have_mask_alone_and_training_learns_other_things():
    runs = [cases.trainer(options={"replacement": kind}) for kind in ("mask", "bert")]
    records = [run.run() for run in runs]
    assert records[0][0] == records[1][0]
    assert records[0][-1]["loss"] != records[1][-1]["loss"]
    chunk = runs[1].evaluation.chunks[0]
    losses = backend.to_host(token_losses(runs[1].model, chunk.ids, chunk.positions, chunk.attention_mask))
    assert losses.shape == chunk.positions.shape


def test_another_replacement_is_refused():
    with pytest.raises(InputError, match="replacement must be one of mask, bert, not 'roberta'"):
        cases.trainer(options={"replacement": "roberta"})
