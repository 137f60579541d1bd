"""What a masked batch holds, and every way in which one can be refused."""

import numpy
import pytest

from minimapnet import InputError, backend
from minimapnet.model.batch import masked_batch, sentence_batch
from tests.helpers import tiny


def refused(message, ids=tiny.IDS, positions=tiny.POSITIONS, changes=None, **more):
    """Assert that the batch is refused with exactly this one line."""
    with pytest.raises(InputError) as error:
        masked_batch(tiny.config(**(changes or {})), ids, positions, **more)
    assert str(error.value) == message


def test_what_it_holds(xp):
    batch = masked_batch(tiny.config(), tiny.IDS, tiny.RAGGED, tiny.PADDING, tiny.TYPES)
    inputs = tiny.IDS.copy()
    inputs[0, 1] = inputs[0, 4] = inputs[1, 3] = 1
    numpy.testing.assert_array_equal(backend.to_host(batch.sentences.inputs), inputs)
    numpy.testing.assert_array_equal(backend.to_host(batch.sentences.types), tiny.TYPES)
    bias = backend.to_host(batch.sentences.bias)
    assert bias.shape == (3, 1, 1, 6)
    assert (bias[tiny.PADDING[:, None, None, :] == 1] == 0).all()
    assert (bias[tiny.PADDING[:, None, None, :] == 0] < -1e300).all()
    numpy.testing.assert_array_equal(backend.to_host(batch.token_index), [1, 4, 9])
    numpy.testing.assert_array_equal(backend.to_host(batch.targets), [5, 7, 3])
    numpy.testing.assert_array_equal(batch.mask_slots, [0, 1, 3])
    numpy.testing.assert_array_equal(batch.starts, [0, 2, 3, 3])


def test_a_part_of_it(xp):
    batch = masked_batch(tiny.config(), tiny.IDS, tiny.RAGGED, tiny.PADDING, tiny.TYPES)
    part = batch.part(slice(1, 3))
    numpy.testing.assert_array_equal(backend.to_host(part.token_index), [3])
    numpy.testing.assert_array_equal(backend.to_host(part.targets), [3])
    numpy.testing.assert_array_equal(part.mask_slots, [3])
    numpy.testing.assert_array_equal(part.starts, [0, 1, 1])
    assert part.sentences.rows == slice(1, 3)
    numpy.testing.assert_array_equal(backend.to_host(part.sentences.types), tiny.TYPES[1:])
    assert part.sentences.bias.shape == (2, 1, 1, 6)


def test_without_padding_there_is_no_bias(xp):
    assert sentence_batch(tiny.config(), tiny.IDS).bias is None
    assert sentence_batch(tiny.config(), tiny.IDS, numpy.ones((3, 6), bool)).bias is None


def test_lists_and_device_arrays_are_taken(xp):
    asked = (backend.to_device(tiny.IDS), backend.to_device(tiny.RAGGED), backend.to_device(tiny.PADDING))
    for given in (asked, tuple(array.tolist() for array in (tiny.IDS, tiny.RAGGED, tiny.PADDING))):
        batch = masked_batch(tiny.config(), *given)
        numpy.testing.assert_array_equal(backend.to_host(batch.token_index), [1, 4, 9])


WIDE = numpy.array([[1, 4], [5, 3], [5, 2]])


def changed(array, place, value):
    array = array.copy()
    array[place] = value
    return array


UNEQUAL = "rows must be of equal length: pad the shorter ones"
OUTSIDE = "masked positions must lie between 0 and 5, but at (0,) stands"
REFUSALS = {
    "rows of unequal length": (UNEQUAL, {"ids": [[4, 5, 6], [2, 9]]}),
    "positions of unequal length": (UNEQUAL, {"positions": [[1, 4], [2], [0, 1]]}),
    "float ids": ("token ids must be integers, not float64", {"ids": tiny.IDS * 1.0}),
    "an id below": ("token ids must lie between 0 and 10, but at (1, 2) stands -1", {"ids": changed(tiny.IDS, (1, 2), -1)}),
    "an id above": ("token ids must lie between 0 and 10, but at (1, 2) stands 11", {"ids": changed(tiny.IDS, (1, 2), 11)}),
    "types out of range": (
        "token type ids must lie between 0 and 1, but at (0, 0) stands 2",
        {"token_type_ids": tiny.TYPES + 2},
    ),
    "types of a shape": ("token_type_ids must be of the ids' shape (3, 6), not (1, 6)", {"token_type_ids": tiny.TYPES[:1]}),
    "padding of a shape": (
        "attention_mask must be of the ids' shape (3, 6), not (3, 5)",
        {"attention_mask": tiny.PADDING[:, :5]},
    ),
    "padding of halves": (
        "attention_mask must hold 1 at tokens and 0 at padding, nothing else",
        {"attention_mask": tiny.PADDING * 0.5},
    ),
    "positions of a shape": ("positions must be of shape (3, masked), not (2, 2)", {"positions": tiny.POSITIONS[:2]}),
    "positions of an axis": ("positions must be of shape (3, masked), not (3,)", {"positions": tiny.POSITIONS[:, 0]}),
    "float positions": ("masked positions must be integers, not float64", {"positions": tiny.POSITIONS * 1.0}),
    "a position below": (f"{OUTSIDE} -2", {"positions": changed(tiny.POSITIONS, (0, 0), -2)}),
    "a position above": (f"{OUTSIDE} 6", {"positions": changed(tiny.POSITIONS, (0, 0), 6)}),
    "repeated": ("a position is masked twice in one sentence", {"positions": numpy.array([[1, 4], [3, 3], [5, 2]])}),
    "on padding": ("a masked position lies on padding", {"positions": WIDE, "attention_mask": tiny.PADDING}),
    "none masked": ("no position is masked: there is nothing to guess", {"positions": numpy.full((3, 2), -1)}),
    "too long": (
        "a sentence of 6 tokens is longer than the model's 5; cut it or use a larger max_position_embeddings",
        {"changes": {"max_position_embeddings": 5}},
    ),
    "no [MASK]": (
        "the model knows no [MASK]: give BertConfig a mask_token_id, or from_pretrained mask_token_id=...",
        {"changes": {"mask_token_id": None}},
    ),
}


@pytest.mark.parametrize(("message", "batch"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_batch(message, batch):
    refused(message, **batch)


def test_ids_of_one_axis():
    with pytest.raises(InputError, match=r"token ids must be of shape \(sentences, tokens\), not \(6,\)"):
        sentence_batch(tiny.config(), tiny.IDS[0])


def test_no_sentences():
    with pytest.raises(InputError, match=r"token ids must be of shape \(sentences, tokens\), not \(0, 6\)"):
        sentence_batch(tiny.config(), tiny.IDS[:0])


def test_a_sentence_of_padding_alone():
    with pytest.raises(InputError, match="sentence 1 of the batch is all padding"):
        sentence_batch(tiny.config(), tiny.IDS, numpy.array([[1] * 6, [0] * 6, [1] * 6]))
