"""`load_corpus`: from a name or a path to rows, cached, in bounded memory; and what it refuses."""

import gzip
import json
import os
import random
import string
import subprocess
import sys
import tracemalloc
from functools import cache, partial

import numpy
import pytest

from minimapnet.errors import InputError
from minimapnet.text import batches, grammar, load, parts, sources, tokens
from minimapnet.text import tokenizer as kinds
from minimapnet.text.load import load_corpus
from tests.helpers.text_cases import made_up, written


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("text") / "text.txt", 600)


def sentences_of(rows) -> list[list[int]]:
    batch = rows.batch(numpy.arange(len(rows)))
    return [row[maskable].tolist() for row, maskable in zip(batch.ids, batch.maskable, strict=True)]


@pytest.mark.parametrize("layout", ["packed", "sentences", "lines"])
@pytest.mark.parametrize("tokenizer", ["wordpiece", "characters"])
def test_the_three_parts_of_a_file_share_no_sentence(file, tmp_path, layout, tokenizer):
    text = load_corpus(str(file), tmp_path, tokenizer, vocab_size=200, max_length=40, layout=layout)
    assert text.name == "text.txt"
    assert text.vocab_size == text.tokenizer.get_vocab_size() <= 200
    assert (text.pad_token_id, text.mask_token_id) == (0, 4)
    rows = {part: getattr(text, part) for part in parts.PARTS}
    assert len(rows["train"]) > 4 * len(rows["validation"]) > 0 < len(rows["test"])
    for found in rows.values():
        assert found.lengths.max() <= 40
        assert not (found.batch([0]).ids == text.tokenizer.token_to_id("[UNK]")).any()
    if layout != "packed" and tokenizer == "wordpiece":  # by characters a sentence is longer than a row
        everything = [tuple(ids) for found in rows.values() for ids in sentences_of(found)]
        assert len(set(everything)) > 400
        train, validation, test = (set(map(tuple, sentences_of(found))) for found in rows.values())
        assert not train & validation and not train & test and not validation & test


def test_the_grammar_is_read_a_word_a_token(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "GRAMMAR_SENTENCES", 500)
    text, ours = load_corpus("grammar", tmp_path, layout="sentences"), grammar.read()
    assert text.vocab_size == len(ours.vocabulary) + 5
    assert set(text.train.lengths.tolist()) == {18}
    for ids in sentences_of(text.validation)[:5]:
        words = [text.tokenizer.id_to_token(number) for number in ids]
        assert (ours.log_probs(words) > -numpy.inf).all()
    assert len(text.train) + len(text.validation) + len(text.test) == 500


def test_every_part_of_the_grammar_has_all_templates(tmp_path, monkeypatch):
    """Where sentences repeat, what is held out must not empty the training part of them."""
    monkeypatch.setattr(sources, "GRAMMAR_SENTENCES", 20_000)
    text = load_corpus("grammar", tmp_path, layout="sentences")
    last = {}
    for part in parts.PARTS:
        words = [text.tokenizer.id_to_token(ids[0]) for ids in sentences_of(getattr(text, part))]
        last[part] = sum(word == "what" for word in words) / len(words)
    assert last["train"] > 0.3
    assert last["train"] == pytest.approx(last["validation"], abs=0.06) == pytest.approx(last["test"], abs=0.06)


def test_python_docs_in_packed_rows(tmp_path):
    text = load_corpus("python-docs", tmp_path, "characters", vocab_size=100)
    assert (text.train.lengths == 64).all()
    assert len(text.train) > 3000
    assert text.train.batch([0]).maskable.sum() > 60


def test_what_was_read_is_not_read_again(file, tmp_path, monkeypatch):
    first = load_corpus(file, tmp_path, vocab_size=100)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.split("-")[0] for name in names] == ["text", "tokenizer"]
    with monkeypatch.context() as inner:
        inner.setattr(parts, "survey", None)
        inner.setattr(tokens, "write", None)
        again = load_corpus(file, tmp_path, vocab_size=100)
        load_corpus(file, tmp_path, vocab_size=100, layout="sentences", max_length=30)
    assert again.tokenizer.to_str() == first.tokenizer.to_str()
    assert (again.train.batch([0, 5]).ids == first.train.batch([0, 5]).ids).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_the_cache_is_keyed_by_text_and_tokenizer(file, tmp_path, monkeypatch):
    def folders():
        return len([path for path in tmp_path.iterdir() if path.is_dir()])

    load_corpus(file, tmp_path, vocab_size=100)
    load_corpus(file, tmp_path, vocab_size=60)
    assert folders() == 2
    load_corpus(file, tmp_path, "characters", vocab_size=100)
    assert folders() == 3
    load_corpus(written(tmp_path / "other.txt", 600, seed=1), tmp_path, "characters", vocab_size=100)
    assert folders() == 4
    monkeypatch.setattr(load, "VERSION", -1)
    load_corpus(file, tmp_path, "characters", vocab_size=100)
    assert folders() == 5


@pytest.mark.parametrize("damage", ["train.npy", "validation-sentences.npy", "about.json", "tokenizer"])
def test_a_damaged_cache_is_written_again(file, tmp_path, damage):
    first = load_corpus(file, tmp_path, vocab_size=100)
    (hurt,) = tmp_path.glob("tokenizer-*" if damage == "tokenizer" else f"text-*/{damage}")
    whole = hurt.read_bytes()
    hurt.write_bytes(whole[: len(whole) // 2])
    again = load_corpus(file, tmp_path, vocab_size=100)
    assert hurt.read_bytes() == whole
    assert (again.train.batch([3]).ids == first.train.batch([3]).ids).all()


def test_the_same_bytes_in_another_process(file, tmp_path):
    code = (
        f"from minimapnet.text.load import load_corpus; load_corpus({str(file)!r}, {str(tmp_path / 'b')!r}, vocab_size=100)"
    )
    load_corpus(file, tmp_path / "a", vocab_size=100)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 8
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_tokenizer_of_the_users_goes_with_any_text(file, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "GRAMMAR_SENTENCES", 500)
    kinds.save(kinds.train_wordpiece(made_up(500), 200), tmp_path / "theirs")
    theirs = tmp_path / "theirs" / "tokenizer.json"
    for source in (file, "grammar"):
        text = load_corpus(source, tmp_path / "cache", theirs)
        assert text.tokenizer.to_str() == kinds.read(theirs).to_str()
        assert len(text.train) > 0


def peak_of(count: int, folder) -> int:
    """Return the most bytes that Python and NumPy held while a text of `count` sentences became rows."""
    source = sources.of_grammar(count)
    source = sources.Source("text", str(count), source.documents)  # its words are not known: WordPiece is trained
    tracemalloc.start()
    try:
        tokenizer, written = load.prepared(source, folder, "wordpiece", 300)
        rows = batches.SentenceRows(written["train"], tokenizer, 20)
        for step in range(40):
            rows.batch(batches.rows_of_step(rows, 8, 0, step))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_ten_times_the_text_takes_the_same_memory(tmp_path, monkeypatch):
    """With the bounds made smaller, so that a small text reaches them."""
    monkeypatch.setattr(parts, "HELD_OUT_SENTENCES", 60)
    monkeypatch.setattr(parts, "SAMPLE_CHARACTERS", 30_000)
    monkeypatch.setattr(tokens, "ENCODED_TOGETHER", 64)
    monkeypatch.setattr(batches, "SPANS_TOGETHER", 64)
    monkeypatch.setattr(grammar, "BLOCK", 64)
    peak_of(100, tmp_path)  # what is read and made once
    small, large = peak_of(1_000, tmp_path), peak_of(10_000, tmp_path)
    assert large < 1.3 * small


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "text.txt is empty"),
        (b" \n\n\t ", "text.txt is empty"),
        (b"One. Two. Three.", "text.txt is too short: each part needs a row of 64 tokens"),
        (b"text\0text", "is not a text file: byte 4 is zero"),
        (b"caf\xe9", "is not UTF-8: byte 3 is 0xe9"),
    ],
)
def test_an_unusable_text_says_why_and_leaves_nothing(tmp_path, content, message):
    file = tmp_path / "text.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_corpus(file, tmp_path / "cache", "characters")
    assert "\n" not in str(caught.value)
    found = [path for path in tmp_path.rglob("*") if path.is_file() and path.name.startswith(".")]
    assert found == []


def test_a_text_that_ends_in_damage_is_refused(tmp_path):
    file = tmp_path / "text.txt.gz"
    file.write_bytes(gzip.compress("\n\n".join(made_up(5000)).encode())[:-20])
    with pytest.raises(InputError, match="is not a whole gzip file"):
        load_corpus(file, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_a_text_too_short_for_three_parts_says_how_short(tmp_path):
    file = written(tmp_path / "few.txt", 40)
    found = r"train: \d+ sentences, [\d,]+ tokens, 0 rows; validation: \d+ sentences, \d+ tokens, 0 rows; test: .*"
    message = rf"few\.txt is too short: each part needs a row of 2000 tokens \({found}\); give more text .* --max-length"
    with pytest.raises(InputError, match=message):
        load_corpus(file, tmp_path, "characters", max_length=2000)


def test_other_input_that_cannot_be_used(file, tmp_path):
    for options, message in (
        ({"max_length": 2}, "a row of 2 tokens is too short: at least 3 are needed"),
        ({"max_length": 6, "layout": "sentences"}, "a row of 6 tokens is too short: at least 7 are needed"),
        ({"vocab_size": 10}, "a vocabulary of 10 tokens is too small"),
        ({"tokenizer": tmp_path / "none.json"}, "cannot read .*none.json: No such file"),
        ({"max_length": 3, "layout": "lines"}, "a row of 3 tokens is too short: at least 4 are needed"),
        ({"layout": "diagonal"}, "layout must be one of packed, sentences, lines, not 'diagonal'"),
        ({"validation": tmp_path / "nowhere"}, "there is no text .*nowhere"),
        ({"source": tmp_path / "nowhere"}, "there is no text .*nowhere: give a file, a folder, or one of python-docs"),
        ({"cache": file}, "cannot write"),
    ):
        arguments = {"source": file, "cache": tmp_path, **options}
        with pytest.raises(InputError, match=message):
            load_corpus(**arguments)


def lower_case(count: int) -> list[str]:
    return [sentence.lower().rstrip(".") for sentence in made_up(count)]


@cache
def kinds_of_text() -> dict[str, str]:
    """Return texts without sentences that end: 3,000 lines, 200, one line without blanks, ideographs, letters, a log."""
    rng = random.Random(0)
    letters = "".join(rng.choices("acgt", k=10_000))
    return {
        "lower": "\n".join(lower_case(3000)),
        "few": "\n".join(lower_case(200)),
        "one line": "".join(rng.choices(string.ascii_lowercase, k=150_000)),
        "chinese": "".join(rng.choices([chr(0x4E00 + i) for i in range(300)], k=60_000)),
        "fasta": "\n".join(f">read {i}\n{letters[i * 7 : i * 7 + 60 + i]}" for i in range(200)),
        "reads": "\n".join("".join(rng.choices("ACGT", k=3000)) for _ in range(120)),
        "log": "\n".join(f"2026-11-{i % 28 + 1} INFO worker[{i % 91}]: heartbeat {i % 700}" for i in range(4000)),
        "same": "\n".join("all is well" if i % 3 else f"entry {i} of many" for i in range(3000)),
    }


@pytest.mark.parametrize("tokenizer", ["wordpiece", "characters"])
@pytest.mark.parametrize("layout", load.LAYOUTS)
@pytest.mark.parametrize("kind", kinds_of_text())
def test_any_text_becomes_rows_in_three_parts(tmp_path, kind, layout, tokenizer):
    file = tmp_path / "text"
    file.write_text(kinds_of_text()[kind], encoding="utf-8")
    if (kind, layout) == ("one line", "lines"):
        file.write_text("\n".join(kinds_of_text()[kind][i : i + 999] for i in range(0, 150_000, 999)))
    text = load_corpus(file, tmp_path / "cache", tokenizer, 400, 32, layout)
    rows = [len(getattr(text, part)) for part in parts.PARTS]
    assert 0.6 < rows[0] / sum(rows) < 0.95
    assert min(rows) > 0.02 * sum(rows)
    for part in parts.PARTS:
        batch = getattr(text, part).batch(numpy.arange(len(getattr(text, part))))
        unknown = (batch.ids == text.tokenizer.token_to_id("[UNK]")).sum()
        assert unknown < 0.01 * batch.maskable.sum()
    again = load_corpus(file, tmp_path / "other", tokenizer, 400, 32, layout)
    assert (again.validation.batch([0]).ids == text.validation.batch([0]).ids).all()


def test_a_line_is_a_row(tmp_path):
    file, lines = tmp_path / "text.txt", [f"Word {word}. And more" for word in range(1000)]
    file.write_text("\n".join(["a", *lines]), encoding="utf-8")  # one token by itself is no row
    text = load_corpus(file, tmp_path / "cache", "characters", layout="lines")
    found = []
    for part in parts.PARTS:
        rows = getattr(text, part)
        found += ["".join(map(text.tokenizer.id_to_token, ids)) for ids in sentences_of(rows)]
    assert sorted(found) == sorted(lines)


def test_a_text_to_validate_on_is_the_validation_part(file, tmp_path):
    other = tmp_path / "other.txt"
    theirs = [f"{sentence} It is theirs." for sentence in made_up(100, seed=5)]
    other.write_text("\n\n".join([*theirs, *made_up(600)[:200]]), encoding="utf-8")  # what the main text has, too
    read = partial(load_corpus, file, tmp_path / "cache", vocab_size=200, layout="lines")
    alone, text = read(), read(validation=other)
    assert text.name == alone.name == "text.txt"
    assert len(text.validation) == 300
    train, validation, test = (set(map(tuple, sentences_of(getattr(text, part)))) for part in parts.PARTS)
    assert not train & validation and not test & validation and not train & test
    assert 250 < len(text.train) < 400
    with pytest.raises(InputError, match="is too short: it has 600 sentences or lines, and none is left to train on"):
        read(validation=file)


def test_a_json_lines_text_by_its_field(tmp_path):
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"body": sentence, "n": 1}) for sentence in made_up(300)))
    text = load_corpus(file, tmp_path, vocab_size=100, layout="sentences", field="body")
    assert len(text.train) + len(text.validation) + len(text.test) > 250
    with pytest.raises(InputError, match=r"texts\.jsonl line 1 has no field 'text': its fields are 'body', 'n'"):
        load_corpus(file, tmp_path, vocab_size=100)


def test_unicode_names_train_in_every_layout(tmp_path):
    for layout in load.LAYOUTS:
        text = load_corpus("unicode-names", tmp_path, layout=layout)
        rows = [len(getattr(text, part)) for part in parts.PARTS]
        assert 0.78 < rows[0] / sum(rows) < 0.82
