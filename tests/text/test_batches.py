"""Rows from tokens on disk, and the order in which training reads them."""

import math
from collections import Counter
from itertools import chain

import numpy
import pytest

from minimapnet.errors import InputError
from minimapnet.text import batches, tokens
from minimapnet.text.parts import PARTS, TRAIN
from minimapnet.text.tokenizer import for_plain_text, train_wordpiece
from tests.helpers.text_cases import made_up

PAD, UNK, CLS, SEP, MASK = range(5)


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(made_up(500), 200)


def write(folder, tokenizer, sentences, last=()):
    """Write sentences as the training part, a document's end behind those numbered in `last`; return that part."""
    found = ((TRAIN, sentence, place in last) for place, sentence in enumerate(sentences))
    tokens.write(folder, found, tokenizer)
    return tokens.read(folder)[TRAIN]


def codes(tokenizer, sentence) -> list[int]:
    return for_plain_text(tokenizer).encode(sentence, add_special_tokens=False).ids


def test_tokens_are_all_tokens_with_sep_behind_documents(tmp_path, tokenizer):
    sentences = [*made_up(7), "the [SEP] and [MASK] of the text."]
    part = write(tmp_path, tokenizer, sentences, last=(2, 7))
    expected = [codes(tokenizer, s) + ([SEP] if place in (2, 7) else []) for place, s in enumerate(sentences)]
    assert part.tokens.tolist() == list(chain.from_iterable(expected))
    assert part.tokens.dtype == numpy.uint16
    assert isinstance(part.tokens, numpy.memmap)
    assert [part.tokens[start : start + count].tolist() for start, count in part.sentences] == [
        codes(tokenizer, sentence) for sentence in sentences
    ]
    assert Counter(part.tokens.tolist())[SEP] == 2


def test_many_blocks_are_one_after_the_other(tmp_path, tokenizer, monkeypatch):
    whole = write(tmp_path / "whole", tokenizer, made_up(50), last=range(0, 50, 7))
    monkeypatch.setattr(tokens, "ENCODED_TOGETHER", 3)
    blocks = write(tmp_path / "blocks", tokenizer, made_up(50), last=range(0, 50, 7))
    assert (whole.tokens == blocks.tokens).all()
    assert (whole.sentences == blocks.sentences).all()


def test_a_large_vocabulary_takes_32_bits(tmp_path):
    from minimapnet.text.tokenizer import word_level

    words = [f"w{i}" for i in range(70_000)]
    part = write(tmp_path, word_level(words), ["w69999 w0"])
    assert part.tokens.dtype == numpy.uint32
    assert part.tokens.tolist() == [70_004, 5]


def test_what_is_not_whole_is_not_read(tmp_path, tokenizer):
    write(tmp_path, tokenizer, made_up(9))
    assert tokens.read(tmp_path / "nowhere") is None
    for name in ("train.npy", "test-sentences.npy", tokens.ABOUT):
        whole = (tmp_path / name).read_bytes()
        for content in (whole[:-1], whole[:20], b"", None):
            (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
            if not (name == tokens.ABOUT and content == whole[:-1]):  # without its last line end it is as good
                assert tokens.read(tmp_path) is None, (name, content)
        (tmp_path / name).write_bytes(whole)
        assert tokens.read(tmp_path) is not None


def test_nothing_is_left_of_writing_that_fails(tmp_path, tokenizer):
    def broken():
        yield TRAIN, "the text", True
        raise InputError("the text is broken")

    with pytest.raises(InputError, match="the text is broken"):
        tokens.write(tmp_path, broken(), tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_a_growing_array_is_an_ordinary_npy_file(tmp_path):
    file = tmp_path / "a.npy"
    with tokens.growing(file, numpy.int64, (2,)) as array:
        array.add([])
        for i in range(20):
            array.add([(i, i), (i, 2 * i)])
    expected = numpy.array([(i, factor * i) for i in range(20) for factor in (1, 2)])
    assert (numpy.load(file) == expected).all()
    assert (tokens.mapped(file) == expected).all()
    with tokens.growing(file, numpy.uint16):
        pass
    assert tokens.mapped(file).shape == (0,)


def test_packed_rows_are_full_and_give_the_text_back(tmp_path, tokenizer):
    part = write(tmp_path, tokenizer, made_up(100), last=range(4, 100, 5))
    rows = batches.PackedRows(part, tokenizer, 16)
    assert len(rows) == len(part.tokens) // 15
    assert rows.lengths.tolist() == [16] * len(rows)
    batch = rows.batch(numpy.arange(len(rows)))
    assert (batch.ids.dtype, batch.attention_mask.dtype, batch.maskable.dtype) == (numpy.int64, numpy.int8, bool)
    assert (batch.ids[:, 0] == CLS).all()
    assert batch.ids[:, 1:].reshape(-1).tolist() == part.tokens[: 15 * len(rows)].tolist()
    assert batch.attention_mask.all()
    assert (batch.maskable == ~numpy.isin(batch.ids, (CLS, SEP, PAD))).all()
    assert 0 < (batch.ids == SEP).sum() <= 20
    some = rows.batch([3, 1, 3])
    assert (some.ids == batch.ids[[3, 1, 3]]).all()


def test_sentence_rows_pad_frame_and_continue_long_sentences(tmp_path, tokenizer):
    sentences = ["the the the the", " ".join(["the"] * 25), "the " * 6]  # the first is too short
    part = write(tmp_path, tokenizer, sentences, last=(0, 2))
    rows = batches.SentenceRows(part, tokenizer, 12)
    assert rows.lengths.tolist() == [12, 12, 7, 8]  # 25 words are 10 + 10 + 5
    batch = rows.batch(numpy.arange(4))
    assert batch.ids.shape == (4, 12)
    the = tokenizer.token_to_id("the")
    for row, mask, maskable, length in zip(batch.ids, batch.attention_mask, batch.maskable, rows.lengths, strict=True):
        assert row.tolist() == [CLS] + [the] * (length - 2) + [SEP] + [PAD] * (12 - length)
        assert mask.tolist() == [1] * length + [0] * (12 - length)
        assert maskable.tolist() == [False] + [True] * (length - 2) + [False] * (13 - length)
    assert rows.batch([2, 3]).ids.shape == (2, 8)
    assert rows.batch([2]).ids.shape == (1, 7)


def test_sentence_rows_are_the_sentences(tmp_path, tokenizer, monkeypatch):
    sentences = made_up(200)
    part = write(tmp_path, tokenizer, sentences, last=range(0, 200, 3))
    monkeypatch.setattr(batches, "SPANS_TOGETHER", 7)
    rows = batches.SentenceRows(part, tokenizer, 64)
    kept = [found for sentence in sentences if len(found := codes(tokenizer, sentence)) >= batches.SHORTEST]
    batch = rows.batch(numpy.arange(len(rows)))
    assert [row[mask].tolist() for row, mask in zip(batch.ids, batch.maskable, strict=True)] == kept
    again = batches.SentenceRows(part, tokenizer, 64)
    assert (again.lengths == rows.lengths).all()


class OfLengths(batches.TokenRows):
    """Rows of which only the lengths matter."""

    def __init__(self, lengths):
        self._lengths = numpy.asarray(lengths)

    def __len__(self):
        return len(self._lengths)

    @property
    def lengths(self):
        return self._lengths

    def _spans(self, which):
        raise NotImplementedError


@pytest.mark.parametrize(("count", "size"), [(1000, 7), (50, 7), (5, 3), (1, 2), (2, 9)])
def test_every_row_is_read_once_an_epoch(count, size):
    rows = OfLengths(numpy.random.default_rng(0).integers(7, 60, count))
    steps = 2 * batches.SORTED_BATCHES * (-(-count // size))
    read = numpy.concatenate([batches.rows_of_step(rows, size, 0, step) for step in range(steps)])
    counts = numpy.bincount(read, minlength=count)
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == steps * size


def test_steps_hold_rows_of_like_length_in_random_order():
    lengths = numpy.random.default_rng(0).integers(7, 60, 5000)
    rows = OfLengths(lengths)
    drawn = [lengths[batches.rows_of_step(rows, 30, 0, step)] for step in range(batches.SORTED_BATCHES)]
    assert numpy.mean([batch.max() - batch.min() for batch in drawn]) < 8  # 53 without sorting
    means = [batch.mean() for batch in drawn]
    assert means != sorted(means)


def test_a_step_follows_from_seed_and_step_alone():
    rows, same = OfLengths(numpy.full(100, 9)), OfLengths(numpy.full(100, 9))
    first = batches.rows_of_step(rows, 8, 3, 17)
    for step in (900, 18, 0):
        batches.rows_of_step(same, 8, 3, step)
    assert (first == batches.rows_of_step(same, 8, 3, 17)).all()
    assert (first != batches.rows_of_step(rows, 8, 4, 17)).any()
    assert (first != batches.rows_of_step(rows, 8, 3, 18)).any()
    first[:] = -1  # what is given out may be written to
    assert (batches.rows_of_step(rows, 8, 3, 17) >= 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 1000, 4096, 70_000])
def test_shuffled_is_an_order_of_all_numbers(count):
    order = batches.shuffled(numpy.arange(count), count, 0, 0)
    assert (numpy.sort(order) == numpy.arange(count)).all()
    some = numpy.random.default_rng(0).integers(0, count, 10)
    assert (batches.shuffled(some, count, 0, 0) == order[some]).all()
    if count > 100:
        assert abs(numpy.corrcoef(order[:-1], order[1:])[0, 1]) < 5 / math.sqrt(count)
        assert abs(numpy.corrcoef(order, numpy.arange(count))[0, 1]) < 5 / math.sqrt(count)
        other = batches.shuffled(numpy.arange(count), count, 0, 1)
        assert (order == other).sum() < 12  # one, on average


def test_shuffled_puts_every_number_everywhere():
    """Over many seeds each of 6 numbers stands at each of 6 places equally often, and so does each pair of neighbours."""
    trials = 3600
    orders = numpy.array([batches.shuffled(numpy.arange(6), 6, seed, 0) for seed in range(trials)])
    counts = numpy.array([numpy.bincount(column, minlength=6) for column in orders.T])
    assert (abs(counts - trials / 6) < 5 * math.sqrt(trials * 5 / 36)).all()
    pairs = numpy.bincount(orders[:, 0] * 6 + orders[:, 1], minlength=36).reshape(6, 6)[~numpy.eye(6, dtype=bool)]
    assert (abs(pairs - trials / 30) < 5 * math.sqrt(trials / 30)).all()


def test_unigram_entropy_by_hand(tmp_path, tokenizer):
    from minimapnet.text.tokenizer import word_level

    words = word_level(["a", "b", "c"])
    train = batches.SentenceRows(write(tmp_path / "train", words, ["a a a b b"]), words, 9)
    judged = batches.SentenceRows(write(tmp_path / "judged", words, ["a c c b a"]), words, 9)
    share = {"a": 4 / 13, "b": 3 / 13, "c": 1 / 13}  # 5 tokens, and 8 added
    expected = -sum(math.log(share[word]) for word in "accba") / 5
    assert batches.unigram_entropy(train, judged, 8) == pytest.approx(expected, rel=1e-12)


def test_parts_are_apart(tmp_path, tokenizer):
    found = [(PARTS[place % 3], sentence, True) for place, sentence in enumerate(made_up(30))]
    tokens.write(tmp_path, iter(found), tokenizer)
    for number, part in enumerate(tokens.read(tmp_path).values()):
        expected = [codes(tokenizer, sentence) for sentence in made_up(30)[number::3]]
        assert [part.tokens[start : start + count].tolist() for start, count in part.sentences] == expected


@pytest.mark.parametrize("width", [3, 4, 7])
def test_no_row_is_without_a_token_to_mask(tmp_path, tokenizer, width):
    """Documents of one token, of none (what the tokenizer drops), and of several sentences without any."""
    sentences = ["the", "\x01", "text", "\u200d\x02", "\x03", "model", "\x04", "the", "\x05", "of the text."] * 5
    for last in (range(50), range(1, 50, 2), range(2, 50, 3)):
        part = write(tmp_path / f"{last.start}{last.step}", tokenizer, sentences, last=last)
        assert not ((part.tokens[1:] == SEP) & (part.tokens[:-1] == SEP)).any() and part.tokens[0] != SEP
        rows = batches.PackedRows(part, tokenizer, width)
        assert len(rows) > 5
        assert rows.batch(range(len(rows))).maskable.any(axis=1).all()
