"""`token_losses` and `gradients`: against finite differences, and the same however a batch is cut."""

import numpy
import pytest

from minimapnet import InputError, backend, gradients, gradients_and_norms, token_losses
from minimapnet.kernels import numpy_kernels
from minimapnet.model import parameters
from tests.helpers import tiny
from tests.helpers.gradient_check import ATOL, EPS, RTOL


@pytest.mark.parametrize("tied", [True, False])
def test_every_parameter_by_finite_differences(xp, tied):
    """Everything at once: padding, ragged positions, types, and random weights, which are the upstream gradient."""
    model = tiny.model(num_hidden_layers=2, hidden_size=4, intermediate_size=3, tie_word_embeddings=tied)
    loss, actual = gradients(model, tiny.IDS, tiny.RAGGED, tiny.WEIGHTS, tiny.PADDING, tiny.TYPES)
    start = {name: backend.to_host(value).copy() for name, value in model.params.items()}

    def losses(name, value):
        model.params[name][...] = backend.to_device(value)
        return backend.to_host(token_losses(model, tiny.IDS, tiny.RAGGED, tiny.PADDING, tiny.TYPES))

    for name, value in start.items():
        expected = numpy.empty_like(value)
        for index in numpy.ndindex(value.shape):
            moved = value.copy()
            moved[index] += EPS
            above = losses(name, moved)
            moved[index] -= 2 * EPS
            expected[index] = ((above - losses(name, moved)) * tiny.WEIGHTS).sum() / len(tiny.IDS) / (2 * EPS)
        kept = losses(name, value)
        numpy.testing.assert_allclose(backend.to_host(actual[name]), expected, rtol=RTOL, atol=ATOL, err_msg=name)
    numpy.testing.assert_allclose(loss, (kept * tiny.WEIGHTS).sum() / 3, rtol=1e-12)


def test_shapes_types_and_places(xp):
    model = tiny.model(dtype="float32")
    losses = token_losses(model, tiny.IDS, tiny.RAGGED)
    assert losses.shape == (3, 2)
    assert losses.dtype == numpy.float32
    assert ((backend.to_host(losses) != 0) == (tiny.RAGGED != -1)).all()
    loss, grads = gradients(model, tiny.IDS, tiny.RAGGED)
    assert type(loss) is float
    assert {name: g.shape for name, g in grads.items()} == model.shapes
    assert {g.dtype for g in grads.values()} == {numpy.dtype("float32")}


def test_default_weights_are_one_over_the_count_of_each_sentence(xp):
    model = tiny.model()
    weights = numpy.array([[1 / 2, 1 / 2], [7.0, 1.0], [7.0, 7.0]])  # what stands at -1 must not matter
    loss, grads = gradients(model, tiny.IDS, tiny.RAGGED)
    same_loss, same = gradients(model, tiny.IDS, tiny.RAGGED, weights)
    losses = backend.to_host(token_losses(model, tiny.IDS, tiny.RAGGED))
    numpy.testing.assert_allclose(loss, (losses[0].mean() + losses[1, 1]) / 3, rtol=1e-12)
    assert loss == same_loss
    for name in grads:
        numpy.testing.assert_array_equal(backend.to_host(grads[name]), backend.to_host(same[name]))


def test_the_order_of_positions_does_not_matter(xp):
    model = tiny.model()
    losses = backend.to_host(token_losses(model, tiny.IDS, tiny.POSITIONS))
    swapped = backend.to_host(token_losses(model, tiny.IDS, tiny.POSITIONS[:, ::-1].copy()))
    numpy.testing.assert_allclose(swapped[:, ::-1], losses, rtol=1e-12)


DROPOUT = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}


@pytest.mark.parametrize("edges", [(1, 3), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("key", [None, (5, 8)], ids=["plain", "dropout"])
def test_gradients_do_not_depend_on_the_split(xp, monkeypatch, edges, key):
    model = tiny.model(**DROPOUT)

    def ask():
        batch = (tiny.IDS, tiny.RAGGED, tiny.WEIGHTS, tiny.PADDING, tiny.TYPES)
        loss, grads = gradients(model, *batch, dropout_key=key)
        return loss, tiny.host(grads)

    tiny.cut(monkeypatch, 3)
    loss, whole = ask()
    tiny.cut(monkeypatch, *edges)
    part_loss, parts = ask()
    again_loss, again = ask()
    numpy.testing.assert_allclose(part_loss, loss, rtol=1e-12)
    assert part_loss == again_loss
    for name in whole:
        numpy.testing.assert_allclose(parts[name], whole[name], rtol=1e-10, atol=1e-12, err_msg=name)
        numpy.testing.assert_array_equal(parts[name], again[name])


def test_losses_do_not_depend_on_the_split(xp, monkeypatch):
    model = tiny.model()
    tiny.cut(monkeypatch, 3)
    whole = backend.to_host(token_losses(model, tiny.IDS, tiny.RAGGED, tiny.PADDING))
    tiny.cut(monkeypatch, 1, 2, 3)
    parts = backend.to_host(token_losses(model, tiny.IDS, tiny.RAGGED, tiny.PADDING))
    numpy.testing.assert_allclose(parts, whole, rtol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_and_chunks_of_the_numpy_kernels(monkeypatch, dtype):
    """Ten sentences at once, and in chunks of one on all threads: equal to rounding, and each the same bits again."""
    rng = numpy.random.default_rng(13)
    model = tiny.model(dtype=dtype)
    ids = rng.integers(2, 11, (10, 6))
    positions = numpy.stack([rng.permutation(6)[:2] for _ in ids])
    results = []
    for tokens in (6, 6, 10_000, 10_000):
        monkeypatch.setattr(numpy_kernels, "CHUNK_TOKENS", tokens)
        results.append(gradients(model, ids, positions))
    (loss, small), (loss_again, small_again), (large_loss, large), (_, large_again) = results
    assert loss == loss_again
    tolerance = {"float32": 1e-4, "float64": 1e-12}[dtype]
    assert abs(loss - large_loss) < tolerance
    for name in small:
        numpy.testing.assert_array_equal(small[name], small_again[name])
        numpy.testing.assert_array_equal(large[name], large_again[name])
        numpy.testing.assert_allclose(small[name], large[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_dropout_changes_the_loss_by_key_alone(xp):
    model = tiny.model(**DROPOUT)
    plain, a, same, b = (
        gradients(model, tiny.IDS, tiny.POSITIONS, dropout_key=key)[0] for key in (None, (5, 8), (5, 8), (5, 9))
    )
    assert a == same
    assert len({plain, a, b}) == 3
    assert plain == gradients(tiny.model(), tiny.IDS, tiny.POSITIONS)[0]


def test_accumulated_gradients_are_those_of_the_whole_batch(xp):
    """Parts weighted by their share of the batch add up to the whole."""
    model = tiny.model()
    whole = tiny.host(gradients(model, tiny.IDS, tiny.RAGGED, attention_mask=tiny.PADDING)[1])
    first = tiny.host(gradients(model, tiny.IDS[:1], tiny.RAGGED[:1])[1])
    rest = tiny.host(gradients(model, tiny.IDS[1:], tiny.RAGGED[1:], attention_mask=tiny.PADDING[1:])[1])
    for name in whole:
        numpy.testing.assert_allclose(first[name] / 3 + rest[name] * 2 / 3, whole[name], rtol=1e-9, atol=1e-12)


def test_gradients_change_neither_the_model_nor_the_batch(xp):
    model = tiny.model()
    given = [backend.to_host(model.flat), tiny.IDS, tiny.RAGGED, tiny.WEIGHTS, tiny.PADDING, tiny.TYPES]
    before = [array.copy() for array in given]
    gradients(model, tiny.IDS, tiny.RAGGED, tiny.WEIGHTS, tiny.PADDING, tiny.TYPES)
    token_losses(model, tiny.IDS, tiny.RAGGED, tiny.PADDING, tiny.TYPES)
    for was, now in zip(before, [backend.to_host(model.flat), *given[1:]], strict=True):
        numpy.testing.assert_array_equal(now, was)


def test_weights_of_another_shape_are_refused(xp):
    with pytest.raises(InputError, match=r"weights must be of the positions' shape \(3, 2\), not \(3,\)"):
        gradients(tiny.model(), tiny.IDS, tiny.POSITIONS, numpy.ones(3))


def test_gradients_are_written_into_the_buffer_given(xp):
    model = tiny.model()
    batch = (tiny.IDS, tiny.RAGGED, tiny.WEIGHTS, tiny.PADDING)
    for function in (gradients, gradients_and_norms):
        loss, expected = function(model, *batch)[:2]
        out = backend.xp.full(model.flat.shape, 7.0, "float64")  # of another step
        same_loss, found = function(model, *batch, out=out)[:2]
        assert same_loss == loss
        for name, view in parameters.flat_views(out, model.shapes).items():
            numpy.testing.assert_array_equal(backend.to_host(view), backend.to_host(expected[name]))
            numpy.testing.assert_array_equal(backend.to_host(found[name]), backend.to_host(expected[name]))


def test_a_buffer_of_another_form_is_refused(xp):
    model = tiny.model()
    for out in (backend.xp.empty(3, "float64"), backend.xp.empty(model.flat.shape, "float32")):
        with pytest.raises(InputError, match=r"out must be a buffer like the model's, float64 \(\d+,\)"):
            gradients(model, tiny.IDS, tiny.POSITIONS, out=out)


def test_parts_of_a_batch_with_dropout_add_up_to_the_whole(xp):
    """The third part of the key says where in the step the part begins."""
    model = tiny.model(**DROPOUT)
    whole = tiny.host(gradients(model, tiny.IDS, tiny.POSITIONS, dropout_key=(5, 8))[1])
    first = tiny.host(gradients(model, tiny.IDS[:1], tiny.POSITIONS[:1], dropout_key=(5, 8, 0))[1])
    rest = tiny.host(gradients(model, tiny.IDS[1:], tiny.POSITIONS[1:], dropout_key=(5, 8, 1))[1])
    for name in whole:
        numpy.testing.assert_allclose(first[name] / 3 + rest[name] * 2 / 3, whole[name], rtol=1e-9, atol=1e-12)
