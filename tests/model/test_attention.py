"""Attention against finite differences and against its own formula, with and without padding and dropout."""

import numpy
import pytest

from minimapnet import backend
from minimapnet.model.attention import attention_backward, attention_forward, single_query_backward
from tests.helpers.gradient_check import check_elementwise, placed, random_upstream
from tests.helpers.layer_cases import ATTENTIONS, LAYOUTS, arrays_in, draw, keep_mask

PADDED = (ATTENTIONS["padded"], ATTENTIONS["padded-dropped"])
DROPPED = (ATTENTIONS["dropped"], ATTENTIONS["padded-dropped"])
every_attention = pytest.mark.parametrize("case", ATTENTIONS.values(), ids=ATTENTIONS)


@every_attention
def test_gradients_by_finite_differences(xp, case):
    check_elementwise(case.function, case.values, random_upstream(1))


@every_attention
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_gradients_of_inputs_that_are_not_contiguous(xp, case, layout):
    check_elementwise(case.function, case.values, random_upstream(2), {"qkv": layout, "dout": layout})


@every_attention
def test_two_backwards_give_the_same_bits_and_change_nothing(xp, case):
    qkv = placed(case.values)
    out, cache = case.forward(qkv)
    dout = backend.to_device(random_upstream(3)(out.shape))
    before = arrays_in((dout, cache))
    first, second = (backend.to_host(case.gradients(dout, cache)["qkv"]) for _ in range(2))
    numpy.testing.assert_array_equal(first, second)
    for was, now in zip(before, arrays_in((dout, cache)), strict=True):
        numpy.testing.assert_array_equal(now, was)
    numpy.testing.assert_array_equal(backend.to_host(qkv["qkv"]), case.values["qkv"])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_replicas_against_the_cache_of_one_sentence(xp, padded, dropped):
    bias = backend.to_device(numpy.array([0, 0, 0, -1e300]).reshape(1, 1, 1, 4)) if padded else None
    keep = backend.to_device(keep_mask(1, 2, 4, 4)) if dropped else None
    _, cache = attention_forward(placed(draw(qkv=(1, 4, 18)))["qkv"], 2, bias, keep)
    dout = random_upstream(4)((5, 4, 6))  # (R, T, C)
    together = backend.to_host(attention_backward(backend.to_device(dout), cache))
    apart = [backend.to_host(attention_backward(backend.to_device(dout[r : r + 1]), cache)) for r in range(5)]
    numpy.testing.assert_allclose(together, numpy.concatenate(apart), rtol=1e-12, atol=1e-14)


def test_replicas_of_several_sentences(xp):
    """The cache of as many sentences as there are replicas: a mix-up of the axes would show in the numbers alone."""
    R = S = 3
    _, cache = attention_forward(placed(draw(qkv=(S, 4, 18)))["qkv"], 2)
    dout = random_upstream(6)((R, S, 4, 6))  # (R, S, T, C)
    together = backend.to_host(attention_backward(backend.to_device(dout), cache))
    apart = [backend.to_host(attention_backward(backend.to_device(dout[r]), cache)) for r in range(R)]
    numpy.testing.assert_allclose(together, apart, rtol=1e-12, atol=1e-14)


def test_one_row_of_every_replica(xp):
    """The factors of the row's way back, multiplied out, are what the whole way back gives for that row."""
    S, R, T, H, D = 2, 3, 4, 2, 3
    _, cache = attention_forward(placed(draw(qkv=(S, T, 18)))["qkv"], H)
    dmixed, places = random_upstream(7)((S, R, H * D)), numpy.array([[0, 3, 1], [2, 2, 0]])
    dout = numpy.zeros((R, S, T, H * D))
    for s, r in numpy.ndindex(S, R):
        dout[r, s, places[s, r]] = dmixed[s, r]
    dqkv = backend.to_host(attention_backward(backend.to_device(dout), cache)).reshape(R, S, T, 3, H, D)
    found = single_query_backward(backend.to_device(dmixed), cache, backend.to_device(places))
    dq, over_tokens, over_channels = (backend.to_host(array) for array in found)
    for s, r in numpy.ndindex(S, R):
        numpy.testing.assert_allclose(dq[s, r], dqkv[r, s, places[s, r], 0], rtol=1e-12, atol=1e-14)
        outer = numpy.einsum("kt,kd->tkd", over_tokens[s, r], over_channels[s, r]).reshape(T, 2, H, D)
        numpy.testing.assert_allclose(outer, dqkv[r, s, :, 1:], rtol=1e-12, atol=1e-14)


@every_attention
def test_the_formula(xp, case):
    qkv = case.values["qkv"]  # (2, 4, 18)
    out = backend.to_host(case.forward(placed(case.values))[0])
    for b, tokens in enumerate((3, 2) if case in PADDED else (4, 4)):
        for h in range(2):
            q, k, v = (qkv[b, :, 6 * i + 3 * h : 6 * i + 3 * h + 3] for i in range(3))  # (4, 3) each
            scores = numpy.exp(q @ k[:tokens].T / numpy.sqrt(3))  # (4, tokens)
            probs = scores / scores.sum(axis=1, keepdims=True)
            if case in DROPPED:
                probs = probs * keep_mask(2, 2, 4, 4)[b, h, :, :tokens]
            numpy.testing.assert_allclose(out[b, :, 3 * h : 3 * h + 3], probs @ v[:tokens], rtol=1e-12)


def test_padding_receives_no_gradient(xp):
    case = ATTENTIONS["padded"]
    out, cache = case.forward(placed(case.values))
    dout = random_upstream(5)(out.shape)
    dout[0, 3:], dout[1, 2:] = 0, 0  # nothing looks at the padding's own output
    dqkv = backend.to_host(case.gradients(backend.to_device(dout), cache)["qkv"])
    assert not dqkv[0, 3:].any()
    assert not dqkv[1, 2:].any()
    assert dqkv[0, :3].all()
