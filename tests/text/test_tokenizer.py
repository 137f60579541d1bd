"""Tokenizers: trained, of characters, of whole words, the user's; and how they are saved."""

import json
import os
import random
import subprocess
import sys

import numpy
import pytest
from tokenizers import Tokenizer

from minimapnet import Bert, BertConfig
from minimapnet.errors import InputError
from minimapnet.model import pretrained
from minimapnet.text import tokenizer
from minimapnet.text.load import load_corpus
from tests.helpers.command_cases import assert_refused, called, text_file, train
from tests.helpers.text_cases import WORDS, made_up, written

VOCABULARY = [*tokenizer.SPECIAL, "the", "re", "##ad", "##s", "."]


def test_the_tokenizer_is_the_same_in_another_process():
    """The library's trainer by itself gives another tokenizer in each process."""
    code = (
        "from tests.helpers import text_cases; from minimapnet.text.tokenizer import train_wordpiece; "
        "print(train_wordpiece(text_cases.made_up(500), 90).to_str())"
    )
    path = os.pathsep.join(sys.path)
    runs = [
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
        for _ in range(3)
    ]
    assert [run.stderr for run in runs] == [""] * 3
    assert len({run.stdout for run in runs}) == 1
    assert runs[0].stdout.strip() == tokenizer.train_wordpiece(made_up(500), 90).to_str()


def test_wordpiece_frames_sentences_and_gives_them_back():
    trained = tokenizer.train_wordpiece(made_up(500), 200)
    assert [trained.id_to_token(i) for i in range(5)] == list(tokenizer.SPECIAL)
    encoding = trained.encode("The model reads this.")
    assert encoding.tokens[0] == "[CLS]"
    assert encoding.tokens[-1] == "[SEP]"
    assert trained.decode(encoding.ids) == "the model reads this."
    assert trained.encode("the [MASK]").tokens[2] == "[MASK]"
    assert "[UNK]" in trained.encode("日").tokens


def test_wordpiece_keeps_to_its_size_with_a_large_alphabet():
    chinese = [chr(0x4E00 + i % 900) + chr(0x4E00 + i * 7 % 900) for i in range(3000)]
    assert tokenizer.train_wordpiece(chinese, 256).get_vocab_size() <= 256


def test_characters_give_the_text_back_letter_by_letter():
    made = tokenizer.characters(["Ab c", "b\nb😀"], 100)
    encoding = made.encode("bA 😀\nb?")
    assert encoding.tokens == ["[CLS]", "b", "A", " ", "😀", "\n", "b", "[UNK]", "[SEP]"]
    assert made.decode(made.encode("Ab c b").ids) == "Ab c b"
    assert made.get_vocab_size() == 5 + len("Ab c\n😀")
    assert made.encode("b[MASK]").tokens == ["[CLS]", "b", "[MASK]", "[SEP]"]


def test_characters_keep_the_most_frequent():
    made = tokenizer.characters(["aaa bbb cd"], 8)
    assert sorted(made.get_vocab(), key=made.get_vocab().get) == [*tokenizer.SPECIAL, " ", "a", "b"]


def test_special_tokens_in_plain_text_are_the_authors_words():
    for made in (tokenizer.train_wordpiece(made_up(500), 200), tokenizer.characters(["[MASK]"], 50)):
        ids = tokenizer.for_plain_text(made).encode("the [MASK] and [SEP]", add_special_tokens=False).ids
        assert not {made.token_to_id(token) for token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")} & set(ids)
        assert made.token_to_id("[MASK]") in made.encode("the [MASK]").ids  # the tokenizer itself still knows them


def test_a_saved_tokenizer_is_read_again(tmp_path):
    trained = tokenizer.train_wordpiece(made_up(500), 200)
    tokenizer.save(trained, tmp_path / "new")
    again = tokenizer.read(tmp_path / "new" / "tokenizer.json")
    assert again.to_str() == trained.to_str()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        tokenizer.save(trained, tmp_path / "file")


@pytest.mark.oracle
def test_transformers_reads_what_we_save(tmp_path):
    transformers = pytest.importorskip("transformers")
    for made in (tokenizer.train_wordpiece(made_up(500), 200), tokenizer.characters(made_up(20), 50)):
        tokenizer.save(made, tmp_path)
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        text = "The model reads [MASK] text."
        assert theirs(text)["input_ids"] == made.encode(text).ids
        assert (theirs.mask_token, theirs.pad_token_id) == ("[MASK]", made.token_to_id("[PAD]"))


def test_vocab_txt_is_berts_wordpiece(tmp_path):
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    made = tokenizer.read(file)
    assert made.encode("The reads.").tokens == ["[CLS]", "the", "re", "##ad", "##s", ".", "[SEP]"]
    assert made.token_to_id("##ad") == VOCABULARY.index("##ad")
    file.write_text("\n".join([*VOCABULARY, "The"]), encoding="utf-8")
    assert tokenizer.read(file).encode("The the THE").tokens[1:-1] == ["The", "the", "[UNK]"]


@pytest.mark.parametrize(
    "exotic", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\u3000", " b", "a\u2028b"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["utf-8", "utf-8-sig"])
def test_a_line_of_vocab_txt_is_a_piece_whatever_it_holds(tmp_path, exotic, end, mark):
    """Blanks belong to it, and no character but the line feed ends it; the model's reader counts in the same way."""
    pieces = [*tokenizer.SPECIAL, *"abcdef", exotic, *"ghijkl"]
    (tmp_path / "vocab.txt").write_bytes(end.join(pieces).encode(mark))
    made = tokenizer.read(tmp_path / "vocab.txt")
    assert made.get_vocab() == {piece: number for number, piece in enumerate(pieces)}
    assert (made.token_to_id("g"), made.encode("g").ids[1]) == (12, 12)
    assert pretrained.token_id(tmp_path, {}, "mask_token", None) == 4


def test_an_empty_line_of_vocab_txt_has_a_number(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*tokenizer.SPECIAL, "", "a", "", ""]), encoding="utf-8")
    assert tokenizer.read(tmp_path / "vocab.txt").get_vocab() == {**{t: i for i, t in enumerate(tokenizer.SPECIAL)}, "a": 6}


def test_a_byte_order_mark_before_a_tokenizer_json(tmp_path):
    trained = tokenizer.train_wordpiece(made_up(100), 100)
    (tmp_path / "tokenizer.json").write_text(trained.to_str(), encoding="utf-8-sig")
    assert tokenizer.read(tmp_path / "tokenizer.json").to_str() == trained.to_str()


@pytest.mark.oracle
def test_vocab_txt_gives_the_ids_that_transformers_gives(tmp_path):
    transformers = pytest.importorskip("transformers")
    file = tmp_path / "vocab.txt"
    pieces = tokenizer.train_wordpiece(made_up(500), 150).get_vocab()
    file.write_text("\n".join(sorted(pieces, key=pieces.get)), encoding="utf-8")
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    for sentence in made_up(50, seed=1):
        assert tokenizer.read(file).encode(sentence).ids == theirs(sentence)["input_ids"]


def test_a_users_tokenizer_neither_pads_nor_truncates(tmp_path):
    trained = tokenizer.train_wordpiece(made_up(500), 200)
    trained.enable_truncation(4)
    trained.enable_padding(length=40)
    trained.save(str(tmp_path / "tokenizer.json"))
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).padding is not None
    made = tokenizer.read(tmp_path / "tokenizer.json")
    assert len(made.encode("the model reads the text").ids) == 7


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{", "cannot read the tokenizer"),
        ("tokenizer.json", "[]", "cannot read the tokenizer"),
        ("tokenizer.json", b"\xff\xfe", "is not UTF-8"),
        ("vocab.txt", "\n".join(VOCABULARY[:4]), r"has no \[MASK\]: it needs \[PAD\] \[UNK\]"),
        ("vocab.txt", "", r"has no \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_says_why(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message) as caught:
        tokenizer.read(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_tokenizer_json_without_mask_is_refused(tmp_path):
    file = tmp_path / "tokenizer.json"
    tokenizer.train_wordpiece(made_up(100), 100).save(str(file))
    file.write_text(file.read_text().replace("[MASK]", "[HIDE]"), encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer\.json has no \[MASK\]"):
        tokenizer.read(file)


def test_tokenizer_files_that_are_not_there(tmp_path):
    for path, reason in ((tmp_path / "none.json", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=f"cannot read .*: {reason}.*; a tokenizer is"):
            tokenizer.read(path)


def with_gaps(folder) -> dict:
    """Write a tokenizer.json in which ids are left out, and return its vocabulary."""
    content = json.loads(tokenizer.word_level(WORDS).to_str())
    for entry in content["added_tokens"]:
        entry["id"] *= 3
    content["model"]["vocab"] = {word: 3 * number for word, number in content["model"]["vocab"].items()}
    content["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return content["model"]["vocab"]


def test_the_size_of_a_vocabulary_is_its_largest_id_plus_1(tmp_path):
    vocabulary = with_gaps(tmp_path)
    made = tokenizer.read(tmp_path / "tokenizer.json")
    assert made.get_vocab() == vocabulary
    assert tokenizer.id_bound(made) == 1 + max(vocabulary.values()) > made.get_vocab_size()
    lines = [*tokenizer.SPECIAL, "a", "##b", "a", "a", "##b", "c"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    made = tokenizer.read(tmp_path / "vocab.txt")
    assert (made.get_vocab_size(), tokenizer.id_bound(made), made.token_to_id("c")) == (8, 11, 10)
    assert numpy.flatnonzero(tokenizer.continues_word(made)).tolist() == [9]
    assert len(tokenizer.continues_word(made)) == 11
    large = tokenizer.word_level([])
    large.add_tokens([f"word{number}" for number in range(10)])
    assert tokenizer.id_bound(large) == 15


@pytest.mark.parametrize("kind", ["gaps", "repeated"])
def test_training_with_ids_left_out(tmp_path, capsys, kind):
    text_file(tmp_path)
    if kind == "gaps":
        with_gaps(tmp_path)
    else:
        pieces = [*tokenizer.SPECIAL, "the", "the", ".", "of", *WORDS, ".", "last"]
        (tmp_path / "tokenizer.txt").write_text("\n".join(pieces), encoding="utf-8")
    (file,) = tmp_path.glob("tokenizer.*")
    size = tokenizer.id_bound(tokenizer.read(file))
    assert called(capsys, *train(tmp_path, "--tokenizer", file)).returncode == 0
    assert json.loads((tmp_path / "run/step-00000006/config.json").read_text())["vocab_size"] == size
    assert called(capsys, "fill-mask", tmp_path / "run", "the [MASK]").returncode == 0
    start = ("--text", tmp_path / "text.txt", "--cache", tmp_path / "cache", "--checkpoint", tmp_path / "run", "--steps", 2)
    assert called(capsys, "train", *start, "--max-length", 12, "--out", tmp_path / "next").returncode == 0
    Bert(BertConfig(size - 1, 16, 1, 2, 16, 12, mask_token_id=4, pad_token_id=0)).save_pretrained(tmp_path / "small")
    small = ("--checkpoint", tmp_path / "small", "--tokenizer", file, "--max-length", 12, "--out", tmp_path / "other")
    assert_refused(called(capsys, "train", *start, *small), f"ids for {size} pieces, the model only {size - 1}")


def test_more_than_65536_ids_take_32_bits_however_few_the_tokens(tmp_path):
    pieces = [*tokenizer.SPECIAL, *WORDS, *[""] * 70_000, ".", "last"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    text = load_corpus(written(tmp_path / "text.txt", 300), tmp_path / "cache", tmp_path / "vocab.txt", max_length=12)
    assert (text.train.batch(range(20)).ids == len(pieces) - 2).any()


@pytest.mark.parametrize("letters", ["acgt", "abcdefghijklmnopqrstuvwxyz", "ดตถทนบปผ", "😀😁😂🤣"])
@pytest.mark.parametrize("length", [101, 10_000])
def test_long_words_are_not_unknown(letters, length):
    rng = random.Random(0)
    words = ["".join(rng.choices(letters, k=length)) for _ in range(3)]
    for made in (tokenizer.train_wordpiece(words, 100), tokenizer.characters(words, 100)):
        tokens = made.encode(words[0], add_special_tokens=False).tokens
        assert "[UNK]" not in tokens
        assert "".join(token.removeprefix("##") for token in tokens) == words[0]


def test_words_of_a_hundred_letters_are_whole():
    made = tokenizer.train_wordpiece(["ab" * 50], 100)
    begun = [token for token in made.encode("ab" * 50 + " ab").tokens[1:-1] if not token.startswith("##")]
    assert len(begun) == 2
    begun = [token for token in made.encode("ab" * 50 + "a").tokens[1:-1] if not token.startswith("##")]
    assert len(begun) == 2


def test_an_alphabet_of_many_letters_takes_what_it_needs():
    """Of a thousand Chinese characters, all equally frequent, 99.9 % are known in a vocabulary of 1,100."""
    letters = [chr(0x4E00 + i) for i in range(1000)]
    lines = ["".join(random.Random(seed).sample(letters, 1000)) for seed in range(3)]
    made = tokenizer.train_wordpiece(lines, 1100)
    assert made.get_vocab_size() <= 1100
    assert made.encode(lines[0]).tokens.count("[UNK]") <= 1
    assert tokenizer.train_wordpiece(lines, 256).encode(lines[0]).tokens.count("[UNK]") == 1000 - 251
