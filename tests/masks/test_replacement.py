"""What stands at masked positions: always [MASK], or BERT's 80/10/10."""

import numpy
import pytest
from scipy import stats

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.masks.replacement import all_mask, bert_mixture

IDS = numpy.array([[5, 6, 7, 8], [9, 5, 5, 6]])
POSITIONS = numpy.array([[0, 3, -1], [1, -1, -1]])
MASK, V = 3, 12


def test_all_mask_puts_mask_at_the_masked_positions_alone(xp):
    found = all_mask(backend.to_device(IDS), backend.to_device(POSITIONS), MASK)
    numpy.testing.assert_array_equal(found, [[MASK, 6, 7, MASK], [9, MASK, 5, 6]])
    assert IDS[0, 0] == 5 and found.dtype == numpy.int64


def test_bert_mixture_is_80_10_10_over_ordinary_tokens():
    rng = numpy.random.default_rng(0)
    ids = numpy.full((200, 300), 5)
    positions = numpy.tile(numpy.arange(0, 300, 2), (200, 1))
    found = bert_mixture(rng, ids, positions, MASK, V, special_ids=[0, 1])
    assert (found[:, 1::2] == 5).all() and (ids == 5).all()
    counts = numpy.bincount(found[:, ::2].ravel(), minlength=V)
    share = numpy.full(V, 0.1 / (V - 3))  # any token but 0, 1 and [MASK]
    share[[0, 1]] = 0
    share[MASK], share[5] = 0.8, 0.1 + 0.1 / (V - 3)
    assert (counts[share == 0] == 0).all()
    assert stats.chisquare(counts[share > 0], counts.sum() * share[share > 0]).pvalue > 1e-3


def test_bert_mixture_does_not_depend_on_what_else_is_masked():
    ids = numpy.random.default_rng(1).integers(4, V, size=(8, 50))
    everything = numpy.tile(numpy.arange(50), (8, 1))
    one = bert_mixture(numpy.random.default_rng(2), ids, everything, MASK, V)
    numpy.testing.assert_array_equal(one, bert_mixture(numpy.random.default_rng(2), ids, everything, MASK, V))
    half = bert_mixture(numpy.random.default_rng(2), ids, everything[:, :25], MASK, V)
    numpy.testing.assert_array_equal(half[:, :25], one[:, :25])
    numpy.testing.assert_array_equal(half[:, 25:], ids[:, 25:])


@pytest.mark.parametrize(
    ("ids", "positions", "message"),
    [
        (IDS, numpy.array([[4], [0]]), "between 0 and 3"),
        (IDS, numpy.array([[1, 1], [0, -1]]), "twice"),
        (IDS, numpy.array([[1]]), "of shape"),
        (IDS, numpy.array([0, 1]), "of shape"),
        (IDS * 1.0, POSITIONS, "integers"),
        (IDS[0], POSITIONS, "token ids must be integers of shape"),
    ],
)
def test_bad_input_is_one_clear_error(ids, positions, message):
    with pytest.raises(InputError, match=message):
        all_mask(ids, positions, MASK)
    with pytest.raises(InputError, match=message):
        bert_mixture(numpy.random.default_rng(0), ids, positions, MASK, V)


def test_bert_mixture_refuses_bad_vocabularies():
    rng = numpy.random.default_rng(0)
    with pytest.raises(InputError, match="token ids must lie between 0 and 6"):
        bert_mixture(rng, IDS, POSITIONS, MASK, 7)
    with pytest.raises(InputError, match="special ids must lie between 0 and 11"):
        bert_mixture(rng, IDS, POSITIONS, MASK, V, special_ids=[12])
    with pytest.raises(InputError, match="every token is special"):
        bert_mixture(rng, IDS, POSITIONS, MASK, V, special_ids=range(V))
