"""The evaluation: a mean over rows of the mean over their masks, on masks that its seed alone decides."""

import numpy
import pytest

from minimapnet import InputError, backend, token_losses
from minimapnet.training import evaluation
from minimapnet.training.evaluation import Evaluation
from tests.helpers import training_cases as cases


def test_the_loss_is_the_mean_over_rows_of_their_means(xp):
    rows, model = cases.TinyRows(20, 5), cases.model("float64")
    judge, each = Evaluation(rows, 0.5, seed=3), []
    for chunk in judge.chunks:
        for b, positions in enumerate(chunk.positions):
            masked = positions[positions != -1]
            length = int(chunk.attention_mask[b].sum())
            assert len(masked) == (length - 2) // 2  # a share of one half, of lengths that are even
            assert ((masked >= 1) & (masked <= length - 2)).all()
            losses = token_losses(model, chunk.ids[b : b + 1, :length], masked[None])
            each.append(backend.to_host(losses).mean())
    assert len(each) == judge.rows == 20
    numpy.testing.assert_allclose(judge.loss(model), numpy.mean(each), rtol=1e-10)


def test_every_row_is_judged_once_with_little_padding(monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK_TOKENS", 24)
    rows = cases.TinyRows(20, 5)
    judge = Evaluation(rows, 1)
    found = sorted(
        tuple(row[:length]) for c in judge.chunks for row, length in zip(c.ids, c.attention_mask.sum(axis=1), strict=True)
    )
    assert found == sorted(tuple(row[:length]) for row, length in zip(rows.ids, rows.lengths, strict=True))
    assert all(chunk.ids.size <= 24 for chunk in judge.chunks)
    assert sum(chunk.ids.size - chunk.attention_mask.sum() for chunk in judge.chunks) <= 4


def test_the_masks_follow_from_the_seed():
    a, same, other = (Evaluation(cases.TinyRows(20, 5), 2, seed) for seed in (0, 0, 1))
    model = cases.model()
    assert a.loss(model) == same.loss(model) != other.loss(model)


def test_of_many_rows_some_are_chosen():
    judge = Evaluation(cases.TinyRows(20, 5), 1, most=7)
    assert judge.rows == sum(len(chunk.ids) for chunk in judge.chunks) == 7


def test_quality_is_the_loss_and_how_many_guesses_are_right(xp):
    rows, model = cases.TinyRows(20, 5), cases.model("float64")
    model.flat *= 5.0  # so that guesses differ
    judge, each = Evaluation(rows, 0.5, seed=3), []
    for chunk in judge.chunks:
        for ids, positions, real in zip(chunk.ids, chunk.positions, chunk.attention_mask, strict=True):
            masked = positions[positions != -1]
            shown = numpy.where(numpy.isin(numpy.arange(len(ids)), masked), cases.MASK, ids)[None, : real.sum()]
            logits = backend.to_host(model.logits(shown))[0, masked]
            ranks = [
                list(numpy.argsort(-row, kind="stable")).index(target)
                for row, target in zip(logits, ids[masked], strict=True)
            ]
            each.append([numpy.mean(numpy.less(ranks, most)) for most in (1, 5)])
    found = judge.quality(model)
    numpy.testing.assert_allclose(found.loss, judge.loss(model), rtol=1e-10)
    numpy.testing.assert_allclose([found.top1, found.top5], numpy.mean(each, axis=0), rtol=1e-10)
    assert 0 < found.top1 < found.top5 < 1


def test_a_model_that_finds_all_tokens_equal_is_not_right(xp):
    model = cases.model()
    model.flat[...] = 0
    found = Evaluation(cases.TinyRows(20, 5), 0.5).quality(model)
    assert (found.top1, found.top5) == (0, 0)  # the first five ids are special tokens
    assert found.loss == pytest.approx(numpy.log(cases.VOCABULARY))


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(InputError, match="there are no rows to evaluate on"):
        Evaluation(cases.TinyRows(0, 5), 1)
    with pytest.raises(InputError, match="k must lie between 1 and the 2 maskable positions of sentence 0, but is 3"):
        Evaluation(cases.TinyRows(20, 5), 3)
