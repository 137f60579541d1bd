"""Each layer against finite differences, and what every backward must leave alone."""

import numpy
import pytest

from minimapnet import Bert, BertConfig, backend
from minimapnet.model import layers
from tests.helpers import tiny
from tests.helpers.gradient_check import check_elementwise, placed, random_upstream
from tests.helpers.layer_cases import LAYERS, LAYOUTS, Case, arrays_in, draw, keep_mask

every_layer = pytest.mark.parametrize("case", LAYERS.values(), ids=LAYERS)


@every_layer
def test_gradients_by_finite_differences(xp, case: Case):
    check_elementwise(case.function, case.values, random_upstream(1))


@every_layer
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_gradients_of_inputs_that_are_not_contiguous(xp, case, layout):
    place = {case.entry: layout}
    if case is not LAYERS["cross-entropy"]:  # whose upstream gradient has one axis
        place["dout"] = layout
    check_elementwise(case.function, case.values, random_upstream(2), place)


@every_layer
def test_two_backwards_give_the_same_bits_and_change_nothing(xp, case):
    out, cache = case.forward(placed(case.values))
    dout = backend.to_device(random_upstream(3)(out.shape))
    before = arrays_in((dout, cache))
    first = case.gradients(dout, cache)
    second = case.gradients(dout, cache)
    for name in first:
        numpy.testing.assert_array_equal(backend.to_host(first[name]), backend.to_host(second[name]))
    for was, now in zip(before, arrays_in((dout, cache)), strict=True):
        numpy.testing.assert_array_equal(now, was)


@every_layer
def test_a_forward_leaves_its_inputs_alone(xp, case):
    values = placed(case.values)
    case.forward(values)
    for name, value in values.items():
        numpy.testing.assert_array_equal(backend.to_host(value), case.values[name])


REPLICATED = {
    "linear": (
        lambda v: layers.linear_forward(v["x"], v["weight"], v["bias"]),
        lambda dy, cache: layers.linear_backward(dy, cache, "it", tiny.NoReader()),
    ),
    "gelu": (lambda v: layers.gelu_forward(v["x"], "erf"), layers.gelu_backward),
    "layernorm": (
        lambda v: layers.layernorm_forward(v["x"], v["scale"], v["scale"], 1e-5),
        lambda dy, cache: layers.layernorm_backward(dy, cache, "it", tiny.NoReader()),
    ),
    "dropout": (lambda v: layers.dropout_forward(v["x"], backend.to_device(keep_mask(1, 3, 4))), layers.dropout_backward),
}


@pytest.mark.parametrize(("forward", "backward"), REPLICATED.values(), ids=REPLICATED)
def test_replicas_against_the_cache_of_one_sentence(xp, forward, backward):
    out, cache = forward(placed(draw(x=(1, 3, 4), weight=(4, 6), bias=(6,), scale=(4,))))
    dout = random_upstream(4)((5, *out.shape[1:]))  # (R, T, F)
    together = backend.to_host(backward(backend.to_device(dout), cache))
    apart = [backend.to_host(backward(backend.to_device(dout[r : r + 1]), cache)) for r in range(5)]
    numpy.testing.assert_allclose(together, numpy.concatenate(apart), rtol=1e-12, atol=1e-14)


def test_dropout_keeps_the_mean_however_the_batch_is_split(xp):
    dropout = layers.Dropout(BertConfig(hidden_dropout_prob=0.25), seed=5, step=9)
    whole = backend.to_host(dropout.mask("embedding", 0.25, slice(0, 6), (40, 50)))
    parts = [backend.to_host(dropout.mask("embedding", 0.25, where, (40, 50))) for where in (slice(0, 1), slice(1, 6))]
    numpy.testing.assert_array_equal(whole, numpy.concatenate(parts))
    assert whole.dtype == numpy.float32
    assert set(numpy.unique(whole)) == {numpy.float32(0), numpy.float32(1 / 0.75)}
    assert abs(whole.mean() - 1) < 5 * (1 / 3 / whole.size) ** 0.5  # five standard errors


def test_dropout_masks_differ_by_sentence_place_step_and_seed(xp):
    def mask(seed=5, step=9, place="embedding", sentence=0):
        keep = layers.Dropout(BertConfig(), seed, step).mask(place, 0.5, slice(sentence, sentence + 1), (20, 20))
        return backend.to_host(keep)

    for other in (mask(seed=6), mask(step=10), mask(place="layer0/feed"), mask(sentence=1)):
        assert 0.3 < (mask() == other).mean() < 0.7


def test_no_dropout_draws_no_masks(xp):
    assert layers.Dropout(BertConfig(), 0, 0).mask("embedding", 0.0, slice(0, 2), (3,)) is None


def test_float32_stays_float32(xp):
    model = Bert(BertConfig(vocab_size=9, hidden_size=8, intermediate_size=8, mask_token_id=1, dtype="float32"))
    assert model.encode([[2, 3, 4]], attention_mask=[[1, 1, 0]]).dtype == numpy.float32
    assert model.logits([[2, 3, 4]]).dtype == numpy.float32
