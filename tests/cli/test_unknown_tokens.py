"""Text that is [UNK] to the tokenizer: counted once, reported, and refused where there is hardly anything else."""

import json
import re

import pytest

from minimapnet.text import tokenizer, tokens
from minimapnet.text.load import load_corpus
from tests.helpers.command_cases import assert_refused, called, train
from tests.helpers.text_cases import WORDS, made_up


def pieces(folder):
    """Write a vocab.txt of the words alone."""
    (folder / "vocab.txt").write_text("\n".join([*tokenizer.SPECIAL, *WORDS, "."]), encoding="utf-8")
    return folder / "vocab.txt"


def text(folder, share: float):
    """Write sentences of some 8 words and a full stop, `share` of whose tokens no tokenizer knows."""
    words = " ".join(made_up(400)).split()
    known, every = [], round(1 / share) if share else len(words) + 1
    for number, word in enumerate(words):
        known.append("ξ" + "." * word.endswith(".") if number % every == every - 1 else word)
    (folder / "text.txt").write_text(" ".join(known).replace(". ", ".\n\n"), encoding="utf-8")


def warnings(result) -> list[str]:
    return re.findall(r"^minimapnet: warning: (.*)$", result.stderr, re.MULTILINE)


@pytest.mark.parametrize(("share", "warned"), [(0, 0), (0.02, 0), (0.1, 1), (0.5, 1)])
@pytest.mark.parametrize("layout", ["packed", "sentences"])
def test_unknown_tokens_are_counted_and_told_also_from_the_cache(tmp_path, capsys, share, warned, layout):
    text(tmp_path, share)
    file, lines = pieces(tmp_path), []
    for out in ("first", "second"):
        options = ("--tokenizer", file, "--out", tmp_path / out, "--steps", 2, "--layout", layout, "--max-length", 16)
        result = called(capsys, *train(tmp_path, *options))
        assert result.returncode == 0
        lines.append([*warnings(result), *re.findall(r"^Of its tokens .*$", result.stdout, re.MULTILINE)])
    assert lines[0] == lines[1]
    corpus = load_corpus(tmp_path / "text.txt", tmp_path / "cache", file, max_length=16)
    everything = (tmp_path / "text.txt").read_text(encoding="utf-8")
    read = tokenizer.for_plain_text(tokenizer.read(file)).encode(everything, add_special_tokens=False).ids
    assert corpus.unknown_share == pytest.approx(read.count(1) / len(read), abs=0.01)
    assert lines[0][-1] == f"Of its tokens {corpus.unknown_share:.2%} are [UNK]."
    assert len(lines[0]) == warned + 1
    if warned:
        assert lines[0][0].startswith(f"{corpus.unknown_share:.1%} of the tokens of text.txt are [UNK]")


@pytest.mark.parametrize("content", ["Мама мыла раму. ", "我们学习。", "ΔΕΛΤΑ. ", "\U0001f600 \U0001f601 \U0001f602. "])
@pytest.mark.parametrize("command", ["train", "variance"])
def test_text_that_is_all_unknown_is_refused_also_from_the_cache(tmp_path, capsys, content, command):
    lines = [content * (1 + number % 3) + "ω" * number for number in range(600)]  # short ones, each with its [SEP]
    (tmp_path / "text.txt").write_text("\n\n".join(lines).replace(".", ""), encoding="utf-8")
    (tmp_path / "one").mkdir()
    (tmp_path / "one/vocab.txt").write_text("\n".join([*tokenizer.SPECIAL, *WORDS]), encoding="utf-8")
    places = ("--text", tmp_path / "text.txt", "--cache", tmp_path / "cache", "--out", tmp_path / "run")
    options = (*places, "--tokenizer", tmp_path / "one/vocab.txt", "--max-length", 12)
    if command == "variance":
        assert called(capsys, *train(tmp_path, "--text", "grammar", "--max-length", 101, "--steps", 1)).returncode == 0
        options = (*places[:4], "--preset", "smoke", "--checkpoint", tmp_path / "run", "--out", tmp_path / "other")
    for _ in range(2):
        result = called(capsys, command, *options)
        assert_refused(result, "100% of the tokens of text.txt are [UNK]", "use a tokenizer made from this text")
    assert not (tmp_path / ("other" if command == "variance" else "run")).exists()


def test_few_characters_of_a_large_alphabet(tmp_path, capsys):
    """A tokenizer of our own that is too small for its text is told of as well."""
    chinese = ["".join(chr(0x4E00 + number * place % 2000) for place in range(1, 30)) + "。" for number in range(2, 400)]
    (tmp_path / "text.txt").write_text("\n\n".join(chinese), encoding="utf-8")
    result = called(capsys, *train(tmp_path, "--tokenizer", "characters", "--vocab-size", 600))
    assert result.returncode == 0 and len(warnings(result)) == 1
    result = called(capsys, *train(tmp_path, "--tokenizer", "characters", "--vocab-size", 16, "--out", tmp_path / "other"))
    assert_refused(result, "of the tokens of text.txt are [UNK]", "with more tokens")


def test_the_count_is_in_the_index_of_the_cache(tmp_path):
    text(tmp_path, 0.1)
    load_corpus(tmp_path / "text.txt", tmp_path / "cache", pieces(tmp_path), max_length=16)
    (index,) = tmp_path.glob("cache/text-*/about.json")
    counts = json.loads(index.read_text(encoding="utf-8"))
    for part, read in tokens.read(index.parent).items():
        assert [read.text, read.unknown] == counts[part][2:]
        assert read.text == read.sentences[:, 1].sum() < len(read.tokens)
        assert read.unknown == (read.tokens == 1).sum() > 0
