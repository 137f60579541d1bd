"""Exact gradient norms against a plain loop of single-token and single-sequence gradients."""

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimapnet import (
    InputError,
    backend,
    gradients,
    gradients_and_norms,
    sequence_gradient_norms,
    token_gradient_norms,
    token_losses,
)
from minimapnet.gradient_norms import norms as norms_module
from minimapnet.gradient_norms.norms import sequence_squares, token_squares
from minimapnet.proposals.scores import output_norm_bound
from tests.helpers import tiny
from tests.helpers.norm_loop import norms, sequence_loop, token_loop

CASES = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "one layer": {"num_hidden_layers": 1},
    "one layer, untied": {"num_hidden_layers": 1, "tie_word_embeddings": False},
    "four layers, tanh": {"num_hidden_layers": 4, "hidden_act": "gelu_new"},
    "relu": {"hidden_act": "relu"},
    "one head": {"num_attention_heads": 1},
    "vocabulary larger than the sentence": {"vocab_size": 50},
    "wide": {"intermediate_size": 40},
}


def batch(T, K, vocabulary=11, padded=False, ragged=False, B=3, seed=0):
    """Draw ids (B, T), positions (B, K), weights (B, K) and a padding mask (B, T), or None."""
    rng = numpy.random.default_rng(seed)
    ids = rng.integers(2, vocabulary, (B, T))  # from a small vocabulary: ids repeat within a sentence
    mask = numpy.ones((B, T), int)
    if padded:
        mask[1, K:] = 0
    positions = numpy.stack([rng.permutation(row.sum())[:K] for row in mask])
    if ragged:
        positions[0, 1:] = -1
        positions[2, 0] = -1
    return ids, positions, rng.uniform(0.1, 2.0, positions.shape), mask if padded else None


def compare(model, ids, positions, weights, mask, rtol, **options):
    losses = token_loop(model, ids, positions, mask)
    ours = token_squares(model, ids, positions, mask, **options)
    assert set(ours) == set(losses)
    for group, expected in losses.items():
        tolerance = rtol * norms(losses).max() ** 2  # of the whole: a group may be as good as zero
        numpy.testing.assert_allclose(backend.to_host(ours[group]), expected, rtol=2 * rtol, atol=tolerance, err_msg=group)
    total = backend.to_host(token_gradient_norms(model, ids, positions, mask, **options))
    numpy.testing.assert_allclose(total, norms(losses), rtol=rtol)
    assert (total[positions == -1] == 0).all()

    expected = norms(sequence_loop(model, ids, positions, weights, mask))
    found = backend.to_host(sequence_gradient_norms(model, ids, positions, weights, mask))
    numpy.testing.assert_allclose(found, expected, rtol=rtol)
    together = backend.to_host(gradients_and_norms(model, ids, positions, weights, mask)[2])
    numpy.testing.assert_allclose(together, expected, rtol=rtol)
    assert total.dtype == found.dtype == together.dtype == model.config.dtype


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-10), ("float32", 1e-4)])
def test_equal_the_loop(xp, changes, dtype, rtol):
    model = tiny.model(dtype=dtype, **changes)
    compare(model, *batch(6, 3, model.config.vocab_size, padded=True, ragged=True), rtol)


@pytest.mark.parametrize(("T", "K"), [(1, 1), (2, 1), (2, 2), (30, 1), (30, 24)])
@pytest.mark.parametrize("tied", [True, False])
def test_equal_the_loop_at_every_length(xp, T, K, tied):
    model = tiny.model(max_position_embeddings=T, tie_word_embeddings=tied)
    compare(model, *batch(T, K, padded=False), 1e-10)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_equal_the_loop_at_random_shapes(xp, data):
    heads, depth = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    T = data.draw(st.integers(1, 9))
    K = data.draw(st.integers(1, T))
    changes = {
        "hidden_size": heads * data.draw(st.integers(1, 4)),
        "num_attention_heads": heads,
        "num_hidden_layers": depth,
        "intermediate_size": data.draw(st.integers(1, 12)),
        "vocab_size": data.draw(st.integers(3, 20)),
        "max_position_embeddings": 9,
        "tie_word_embeddings": data.draw(st.booleans()),
    }
    model = tiny.model(**changes)
    padded, seed = data.draw(st.booleans()), data.draw(st.integers(0, 99))
    budget = data.draw(st.sampled_from([1, 20_000, 1 << 25]))
    # a width of one or two makes LayerNorm's output constant, and squares as small as rounding: held to the largest norm
    ids, positions, _, mask = batch(T, K, model.config.vocab_size, padded, seed=seed)
    expected = norms(token_loop(model, ids, positions, mask))
    found = backend.to_host(token_gradient_norms(model, ids, positions, mask, memory_budget=budget))
    numpy.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * expected.max())


def test_both_forms_of_sequence_norms_are_met(xp, monkeypatch):
    """Short sequences take the Gram tables, long ones multiply out: both agree with the loop, and both are used."""
    used = []
    original = norms_module.GradientNormAccumulator._multiply_out
    monkeypatch.setattr(
        norms_module.GradientNormAccumulator,
        "_multiply_out",
        lambda self, name, *a: used.append(name) or original(self, name, *a),
    )
    for T, long in [(3, False), (40, True)]:
        used.clear()
        model = tiny.model(max_position_embeddings=T)
        ids, positions, weights, mask = batch(T, 2)
        expected = norms(sequence_loop(model, ids, positions, weights, mask))
        for found in (
            sequence_gradient_norms(model, ids, positions, weights),
            gradients_and_norms(model, ids, positions, weights)[2],
        ):
            numpy.testing.assert_allclose(backend.to_host(found), expected, rtol=1e-10)
        assert ("layer0.qkv" in used) == long


def test_the_gradient_read_beside_the_norms_is_the_gradient(xp):
    for T in (3, 40):
        model = tiny.model(max_position_embeddings=T)
        ids, positions, weights, _ = batch(T, 2)
        loss, expected = gradients(model, ids, positions, weights)
        loss_beside, found, _ = gradients_and_norms(model, ids, positions, weights)
        assert loss_beside == pytest.approx(loss, rel=1e-12)
        for name, gradient in tiny.host(found).items():
            numpy.testing.assert_allclose(gradient, backend.to_host(expected[name]), rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_batch_is_the_weighted_sum_of_its_tokens(xp):
    model = tiny.model()
    ids, positions, weights, _ = batch(6, 3)
    whole = tiny.host(gradients(model, ids, positions, weights)[1])
    total = {name: numpy.zeros_like(value) for name, value in whole.items()}
    for b, j in numpy.ndindex(positions.shape):
        alone = numpy.zeros(positions.shape)
        alone[b, j] = 1.0
        for name, value in tiny.host(gradients(model, ids, positions, alone)[1]).items():
            total[name] += weights[b, j] * value
    for name, value in whole.items():
        numpy.testing.assert_allclose(value, total[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_chunks_and_order_change_nothing(xp):
    model = tiny.model(num_hidden_layers=3)
    ids, positions, weights, mask = batch(6, 4, padded=True)
    expected = backend.to_host(token_gradient_norms(model, ids, positions, mask))
    for budget in (1, 40_000, 1 << 30):
        found = backend.to_host(token_gradient_norms(model, ids, positions, mask, memory_budget=budget))
        numpy.testing.assert_allclose(found, expected, rtol=1e-12)
    order = [2, 0, 1]
    found = backend.to_host(token_gradient_norms(model, ids[order], positions[order], mask[order]))
    numpy.testing.assert_allclose(found, expected[order], rtol=1e-12)
    expected = backend.to_host(sequence_gradient_norms(model, ids, positions, weights, mask))
    found = backend.to_host(sequence_gradient_norms(model, ids[order], positions[order], weights[order], mask[order]))
    numpy.testing.assert_allclose(found, expected[order], rtol=1e-12)


def test_sentences_with_equally_many_masks_go_together(xp, monkeypatch):
    """However many a budget allows together, nothing changes."""
    counts = [2, 2, 2, 0, 1, 1, 4, 2]
    starts = numpy.cumsum([0, *counts])
    chunks = [
        [(some.start, some.stop, tokens.stop - tokens.start) for some, tokens in norms_module._chunks(starts, replicas)]
        for replicas in (1, 3, 4, 99)
    ]
    assert [(b, b + 1, 1) for b, count in enumerate(counts) for _ in range(count)] == chunks[0]
    assert chunks[1] == [(0, 1, 2), (1, 2, 2), (2, 3, 2), (4, 6, 2), (6, 7, 3), (6, 7, 1), (7, 8, 2)]
    assert chunks[2] == [(0, 2, 4), (2, 3, 2), (4, 6, 2), (6, 7, 4), (7, 8, 2)]
    assert chunks[3] == [(0, 3, 6), (4, 6, 2), (6, 7, 4), (7, 8, 2)]

    tiny.cut(monkeypatch, len(counts))
    model = tiny.model(num_hidden_layers=3)
    ids, positions, _, _ = batch(6, 4, B=len(counts))
    for row, count in zip(positions, counts, strict=True):
        row[count:] = -1
    expected = norms(token_loop(model, ids, positions))
    for replicas in (1, 3, 4, 99):
        monkeypatch.setattr(norms_module, "_replicas_that_fit", lambda *_, replicas=replicas: replicas)
        numpy.testing.assert_allclose(backend.to_host(token_gradient_norms(model, ids, positions)), expected, rtol=1e-10)


def test_groups_add_up_and_name_every_part(xp):
    model = tiny.model(num_hidden_layers=2)
    ids, positions, weights, _ = batch(6, 3)
    names = {"word embedding", "positions and types", "LayerNorms", "head"}
    names |= {f"layer {i} {part}" for i in (0, 1) for part in ("attention", "feed-forward")}
    groups = {name: backend.to_host(value) for name, value in token_squares(model, ids, positions).items()}
    assert set(groups) == names
    whole = backend.to_host(token_gradient_norms(model, ids, positions))
    numpy.testing.assert_allclose(sum(groups.values()), whole**2, rtol=1e-12)
    groups = {name: backend.to_host(value) for name, value in sequence_squares(model, ids, positions, weights).items()}
    assert set(groups) == names
    for name, expected in sequence_loop(model, ids, positions, weights).items():
        numpy.testing.assert_allclose(groups[name], expected, rtol=1e-10, err_msg=name)


def test_sentences_without_masks_have_norm_zero(xp):
    model = tiny.model()
    positions = numpy.array([[1, 4], [-1, -1], [2, -1]])
    found = backend.to_host(sequence_gradient_norms(model, tiny.IDS, positions))
    assert found[1] == 0
    assert (found[[0, 2]] > 0).all()
    assert (backend.to_host(token_gradient_norms(model, tiny.IDS, positions)) > 0).tolist() == (positions != -1).tolist()


def test_a_budget_must_be_positive(xp):
    with pytest.raises(InputError, match="memory_budget must be a positive number of bytes, not 0"):
        token_gradient_norms(tiny.model(), tiny.IDS, tiny.POSITIONS, memory_budget=0)


def test_the_output_bound_is_exact_for_an_untied_decoder(xp):
    model = tiny.model(tie_word_embeddings=False)
    ids, positions, _, mask = batch(6, 3, padded=True, ragged=True)
    bounds = backend.to_host(output_norm_bound(model, ids, positions, mask))
    assert (bounds[positions == -1] == 0).all()
    for b, j in zip(*numpy.nonzero(positions != -1), strict=True):
        alone = numpy.zeros(positions.shape)
        alone[b, j] = len(ids)
        decoder = gradients(model, ids, positions, alone, mask)[1]["head.decoder.weight"]
        assert bounds[b, j] == pytest.approx(numpy.linalg.norm(backend.to_host(decoder)), rel=1e-12)
    exact = backend.to_host(token_gradient_norms(model, ids, positions, mask))
    assert (bounds <= exact).all()
    assert backend.to_host(token_losses(model, ids, positions, mask)).shape == bounds.shape
