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


def test_rows_of_unequal_length():
    refused("rows must be of equal length: pad the shorter ones", ids=[[4, 5, 6], [2, 9]])
    refused("rows must be of equal length: pad the shorter ones", positions=[[1, 4], [2], [0, 1]])


def test_float_ids():
    refused("token ids must be integers, not float64", ids=tiny.IDS * 1.0)


@pytest.mark.parametrize("bad", [-1, 11])
def test_ids_out_of_range(bad):
    ids = tiny.IDS.copy()
    ids[1, 2] = bad
    refused(f"token ids must lie between 0 and 10, but at (1, 2) stands {bad}", ids=ids)


def test_ids_of_one_axis():
    with pytest.raises(InputError, match=r"token ids must be of shape \(sentences, tokens\), not \(6,\)"):
        sentence_batch(tiny.config(), tiny.IDS[0])


def test_no_sentences():
    with pytest.raises(InputError, match=r"token ids must be of shape \(sentences, tokens\), not \(0, 6\)"):
        sentence_batch(tiny.config(), tiny.IDS[:0])


def test_too_long():
    refused(
        "a sentence of 6 tokens is longer than the model's 5; cut it or use a larger max_position_embeddings",
        changes={"max_position_embeddings": 5},
    )


def test_types_out_of_range():
    refused("token type ids must lie between 0 and 1, but at (0, 0) stands 2", token_type_ids=tiny.TYPES + 2)


def test_types_of_another_shape():
    refused("token_type_ids must be of the ids' shape (3, 6), not (1, 6)", token_type_ids=tiny.TYPES[:1])


def test_padding_of_another_shape():
    refused("attention_mask must be of the ids' shape (3, 6), not (3, 5)", attention_mask=tiny.PADDING[:, :5])


def test_padding_that_is_not_0_or_1():
    refused("attention_mask must hold 1 at tokens and 0 at padding, nothing else", attention_mask=tiny.PADDING * 0.5)


def test_a_sentence_of_padding_alone():
    with pytest.raises(InputError, match="sentence 1 of the batch is all padding"):
        sentence_batch(tiny.config(), tiny.IDS, numpy.array([[1] * 6, [0] * 6, [1] * 6]))


def test_positions_of_another_shape():
    refused("positions must be of shape (3, masked), not (2, 2)", positions=tiny.POSITIONS[:2])
    refused("positions must be of shape (3, masked), not (3,)", positions=tiny.POSITIONS[:, 0])


def test_float_positions():
    refused("masked positions must be integers, not float64", positions=tiny.POSITIONS * 1.0)


@pytest.mark.parametrize("bad", [-2, 6])
def test_positions_out_of_range(bad):
    positions = tiny.POSITIONS.copy()
    positions[0, 0] = bad
    refused(f"masked positions must lie between 0 and 5, but at (0,) stands {bad}", positions=positions)


def test_positions_repeated():
    refused("a position is masked twice in one sentence", positions=numpy.array([[1, 4], [3, 3], [5, 2]]))


def test_positions_on_padding():
    refused(
        "a masked position lies on padding", positions=numpy.array([[1, 4], [5, 3], [5, 2]]), attention_mask=tiny.PADDING
    )


def test_no_position():
    refused("no position is masked: there is nothing to guess", positions=numpy.full((3, 2), -1))


def test_no_mask_token():
    refused(
        "the model knows no [MASK]: give BertConfig a mask_token_id, or from_pretrained mask_token_id=...",
        changes={"mask_token_id": None},
    )
