"""The exercises of step 3 against the package's attention."""

import numpy
import pytest

from minimapnet.model.attention import attention_backward, attention_forward

T, D = 7, 4


def draw(seed, tokens=T):
    return numpy.random.default_rng(seed).standard_normal((3, tokens, D))


def package(q, k, v):
    """Return the package's output (T, D) for one head, and its cache."""
    out, cache = attention_forward(numpy.concatenate([q, k, v], axis=1)[None], 1)
    return out[0], cache


def test_causal_attention_is_attention_over_the_tokens_so_far(answers):
    q, k, v = draw(0)
    out = answers.causal_attention(q.copy(), k.copy(), v.copy())
    assert out.shape == (T, D)
    for t in range(T):
        expected, _ = package(q[: t + 1], k[: t + 1], v[: t + 1])
        numpy.testing.assert_allclose(out[t], expected[-1], rtol=1e-10)


def test_causal_attention_ignores_whatever_comes_later(answers):
    q, k, v = draw(1)
    before = answers.causal_attention(q.copy(), k.copy(), v.copy())
    k[4:], v[4:] = 1e3, -1e6
    after = answers.causal_attention(q.copy(), k.copy(), v.copy())
    numpy.testing.assert_array_equal(after[:4], before[:4])
    assert not numpy.allclose(after[4:], before[4:])


@pytest.mark.parametrize("place", [0, 3, T - 1])
def test_row_backward_is_the_backward_of_a_gradient_in_one_row(answers, place):
    q, k, v = draw(2)
    dout = numpy.random.default_rng(3).standard_normal(D)
    dq, dk, dv = answers.row_backward(dout.copy(), q.copy(), k.copy(), v.copy(), place)
    _, cache = package(q, k, v)
    everywhere = numpy.zeros((1, T, D))
    everywhere[0, place] = dout
    expected_q, expected_k, expected_v = numpy.split(attention_backward(everywhere, cache)[0], 3, axis=1)
    numpy.testing.assert_allclose(dq, expected_q[place], rtol=1e-10, atol=1e-14)
    numpy.testing.assert_allclose(dk, expected_k, rtol=1e-10, atol=1e-14)
    numpy.testing.assert_allclose(dv, expected_v, rtol=1e-10, atol=1e-14)
    assert numpy.linalg.matrix_rank(dk) == numpy.linalg.matrix_rank(dv) == 1


def test_row_backward_needs_no_square_array(answers):
    tokens = 100_000  # of which a square would take 80 GB
    q, k, v = draw(4, tokens)
    dq, dk, dv = answers.row_backward(numpy.ones(D), q, k, v, 5)
    assert dq.shape == (D,) and dk.shape == dv.shape == (tokens, D)
    numpy.testing.assert_allclose(dk.sum(axis=0), 0, atol=1e-12)  # softmax: the scores' gradients add up to 0


@pytest.mark.parametrize("size", [1, 2, 3, T, 100])
def test_attention_in_pieces_is_attention(answers, size):
    q, k, v = draw(5)
    numpy.testing.assert_allclose(answers.attention_in_pieces(q, k, v, size), package(q, k, v)[0], rtol=1e-10)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("factor", [3000, -3000])
def test_attention_in_pieces_with_scores_that_overflow(answers, size, factor):
    q, k, v = draw(6)
    out = answers.attention_in_pieces(factor * q, k, v, size)
    assert numpy.isfinite(out).all()
    numpy.testing.assert_allclose(out, package(factor * q, k, v)[0], rtol=1e-9, atol=1e-12)


def test_attention_in_pieces_looks_at_every_key(answers):
    q, k, v = numpy.zeros((T, D)), draw(7)[1], draw(7)[2]
    numpy.testing.assert_allclose(answers.attention_in_pieces(q, k, v, 3), numpy.tile(v.mean(axis=0), (T, 1)), rtol=1e-10)
