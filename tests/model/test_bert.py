"""The model as a whole: its gradient along a direction, its paths against each other, its independence of the split."""

import numpy
import pytest

from minimapnet import Bert, BertConfig, InputError, backend, gradients, token_losses
from minimapnet.model.batch import masked_batch
from minimapnet.model.parameters import flat_order
from tests.helpers import tiny
from tests.helpers.gradient_check import check_direction

PLAIN = {"positions": tiny.POSITIONS, "weights": tiny.WEIGHTS}
VARIANTS = {
    "tied": ({}, PLAIN),
    "untied": ({"tie_word_embeddings": False}, PLAIN),
    "one-layer": ({"num_hidden_layers": 1}, PLAIN),
    "four-layers": ({"num_hidden_layers": 4}, PLAIN),
    "tanh": ({"hidden_act": "gelu_new"}, PLAIN),
    "relu": ({"hidden_act": "relu"}, PLAIN),
    "one-type": ({"type_vocab_size": 1}, PLAIN),
    "types": ({}, PLAIN | {"token_type_ids": tiny.TYPES}),
    "padded": ({}, PLAIN | {"attention_mask": tiny.PADDING}),
    "ragged": ({}, PLAIN | {"positions": tiny.RAGGED}),
    "default-weights": ({}, {"positions": tiny.RAGGED}),
    "dropout": ({"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}, PLAIN | {"dropout_key": (5, 8)}),
    "all": (
        {"tie_word_embeddings": False, "hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2},
        {
            "positions": tiny.RAGGED,
            "weights": tiny.WEIGHTS,
            "attention_mask": tiny.PADDING,
            "token_type_ids": tiny.TYPES,
            "dropout_key": (5, 8),
        },
    ),
}


@pytest.mark.parametrize(("changes", "batch"), VARIANTS.values(), ids=VARIANTS)
def test_gradient_of_the_whole_model_along_a_direction(xp, changes, batch):
    model = tiny.model(**changes)
    point = backend.to_host(model.flat).copy()
    grads = tiny.host(gradients(model, tiny.IDS, **batch)[1])
    gradient = numpy.concatenate([grads[name].ravel() for name in flat_order(model.shapes)])

    def objective(flat):
        model.flat[...] = backend.to_device(flat)
        return gradients(model, tiny.IDS, **batch)[0]

    for seed in range(3):
        check_direction(objective, point, gradient, seed)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_losses_at_masked_rows_are_those_of_the_full_logits(xp, padded, tied):
    model = tiny.model(tie_word_embeddings=tied)
    mask = tiny.PADDING if padded else None
    losses = backend.to_host(token_losses(model, tiny.IDS, tiny.RAGGED, mask, tiny.TYPES))
    inputs = tiny.IDS.copy()
    for b, j in numpy.argwhere(tiny.RAGGED >= 0):
        inputs[b, tiny.RAGGED[b, j]] = model.config.mask_token_id
    logits = backend.to_host(model.logits(inputs, mask, tiny.TYPES))  # (B, T, V)
    log_probs = logits - numpy.log(numpy.exp(logits).sum(axis=-1, keepdims=True))
    expected = numpy.zeros(tiny.RAGGED.shape)
    for b, j in numpy.argwhere(tiny.RAGGED >= 0):
        position = tiny.RAGGED[b, j]
        expected[b, j] = -log_probs[b, position, tiny.IDS[b, position]]
    numpy.testing.assert_allclose(losses, expected, rtol=1e-12, atol=0)


def test_logits_are_the_head_over_encode(xp):
    model = tiny.model()
    hidden = model.encode(tiny.IDS, tiny.PADDING)
    assert hidden.shape == (3, 6, 6)
    logits, _ = model.head_forward(hidden.reshape(18, 6))
    numpy.testing.assert_array_equal(
        backend.to_host(logits).reshape(3, 6, 11), backend.to_host(model.logits(tiny.IDS, tiny.PADDING))
    )


@pytest.mark.parametrize("edges", [(3,), (1, 3), (1, 2, 3)])
def test_encode_and_logits_do_not_depend_on_the_split(xp, monkeypatch, edges):
    model = tiny.model()
    hidden, logits = (backend.to_host(f(tiny.IDS, tiny.PADDING, tiny.TYPES)) for f in (model.encode, model.logits))
    tiny.cut(monkeypatch, *edges)
    for whole, f in ((hidden, model.encode), (logits, model.logits)):
        again = backend.to_host(f(tiny.IDS, tiny.PADDING, tiny.TYPES))
        numpy.testing.assert_allclose(again, whole, rtol=1e-11, atol=1e-13)


def test_padding_does_not_reach_the_tokens(xp):
    model = tiny.model()
    short = backend.to_host(model.encode(tiny.IDS[1:2, :4]))
    changed = tiny.IDS.copy()
    changed[1, 4:] = 6
    for ids in (tiny.IDS, changed):
        padded = backend.to_host(model.encode(ids, tiny.PADDING))
        numpy.testing.assert_allclose(padded[1, :4], short[0], rtol=1e-11, atol=1e-13)


def test_places_and_types_matter(xp):
    model = tiny.model()
    plain = backend.to_host(model.encode(tiny.IDS))
    assert not numpy.allclose(plain, backend.to_host(model.encode(tiny.IDS, token_type_ids=tiny.TYPES)))
    reversed_back = backend.to_host(model.encode(tiny.IDS[:, ::-1].copy()))[:, ::-1]
    assert not numpy.allclose(plain, reversed_back)


def test_a_cache_serves_many_backwards(xp):
    """Two backwards from one forward: the same bits, and linear in the upstream gradient."""
    model = tiny.model()
    batch = masked_batch(model.config, tiny.IDS, tiny.POSITIONS, tiny.PADDING)
    losses, cache = model.forward(batch)
    kept = backend.to_host(losses).copy()
    dlosses = backend.to_device(tiny.WEIGHTS.reshape(-1))
    first, second, doubled = (tiny.read(model, d, cache) for d in (dlosses, dlosses, dlosses * 2.0))
    for name in first:
        numpy.testing.assert_array_equal(first[name], second[name])
        numpy.testing.assert_allclose(doubled[name], 2 * first[name], rtol=1e-12)
    numpy.testing.assert_array_equal(backend.to_host(losses), kept)
    numpy.testing.assert_array_equal(backend.to_host(dlosses), tiny.WEIGHTS.reshape(-1))


def test_a_model_on_another_backend_says_so(xp, monkeypatch):
    with tiny.numpy_in_use(monkeypatch):
        model = tiny.model()
    if xp is numpy:
        model.flat = object()  # stands for another library's array
    for use in (model.encode, model.logits, lambda ids: gradients(model, ids, tiny.POSITIONS)):
        with pytest.raises(InputError, match="made on another backend than the one in use: call its to_device"):
            use(tiny.IDS)


def test_made_under_numpy_moved_and_moved_back(xp, monkeypatch):
    with tiny.numpy_in_use(monkeypatch):
        model = tiny.model()
        start, names = model.flat.copy(), list(model.params)
        loss, expected = gradients(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS, tiny.PADDING)

    assert model.to_device() is model  # on the backend under test
    assert isinstance(model.flat, xp.ndarray)
    assert list(model.params) == names
    moved_loss, moved = gradients(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS, tiny.PADDING)
    numpy.testing.assert_allclose(moved_loss, loss, rtol=1e-11)
    for name in expected:
        numpy.testing.assert_allclose(backend.to_host(moved[name]), expected[name], rtol=1e-9, atol=1e-11)
    model.params["head.decoder.bias"][...] += 1.0  # still a view of the flat buffer
    shifted = backend.to_host(model.flat).copy()

    with tiny.numpy_in_use(monkeypatch):
        model.to_device()
        assert isinstance(model.flat, numpy.ndarray)
        numpy.testing.assert_array_equal(model.flat, shifted)
        assert (model.flat != start).sum() == 11
        back_loss, back = gradients(model, tiny.IDS, tiny.POSITIONS, tiny.WEIGHTS, tiny.PADDING)
        numpy.testing.assert_allclose(back_loss, loss, rtol=1e-11)  # a shift of all logits changes nothing
        for name in expected:
            numpy.testing.assert_allclose(back[name], expected[name], rtol=1e-9, atol=1e-11)


def test_the_same_seed_gives_the_same_model_on_every_backend(xp):
    config = tiny.config(dtype="float32")
    a, b, other = Bert(config, seed=1), Bert(config, seed=1), Bert(config, seed=2)
    numpy.testing.assert_array_equal(backend.to_host(a.flat), backend.to_host(b.flat))
    assert (backend.to_host(a.flat) != backend.to_host(other.flat)).mean() > 0.5
    draw = backend.generator(1, "initialise/layer0.feed_in.weight").standard_normal((6, 7)) / 6**0.5
    numpy.testing.assert_array_equal(backend.to_host(a.params["layer0.feed_in.weight"]), draw.astype(numpy.float32))


def test_a_model_without_a_head_encodes_and_says_so(xp):
    model = Bert(tiny.config(mlm_head=False))
    assert model.encode(tiny.IDS).shape == (3, 6, 6)
    for ask in (lambda: model.logits(tiny.IDS), lambda: token_losses(model, tiny.IDS, tiny.POSITIONS)):
        with pytest.raises(InputError, match="no masked-language-model head"):
            ask()


CONFIG_ERRORS = {
    "vocab_size must be a positive whole number, not 0": {"vocab_size": 0},
    "hidden_size must be a positive whole number, not 6.0": {"hidden_size": 6.0},
    "num_hidden_layers must be a positive whole number, not -1": {"num_hidden_layers": -1},
    "hidden_size 6 cannot be shared by num_attention_heads 4": {"num_attention_heads": 4},
    "hidden_act 'silu' is not one of gelu, gelu_python, gelu_new, gelu_fast, gelu_pytorch_tanh, relu": {
        "hidden_act": "silu"
    },
    "dtype must be float32 or float64, not 'float16'": {"dtype": "float16"},
    "hidden_dropout_prob must be at least 0 and below 1, not 1.0": {"hidden_dropout_prob": 1.0},
    "layer_norm_eps must be positive, not 0.0": {"layer_norm_eps": 0.0},
    "initializer_range must be positive, not -0.1": {"initializer_range": -0.1},
    "attention_probs_dropout_prob must be at least 0 and below 1, not -0.1": {"attention_probs_dropout_prob": -0.1},
    "mask_token_id 11 is not in the vocabulary of 11": {"mask_token_id": 11},
    "pad_token_id -1 is not in the vocabulary of 11": {"pad_token_id": -1},
}


@pytest.mark.parametrize(("message", "changes"), CONFIG_ERRORS.items(), ids=CONFIG_ERRORS)
def test_config_errors(message, changes):
    with pytest.raises(InputError) as error:
        tiny.config(**changes)
    assert str(error.value) == message


def test_config_defaults():
    config = BertConfig(hidden_size=64, num_attention_heads=2)
    assert config.initializer_range == 1 / 8
    assert BertConfig(initializer_range=0.02).initializer_range == 0.02
    assert [BertConfig(hidden_act=name).activation for name in ("gelu", "gelu_new", "relu")] == ["erf", "tanh", "relu"]
