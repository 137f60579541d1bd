"""The exercises of step 4 against small models: the package's losses and gradients, and brute force."""

import numpy
import pytest

import minimapnet
from minimapnet.gradient_norms.accumulators import GradientAccumulator, gather
from minimapnet.model.batch import masked_batch
from tests.helpers import tiny

MASK = 1
V = tiny.config().vocab_size


class Recorder(GradientAccumulator):
    """A gradient accumulator that remembers what the word embedding is made from."""

    def embedding(self, name, ids, dy):
        super().embedding(name, ids, dy)
        if name == "word_embedding":
            self.looked_up = ids, dy

    def decoder(self, h, dlogits):
        super().decoder(h, dlogits)
        self.decoded = h, dlogits


def softmax(logits):
    powers = numpy.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_unigram_guess_is_made_whatever_the_sentence(answers, seed):
    model = tiny.model()
    table = model.params["word_embedding"].copy()
    counts = numpy.random.default_rng(seed).integers(1, 1000, V).astype(float)
    answers.set_to_unigram(model, counts.copy())
    losses = minimapnet.token_losses(model, tiny.IDS, tiny.POSITIONS)
    hidden = numpy.take_along_axis(tiny.IDS, tiny.POSITIONS, axis=1)
    numpy.testing.assert_allclose(losses, -numpy.log(counts / counts.sum())[hidden], rtol=1e-10)
    numpy.testing.assert_array_equal(model.params["word_embedding"], table)


def test_the_tied_gradient_is_the_packages(answers):
    model = tiny.model()
    batch = masked_batch(model.config, tiny.IDS, tiny.POSITIONS)
    losses, cache = model.forward(batch)
    accumulator = Recorder()
    dlosses = numpy.random.default_rng(0).standard_normal(losses.shape)
    model.backward(dlosses, cache, accumulator)
    views = {name: numpy.empty(shape) for name, shape in model.shapes.items()}
    gather([accumulator], views, model.decoder_name)
    ids, dx = (array.copy() for array in accumulator.looked_up)
    h, dlogits = (array.copy() for array in accumulator.decoded)
    assert len(numpy.unique(ids)) < ids.size  # [MASK] stands there more than once
    numpy.testing.assert_allclose(
        answers.tied_gradient(ids, dx, h, dlogits), views["word_embedding"], rtol=1e-10, atol=1e-12
    )


def test_the_tied_gradient_agrees_with_finite_differences(answers):
    rng = numpy.random.default_rng(1)
    table, ids, masked = rng.standard_normal((5, 3)), numpy.array([[0, 2, 2], [4, 2, 0]]), [1, 3]
    upstream = rng.standard_normal((2, 5))

    def logits(table):
        h = numpy.tanh(table[ids]).reshape(-1, 3)[masked]  # a model of sorts between lookup and decoder
        return h, h @ table.T

    h, _ = logits(table)
    dx = numpy.zeros((6, 3))
    dx[masked] = (upstream @ table) * (1 - h**2)
    found = answers.tied_gradient(ids, dx.reshape(2, 3, 3), h, upstream)
    for index in numpy.ndindex(table.shape):
        step = numpy.zeros_like(table)
        step[index] = 1e-6
        expected = ((logits(table + step)[1] - logits(table - step)[1]) * upstream).sum() / 2e-6
        assert abs(found[index] - expected) < 1e-7


@pytest.mark.parametrize("row", [[2, MASK, 5, MASK, MASK, 3], [MASK] * 6, [4, 5, 6, 7, 8, MASK], [2, 3, 4, 5, 6, 7]])
def test_fill_in_takes_the_surest_guess_each_time(answers, row):
    model = tiny.model()
    ids = numpy.array(row)
    filled, order = answers.fill_in(model, ids)
    numpy.testing.assert_array_equal(ids, row)
    assert sorted(order) == [place for place, token in enumerate(row) if token == MASK]
    assert MASK not in filled
    now = numpy.array(row)
    for place in order:
        q = softmax(model.logits(now[None])[0])
        open_places = numpy.flatnonzero(now == MASK)
        others = [token for token in range(V) if token != MASK]
        assert q[place, filled[place]] == pytest.approx(q[numpy.ix_(open_places, others)].max(), rel=1e-9)
        now[place] = filled[place]
    numpy.testing.assert_array_equal(now, filled)


def test_fill_in_asks_again_after_every_guess(answers):
    model = tiny.model()
    row = numpy.array([MASK] * 6)
    batch_size_that_fits = softmax(model.logits(row[None])[0])
    batch_size_that_fits[:, MASK] = 0
    filled, _ = answers.fill_in(model, row)
    assert (filled != batch_size_that_fits.argmax(axis=1)).any()


def test_fill_in_never_guesses_a_mask_and_asks_once_a_place(answers, monkeypatch):
    model = tiny.model()
    model.params["head.decoder.bias"][MASK] = 100.0  # the likeliest token everywhere
    asked, logits = [], model.logits

    def counted(ids, *rest):
        asked.append(ids)
        assert len(asked) <= 3, "the model is asked more than once for a place"
        return logits(ids, *rest)

    monkeypatch.setattr(model, "logits", counted)
    filled, order = answers.fill_in(model, numpy.array([2, MASK, 5, MASK, MASK, 3]))
    assert MASK not in filled and sorted(order) == [1, 3, 4] and len(asked) == 3
