"""Text: cleaning, splitting, the tokenizer, rows and the order of batches."""

import os
import subprocess
import sys

import numpy
import pytest

from minimapnet.errors import InputError
from minimapnet.text import corpus, tokenizer
from minimapnet.text import sentence_rows as batches

WORDS = ("the", "model", "reads", "every", "sentence", "of", "this", "small", "text", "and", "learns", "which", "words")


def made_up(count: int, seed: int = 0) -> list[str]:
    rng = numpy.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 14))).capitalize() + "." for _ in range(count)]


@pytest.fixture(scope="module")
def docs():
    return corpus.python_docs()


def test_prose_drops_what_is_not_made_of_sentences_and_keeps_the_rest():
    text = """Heading words
=============

Return the ``len`` of *values*, see :func:`~math.sqrt` [1].  E.g. a list,
i.e. five well-
known items!

   f(x) = x + 1 if x else {}

* A bullet stands by itself.
* Another one does.

    >>> print("Hello there.")
    Hello there.

expr ::= atom | "(" expr ")"
Is it the end?"""
    assert list(corpus.prose(text)) == [
        "Return the len of values, see math.sqrt.",
        "E.g. a list, i.e. five well-known items!",
        "A bullet stands by itself.",
        "Another one does.",
    ]  # the last stretch begins with a grammar rule, which no capital letter starts


def test_an_example_reaches_to_the_next_blank_line_and_no_further():
    assert list(corpus.prose(">>> 1\nA number.\n\nWhat follows stays.")) == ["What follows stays."]
    assert list(corpus.prose("What stands before stays.\n\n>>> 1\nA number.")) == ["What stands before stays."]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("See Mr. J. Smith, e.g. Here.", ["See Mr.", "J. Smith, e.g. Here."]),
        ("Version 3.5 is it. no capital", ["Version 3.5 is it. no capital"]),
        ("Über alles. Änderung.", ["Über alles.", "Änderung."]),
        ("你好。世界！", ["你好。", "世界！"]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(paragraph, expected):
    assert corpus.sentences(paragraph) == expected


def test_split_keeps_documents_whole_and_sentences_on_one_side():
    documents = [(f"document {i}", [f"own {i}", f"shared {i % 50}"]) for i in range(400)]
    parts = corpus.split("test", documents)
    assert not set(parts.train) & set(parts.validation)
    assert len(parts.train) + len(parts.validation) == 450  # each shared sentence once
    own = {s for s in parts.validation if s.startswith("own")}
    assert 20 <= len(own) <= 60  # a tenth of 400, within three standard deviations and a little


def test_a_document_never_changes_sides():
    many = [(f"document {i}", [f"own {i}"]) for i in range(300)]
    few, all_of_them = corpus.split("few", many[::3]), corpus.split("all", reversed(many))
    assert set(few.train) <= set(all_of_them.train)
    assert set(few.validation) <= set(all_of_them.validation)


def test_python_docs_are_english_prose_of_a_useful_size(docs):
    everything = docs.train + docs.validation
    assert len(everything) > 5000
    assert 0.05 < len(docs.validation) / len(everything) < 0.2
    assert not any("`" in sentence or "::=" in sentence for sentence in everything)
    assert sum(" the " in sentence for sentence in everything) > len(everything) / 4
    assert not set(docs.train) & set(docs.validation)
    assert docs == corpus.python_docs()


def test_python_docs_missing_is_one_clear_line(monkeypatch):
    for source in ("_topics", "_module_docstrings", "_compiled_docstrings"):
        monkeypatch.setattr(corpus, source, dict)
    with pytest.raises(InputError, match="give a text of your own with --text"):
        corpus.python_docs()


def test_from_file_reads_paragraphs_with_any_line_ends_and_a_byte_order_mark(tmp_path):
    file = tmp_path / "text.txt"
    file.write_bytes(b"\xef\xbb\xbfOne two\r\nthree. Four.\r\n\r\nFive six\r\n")
    text = corpus.from_file(file)
    assert sorted(text.train + text.validation) == ["Five six", "Four.", "One two three."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\n\t ", "is empty"),
        (b"text\0text", "is not a text file: byte 4 is zero"),
        (b"caf\xe9 au lait", "is not UTF-8: byte 3 is 0xe9"),
    ],
)
def test_from_file_names_what_is_wrong(tmp_path, content, message):
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        corpus.from_file(file)


def test_from_file_missing_and_folder(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        corpus.from_file(tmp_path / "none.txt")
    with pytest.raises(InputError, match="is a folder"):
        corpus.from_file(tmp_path)


def test_the_tokenizer_is_the_same_in_another_process():
    """The library's trainer by itself gives another tokenizer in each process."""
    code = "import test_text; print(test_text.tokenizer.train_wordpiece(test_text.made_up(500), 90).to_str())"
    path = os.pathsep.join([*sys.path, os.path.dirname(__file__)])
    runs = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        for _ in range(3)
    ]
    assert [run.stderr for run in runs] == [""] * 3
    assert len({run.stdout for run in runs}) == 1
    assert runs[0].stdout.strip() == tokenizer.train_wordpiece(made_up(500), 90).to_str()


def test_tokenizer_frames_sentences_and_gives_them_back():
    trained = tokenizer.train_wordpiece(made_up(500), 200)
    assert [trained.id_to_token(i) for i in range(5)] == list(tokenizer.SPECIAL)
    encoding = trained.encode("The model reads this.")
    assert encoding.tokens[0] == "[CLS]"
    assert encoding.tokens[-1] == "[SEP]"
    assert trained.decode(encoding.ids) == "the model reads this."
    assert trained.encode("the [MASK]").tokens[2] == "[MASK]"
    assert "[UNK]" in trained.encode("日").tokens


def test_tokenizer_keeps_to_its_size_with_a_large_alphabet():
    chinese = [chr(0x4E00 + i % 900) + chr(0x4E00 + i * 7 % 900) for i in range(3000)]
    trained = tokenizer.train_wordpiece(chinese, 256)
    assert trained.get_vocab_size() <= 256


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
