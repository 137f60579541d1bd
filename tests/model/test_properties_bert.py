"""What must hold of losses and gradients for any shape, any sentences, any padding: examples drawn by hypothesis."""

from dataclasses import dataclass, replace

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimapnet import Bert, BertConfig, backend, gradients, token_losses

TOLERANCE = 1e-11  # of the largest entry: float64, so what differs is only the order in which things are added up
EXTRA = 3  # places that the model has beyond the longest sentence, for more padding

few_examples = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,  # the same examples every time
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # `xp` serves all examples of a test alike
)


@dataclass(frozen=True)
class Batch:
    """ids, mask, types (B, T), positions and weights (B, K), all on the host, sentence by sentence of any length."""

    ids: numpy.ndarray
    mask: numpy.ndarray
    types: numpy.ndarray
    positions: numpy.ndarray
    weights: numpy.ndarray

    def sentences(self, which):
        return Batch(*(array[which] for array in vars(self).values()))


@st.composite
def models_and_batches(draw):
    """Draw a small model with random parameters, and a batch whose every sentence has a masked token at least."""
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32 - 1), label="seed"))
    B, T, V = draw(st.integers(1, 4), label="B"), draw(st.integers(1, 7), label="T"), draw(st.integers(3, 12), label="V")
    K, heads = draw(st.integers(1, T), label="K"), draw(st.integers(1, 3), label="heads")
    config = BertConfig(
        vocab_size=V,
        hidden_size=heads * draw(st.integers(2, 4), label="D") * 2,
        num_attention_heads=heads,
        num_hidden_layers=draw(st.integers(1, 3), label="layers"),
        intermediate_size=draw(st.integers(1, 9), label="F"),
        max_position_embeddings=T + EXTRA,
        hidden_act=draw(st.sampled_from(("gelu", "gelu_new", "relu")), label="hidden_act"),
        layer_norm_eps=1e-5,
        tie_word_embeddings=draw(st.booleans(), label="tied"),
        mask_token_id=draw(st.integers(0, V - 1), label="mask_token_id"),
        dtype="float64",
    )
    lengths = rng.integers(1, T + 1, B) if draw(st.booleans(), label="padded") else numpy.full(B, T)
    positions = numpy.full((B, K), -1)
    for row, length in zip(positions, lengths, strict=True):
        row[rng.permutation(K)[: rng.integers(1, min(K, length) + 1)]] = -2  # anywhere in the row, not only at its start
        row[row == -2] = rng.permutation(length)[: (row == -2).sum()]
    batch = Batch(
        rng.integers(0, V, (B, T)),
        (numpy.arange(T) < lengths[:, None]).astype(int),
        rng.integers(0, 2, (B, T)),
        positions,
        rng.standard_normal((B, K)),
    )
    return random_model(config, rng), batch, rng


def random_model(config, rng):
    """Make a model whose biases and LayerNorms are random too."""
    model = Bert(config)
    model.flat += backend.to_device(rng.standard_normal(model.flat.size) * 0.2)
    return model


def losses_of(model, batch):
    return backend.to_host(token_losses(model, batch.ids, batch.positions, batch.mask, batch.types))


def gradients_of(model, batch, weights=None):
    """Return the loss and the gradients on the host, the loss as one of them."""
    loss, found = gradients(model, batch.ids, batch.positions, weights, batch.mask, batch.types)
    return {"loss": numpy.array(loss)} | {name: backend.to_host(value) for name, value in found.items()}


def assert_same(ours, expected):
    """Hold {name: array} against each other, by the largest entry of all."""
    assert ours.keys() == expected.keys()
    scale = max(1.0, *(numpy.abs(value).max() for value in expected.values()))
    for name, value in expected.items():
        numpy.testing.assert_allclose(ours[name], value, rtol=0, atol=TOLERANCE * scale, err_msg=name)


@few_examples
@given(drawn=st.data())
def test_the_order_of_sentences_does_not_matter(xp, drawn):
    model, batch, rng = drawn.draw(models_and_batches())
    order = rng.permutation(len(batch.ids))
    shuffled = batch.sentences(order)
    assert_same({"losses": losses_of(model, shuffled)}, {"losses": losses_of(model, batch)[order]})
    assert_same(gradients_of(model, shuffled, shuffled.weights), gradients_of(model, batch, batch.weights))


@few_examples
@given(drawn=st.data(), extra=st.integers(1, EXTRA))
def test_more_padding_changes_nothing(xp, drawn, extra):
    model, batch, rng = drawn.draw(models_and_batches())
    B = len(batch.ids)
    longer = replace(
        batch,
        ids=numpy.hstack([batch.ids, rng.integers(0, model.config.vocab_size, (B, extra))]),  # whatever stands there
        mask=numpy.hstack([batch.mask, numpy.zeros((B, extra), int)]),
        types=numpy.hstack([batch.types, rng.integers(0, 2, (B, extra))]),
    )
    assert_same({"losses": losses_of(model, longer)}, {"losses": losses_of(model, batch)})
    assert_same(gradients_of(model, longer, batch.weights), gradients_of(model, batch, batch.weights))


@few_examples
@given(drawn=st.data(), factors=st.tuples(*[st.floats(-3, 3)] * 2))
def test_gradients_are_linear_in_the_weights(xp, drawn, factors):
    model, batch, rng = drawn.draw(models_and_batches())
    others = rng.standard_normal(batch.weights.shape)
    one, other = gradients_of(model, batch, batch.weights), gradients_of(model, batch, others)
    both = gradients_of(model, batch, factors[0] * batch.weights + factors[1] * others)
    assert_same(both, {name: factors[0] * one[name] + factors[1] * other[name] for name in one})


@few_examples
@given(drawn=st.data(), weighted=st.booleans())
def test_a_batchs_gradient_is_the_mean_of_its_sentences(xp, drawn, weighted):
    model, batch, _ = drawn.draw(models_and_batches())
    whole = gradients_of(model, batch, batch.weights if weighted else None)
    alone = []
    for b in range(len(batch.ids)):
        sentence = batch.sentences(slice(b, b + 1))
        alone.append(gradients_of(model, sentence, sentence.weights if weighted else None))
    assert_same(whole, {name: sum(each[name] for each in alone) / len(alone) for name in whole})


@few_examples
@given(drawn=st.data())
def test_the_loss_is_the_weighted_sum_of_the_token_losses(xp, drawn):
    model, batch, _ = drawn.draw(models_and_batches())
    losses = losses_of(model, batch)
    masked = batch.positions != -1
    assert (losses[masked] > 0).all() and (losses[~masked] == 0).all()
    expected = (losses * batch.weights).sum() / len(losses)
    assert gradients_of(model, batch, batch.weights)["loss"] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    expected = (losses.sum(axis=1) / masked.sum(axis=1)).mean()
    assert gradients_of(model, batch)["loss"] == pytest.approx(expected, rel=1e-12)
