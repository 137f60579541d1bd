"""What a new BERT's parameters begin as: the statements of `minimapnet/model/initialisation.py`."""

import numpy
import pytest

from minimapnet import Bert, BertConfig, backend
from minimapnet.errors import InputError
from minimapnet.model import initialisation
from minimapnet.model.batch import sentence_batch

OFFSETS = [-1, 1, -2, 2, -3, 3]


def config(**changes) -> BertConfig:
    fields = {
        "vocab_size": 300,
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "intermediate_size": 256,
        "max_position_embeddings": 40,
        "mask_token_id": 1,
        "dtype": "float64",
    }
    return BertConfig(**(fields | changes))


def host(model: Bert) -> dict:
    return {name: backend.to_host(value) for name, value in model.params.items()}


def layer_0(model: Bert, ids):
    """Return layer 0's input (B, T, C), scores (B, H, T, T) and attention (B, H, T, T), on the host."""
    sentences = sentence_batch(model.config, ids, None)
    x, _ = model.embedding_forward(sentences)
    (_, (qkv, probs, *_)) = model.attention_forward(0, x, sentences)[1]
    H, C = model.config.num_attention_heads, model.config.hidden_size
    heads = backend.to_host(qkv).reshape(*ids.shape, 3, H, C // H)
    scores = numpy.einsum("bthd,bshd->bhts", heads[:, :, 0], heads[:, :, 1]) / (C // H) ** 0.5
    return backend.to_host(x), scores, backend.to_host(probs)


def at_offset(scores, offset: int):
    """Return scores (B, T, T) of every query for the key at an offset from it -> (B, fewer)."""
    return numpy.diagonal(scores, offset, axis1=1, axis2=2)


def sentences(T: int = 40) -> numpy.ndarray:
    return numpy.random.default_rng(0).integers(5, 300, (24, T))


def some_frequencies(pairs: int) -> numpy.ndarray:
    return numpy.random.default_rng(pairs).uniform(0, numpy.pi, pairs)


@pytest.mark.parametrize("pairs", [1, 3, 64])
@pytest.mark.parametrize("offset", [-3, -1, 0, 1, 2, 50])
def test_a_rotation_moves_every_position_by_the_offset(pairs, offset):
    t, w = numpy.arange(60), some_frequencies(pairs)
    moved = initialisation.rotated(initialisation.sinusoids(t, w), w, offset)
    numpy.testing.assert_allclose(moved, initialisation.sinusoids(t + offset, w), atol=1e-12)
    back = initialisation.rotated(moved, w, -offset)
    numpy.testing.assert_allclose(back, initialisation.sinusoids(t, w), atol=1e-12)


def test_a_rotation_keeps_inner_products():
    (x, y), w = numpy.random.default_rng(1).standard_normal((2, 5, 8)), some_frequencies(4)
    turned = initialisation.rotated(x, w, 3), initialisation.rotated(y, w, 3)
    numpy.testing.assert_allclose((turned[0] * turned[1]).sum(axis=1), (x * y).sum(axis=1), atol=1e-12)
    assert not numpy.allclose(turned[0], x)


def test_positions_are_nearly_orthogonal_and_their_products_depend_on_the_distance_alone():
    w = initialisation.frequencies(config(), seed=0)  # (16,)
    table = initialisation.sinusoids(numpy.arange(40), w)
    products = table @ table.T / 16
    for distance in range(40):
        numpy.testing.assert_allclose(numpy.diagonal(products, distance), products[0, distance], atol=1e-12)
    numpy.testing.assert_allclose(products[0, 0], 1, atol=1e-12)
    assert abs(products[0, 1:5]).max() < 0.2  # neighbours are as far apart as any
    assert abs(products[0, 1:]).max() < 0.7


def test_frequencies_are_one_of_each_part_of_their_range_and_drawn_by_the_seed():
    first, again, other = (initialisation.frequencies(config(), seed) for seed in (3, 3, 4))
    numpy.testing.assert_array_equal(numpy.floor(first / numpy.pi * 16), numpy.arange(16))
    numpy.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_offsets_are_the_nearest_ones_before_and_after_by_turns():
    assert initialisation.offsets(6) == OFFSETS
    assert initialisation.offsets(1) == [-1]


@pytest.mark.parametrize("sizes", [(128, 4), (192, 6), (96, 3), (99, 3)])
def test_each_head_of_layer_0_looks_at_its_own_offset(xp, sizes):
    C, H = sizes
    model = Bert(config(hidden_size=C, num_attention_heads=H), seed=2)
    _, scores, probs = layer_0(model, sentences())
    for head in range(H):
        mean = {offset: at_offset(scores[:, head], offset).mean() for offset in range(-8, 9)}
        share = {offset: at_offset(probs[:, head], offset).mean() for offset in range(-8, 9)}
        assert max(mean, key=mean.get) == OFFSETS[head], mean
        assert max(share, key=share.get) == OFFSETS[head], share
        assert share[OFFSETS[head]] > 0.2


@pytest.mark.parametrize("sizes", [(128, 4), (256, 4), (64, 4)])
def test_the_score_at_the_offset_is_as_named_whatever_the_size(xp, sizes):
    C, H = sizes
    scores = []
    for seed in range(6):
        found = layer_0(Bert(config(hidden_size=C, num_attention_heads=H), seed=seed), sentences())[1]
        scores += [at_offset(found[:, head], OFFSETS[head]).mean() for head in range(H)]
    error = numpy.std(scores) / len(scores) ** 0.5
    assert abs(numpy.mean(scores) - initialisation.SCORE) < 0.05 * initialisation.SCORE + 3 * error


def test_positions_are_sinusoids_of_the_size_of_the_words_times_the_ratio(xp):
    params = host(Bert(config(), seed=0))
    positions, words = (numpy.sqrt((params[f"{name}_embedding"] ** 2).mean()) for name in ("position", "word"))
    assert abs(positions / words / initialisation.RATIO - 1) < 0.02
    size = initialisation.RATIO * (2 / 32) ** 0.5
    sinusoids = initialisation.sinusoids(numpy.arange(40), initialisation.frequencies(config(), seed=0))
    numpy.testing.assert_allclose(params["position_embedding"][:, :32], size * sinusoids, atol=1e-12)
    assert not params["position_embedding"][:, 32:].any()


def test_layers_above_the_first_begin_nearly_as_the_identity(xp):
    ids = sentences()
    changes = {}
    for init in initialisation.INITS:
        model = Bert(config(), seed=1, init=init)
        batch = sentence_batch(model.config, ids, None)
        x = model.embedding_forward(batch)[0]
        moved = []
        for i in range(3):
            before, x = x, model.layer_forward(i, x, batch)[0]
            moved.append(float(numpy.square(backend.to_host(x - before)).mean()))
        changes[init] = moved
    assert changes["mimetic"][0] > 0.3
    assert max(changes["mimetic"][1:]) < 0.05
    assert min(changes["random"]) > 0.3


def test_random_is_drawn_as_it_always_was(xp):
    made = config(hidden_size=6, num_attention_heads=2, dtype="float32", initializer_range=0.3, tie_word_embeddings=False)
    params = host(Bert(made, seed=4, init="random"))
    for name, value in params.items():
        if value.ndim > 1:
            draw = backend.generator(4, f"initialise/{name}").standard_normal(value.shape)
            expected = (draw * 0.3).astype(numpy.float32)
        else:
            expected = numpy.full(value.shape, 1.0 if name.endswith("norm.weight") else 0.0, numpy.float32)
        numpy.testing.assert_array_equal(value, expected)


def test_mimetic_changes_positions_queries_keys_and_projections_alone(xp):
    made, C = config(), 128
    ours, random = (host(Bert(made, seed=4, init=init)) for init in initialisation.INITS)
    changed = {name for name in ours if not numpy.array_equal(ours[name], random[name])}
    small = {f"layer{i}.{part}.weight" for i in (1, 2) for part in ("attention_out", "feed_out")}
    assert changed == {"position_embedding", "layer0.qkv.weight"} | small
    numpy.testing.assert_array_equal(ours["layer0.qkv.weight"][:, 2 * C :], random["layer0.qkv.weight"][:, 2 * C :])
    for name in small:
        numpy.testing.assert_allclose(ours[name], initialisation.SMALL * random[name], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(16, 2, 1, 5), (1, 1, 1, 3), (15, 3, 2, 700), (9, 9, 4, 1), (12, 4, 2, 7)])
def test_any_size_begins_finite_and_the_same_each_time(xp, shape, dtype):
    C, H, layers, P = shape
    sizes = {"hidden_size": C, "num_attention_heads": H, "num_hidden_layers": layers, "max_position_embeddings": P}
    made = config(**sizes, dtype=dtype)
    first, second, other = (Bert(made, seed=seed) for seed in (1, 1, 2))
    assert str(first.flat.dtype) == dtype
    assert bool(backend.xp.isfinite(first.flat).all())
    numpy.testing.assert_array_equal(backend.to_host(first.flat), backend.to_host(second.flat))
    assert (backend.to_host(first.flat) != backend.to_host(other.flat)).any()
    assert bool(backend.xp.isfinite(first.logits(numpy.full((1, P), 7))).all())


def test_an_unknown_start_is_refused():
    with pytest.raises(InputError, match="init 'xavier' is not one of mimetic, random"):
        Bert(config(), init="xavier")
