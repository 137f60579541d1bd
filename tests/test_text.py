"""Text as the laboratory reads it so far: a corpus in two parts, and a sentence a row."""

import numpy
import pytest
from text_cases import made_up

from minimapnet.errors import InputError
from minimapnet.text import corpus, tokenizer
from minimapnet.text import sentence_rows as batches


def test_split_keeps_documents_whole_and_sentences_on_one_side():
    documents = [(f"document {i}", [f"own {i}", f"shared {i % 50}"]) for i in range(400)]
    parts = corpus.split("test", documents)
    assert not set(parts.train) & set(parts.validation)
    assert len(parts.train) + len(parts.validation) == 450  # each shared sentence once
    own = {s for s in parts.validation if s.startswith("own")}
    assert 20 <= len(own) <= 60  # a tenth of 400, within three standard deviations and a little


def test_from_file_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match="there is no file or folder"):
        corpus.from_file(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder"):
        corpus.from_file(tmp_path)


def test_cached_tokenizer_is_read_again_and_depends_on_text_and_size(tmp_path, monkeypatch):
    first = tokenizer.cached_wordpiece(tmp_path, made_up(100), 80)
    (file,) = tmp_path.iterdir()
    tokenizer.cached_wordpiece(tmp_path, made_up(100, seed=1), 80)
    tokenizer.cached_wordpiece(tmp_path, made_up(100), 81)
    assert len(list(tmp_path.iterdir())) == 3
    with monkeypatch.context() as inner:
        inner.setattr(tokenizer, "train_wordpiece", None)
        again = tokenizer.cached_wordpiece(tmp_path, made_up(100), 80)
    assert again.to_str() == first.to_str()
    file.write_text("{")
    assert tokenizer.cached_wordpiece(tmp_path, made_up(100), 80).to_str() == first.to_str()


def test_rows_pad_frame_and_continue_long_sentences():
    trained = tokenizer.train_wordpiece(made_up(500), 200)
    cls, sep = trained.token_to_id("[CLS]"), trained.token_to_id("[SEP]")
    words = " ".join(["the"] * 25)
    made = batches.rows(trained, ["the the the the", words, "the " * 6], 12)  # the first is too short
    assert made.lengths.tolist() == [12, 12, 7, 8]  # 25 words are 10 + 10 + 5
    assert made.maskable.tolist() == [10, 10, 5, 6]
    for row, length in zip(made.ids, made.lengths, strict=True):
        assert row[0] == cls
        assert row[length - 1] == sep
        assert (row[length:] == 0).all()
        assert not numpy.isin(row[1 : length - 1], (0, cls, sep)).any()
    part = made.take(numpy.array([2, 3]))
    assert part.ids.shape == (2, 8)
    assert part.attention_mask.tolist() == [[1] * 7 + [0], [1] * 8]


@pytest.mark.parametrize(("count", "size"), [(1000, 7), (50, 7), (5, 3)])
def test_batches_read_every_sentence_once_an_epoch(count, size):
    lengths = numpy.random.default_rng(0).integers(7, 60, count)
    steps = 2 * batches.SORTED_BATCHES * (-(-count // size))
    read = numpy.concatenate([batches.batch_of_step(lengths, size, 0, step) for step in range(steps)])
    counts = numpy.bincount(read, minlength=count)
    assert counts.max() - counts.min() <= 1
    assert counts.sum() == steps * size


def test_batches_hold_rows_of_like_length_in_random_order():
    lengths = numpy.random.default_rng(0).integers(7, 60, 5000)
    drawn = [lengths[batches.batch_of_step(lengths, 30, 0, step)] for step in range(batches.SORTED_BATCHES)]
    assert numpy.mean([batch.max() - batch.min() for batch in drawn]) < 8  # 53 without sorting
    means = [batch.mean() for batch in drawn]
    assert means != sorted(means)


def test_batches_follow_from_seed_and_step_alone():
    lengths = numpy.full(100, 9)
    first = batches.batch_of_step(lengths, 8, 3, 17)
    assert (first == batches.batch_of_step(lengths, 8, 3, 17)).all()
    assert (first != batches.batch_of_step(lengths, 8, 4, 17)).any()
    assert (first != batches.batch_of_step(lengths, 8, 3, 18)).any()
