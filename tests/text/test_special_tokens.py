"""Special tokens: found by their roles whatever they are called, framed alike everywhere, and never made of plain text."""

import json

import numpy
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from minimapnet import Bert, BertConfig
from minimapnet.errors import InputError
from minimapnet.model import pretrained
from minimapnet.special_tokens import find
from minimapnet.text import tokenizer as kinds
from minimapnet.text.batches import GivenRows
from minimapnet.text.load import load_corpus
from tests.helpers.command_cases import assert_refused, called, text_file, train
from tests.helpers.text_cases import WORDS, written

ROLES = ("pad", "unk", "cls", "sep", "mask")
NAMES = {
    "BERT": kinds.SPECIAL,
    "RoBERTa": ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),
    "ESM": ("<pad>", "<unk>", "<cls>", "<eos>", "<mask>"),
    "bars": ("<|pad|>", "<|unk|>", "<|bos|>", "<|eos|>", "<|mask|>"),
    "capitals": ("<PAD>", "<UNK>", "<CLS>", "<SEP>", "<MASK>"),
    "mixed": ("[pad]", "<unknown>", "[CLS]", "</s>", "{MASK}"),
}
every_name = pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)


def vocabulary(names, *more) -> list[str]:
    """Return words between which the special tokens are."""
    words = ["a", *names[:2], "b", *names[2:], *WORDS, *map(str.capitalize, WORDS), ".", *more]
    return list(dict.fromkeys([*words, *(word + "." for word in WORDS)]))


def of_words(names, added=(), framed=False, model=None) -> Tokenizer:
    """Return a tokenizer of what is between blanks."""
    numbers = {word: number for number, word in enumerate(vocabulary(names))}
    made = Tokenizer(model(numbers, names[1]) if model else models.WordLevel(numbers, unk_token=names[1]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(list(added))
    if framed:
        ends = [(name, made.token_to_id(name)) for name in names[2:4]]
        made.post_processor = processors.TemplateProcessing(single=[names[2], "$A", names[3]], special_tokens=ends)
    return made


def wordpiece(names) -> Tokenizer:
    return of_words(names, names, model=lambda numbers, unk: models.WordPiece(numbers, unk_token=unk))


def bpe(names) -> Tokenizer:
    return of_words(names, model=lambda numbers, unk: models.BPE(numbers, [], unk_token=unk, fuse_unk=True))


def unigram(names) -> Tokenizer:
    pieces = [(piece, -1.0) for piece in vocabulary(names)]
    made = Tokenizer(models.Unigram(pieces, unk_id=vocabulary(names).index(names[1])))
    made.add_special_tokens([names[4]])
    return made


def added_behind(names) -> Tokenizer:
    """Return one whose special tokens are not in its model's vocabulary, and others behind them."""
    numbers = {word: number for number, word in enumerate(["a", "b", *WORDS, names[1]])}
    made = Tokenizer(models.WordLevel(numbers, unk_token=names[1]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_tokens(["first"])
    made.add_special_tokens([names[0], *names[2:]])
    made.add_tokens(["last"])
    return made


def added_as_words(names) -> Tokenizer:
    """Return one whose special tokens were added as if they were words, and are found in whatever is lower-cased to them."""
    made = of_words(names)
    made.normalizer = normalizers.Lowercase()
    made.add_tokens([AddedToken(name, normalized=True) for name in names])
    return made


MAKERS = (of_words, lambda names: of_words(names, names, True), wordpiece, bpe, unigram, added_behind, added_as_words)
every_kind = pytest.mark.parametrize(
    "make", MAKERS, ids=["words", "framed", "wordpiece", "bpe", "unigram", "behind", "added"]
)


def saved(made, folder):
    folder.mkdir(exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


@every_name
@every_kind
def test_plain_text_never_becomes_a_special_token(tmp_path, names, make):
    made = kinds.read(saved(make(names), tmp_path))
    special = {name: made.token_to_id(name) for name in names}
    plain = kinds.for_plain_text(made)
    texts = [text for name in names for text in (name, f"a {name} b", f"a{name}b {name}{name}", name.lower(), f"{name} .")]
    for encoding in plain.encode_batch(texts, add_special_tokens=False):
        assert not set(encoding.ids) & {number for name, number in special.items() if name != names[1]}
    for word in ("a", "the", "last"):  # what is no special token has the id that it had
        assert plain.encode(word, add_special_tokens=False).ids == made.encode(word, add_special_tokens=False).ids
    for text in ("a", *(f"a {name}" for name in names)):
        assert plain.encode(text).ids == plain.encode(text, add_special_tokens=False).ids
    assert special[names[4]] in made.encode(f"a {names[4]} b").ids


@every_name
@every_kind
def test_the_roles_are_found(tmp_path, names, make):
    made = kinds.read(saved(make(names), tmp_path))
    found = kinds.special_tokens(made)
    assert [(special.text, special.id) for special in found] == [(name, made.token_to_id(name)) for name in names]
    assert pretrained.token_id(tmp_path, {}, "mask_token", None) == found.mask.id
    assert pretrained.token_id(tmp_path, {}, "pad_token", None) == found.pad.id


@every_name
def test_the_roles_of_a_vocab_txt(tmp_path, names):
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary(names)), encoding="utf-8")
    made = kinds.read(tmp_path / "vocab.txt")
    assert [special.text for special in kinds.special_tokens(made)] == list(names)
    assert made.encode(f"a {names[4]}. xyz").tokens == [names[2], "a", names[4], ".", names[1], names[3]]
    assert pretrained.token_id(tmp_path, {}, "mask_token", None) == vocabulary(names).index(names[4])
    kinds.save(made, tmp_path / "saved")
    about = json.loads((tmp_path / "saved/tokenizer_config.json").read_text(encoding="utf-8"))
    assert {role: about[f"{role}_token"] for role in ROLES} == dict(zip(ROLES, names, strict=True))


def test_words_are_no_special_tokens_and_berts_names_go_first():
    words = {word: number for number, word in enumerate(("mask", "s", "/s", "(s)", "pad", "a<s>", "<a mask>", "<s"))}
    assert find(words) == {}
    both = {"<s>": 0, "[CLS]": 1, "<mask>": 2, "[MASK]": 3, "(here)": 4}
    assert {role: special.text for role, special in find(both).items()} == {"cls": "[CLS]", "mask": "[MASK]"}
    assert find(both, {"mask": "(here)"})["mask"].id == 4
    assert find(both, {"mask": "(nowhere)"})["mask"].id == 3


@pytest.mark.parametrize("missing", range(5))
@every_name
def test_a_role_that_nothing_has_is_named(tmp_path, names, missing):
    some = [name if number != missing else "word" for number, name in enumerate(names)]
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(some), encoding="utf-8")
    with pytest.raises(InputError, match=rf"vocab.txt has no \[{ROLES[missing].upper()}\]: it needs"):
        kinds.read(file)


# One way to make rows


@every_name
@every_kind
def test_rows_of_training_and_of_a_guess_are_alike(tmp_path, names, make):
    file = saved(make(names), tmp_path)
    text = load_corpus(written(tmp_path / "text.txt", 400), tmp_path / "cache", file, max_length=20, layout="sentences")
    special, raw = kinds.special_tokens(text.tokenizer), text.tokenizer
    row = text.train.batch([0])
    inside = row.ids[0][row.maskable[0]]
    assert row.ids[0].tolist() == [special.cls.id, *inside, special.sep.id]
    words = " ".join(raw.id_to_token(int(token)) for token in inside)
    given = GivenRows(kinds.encode_masked(raw, [words, f"{words} [MASK]", f"{names[4]} {words}"]), raw)
    assert len(given) == 3
    batch = given.batch([0, 1, 2])
    assert (batch.ids[:, 0] == special.cls.id).all()
    assert [(ids == special.sep.id).sum() for ids in batch.ids] == [1, 1, 1]
    assert [(ids == special.mask.id).sum() for ids in batch.ids] == [0, 1, 1]
    ends = [ids[: mask.sum()][-1] for ids, mask in zip(batch.ids, batch.attention_mask, strict=True)]
    assert ends == [special.sep.id] * 3


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("names", [NAMES["BERT"], NAMES["RoBERTa"]])
def test_fill_mask_reads_a_row_as_training_made_it(tmp_path, capsys, names, framed):
    made = of_words(names, names, framed)
    file = saved(made, tmp_path / "model")
    number = {name: made.token_to_id(name) for name in names}
    config = BertConfig(
        len(made.get_vocab()), 16, 1, 2, 16, 12, mask_token_id=number[names[4]], pad_token_id=number[names[0]]
    )
    model = Bert(config, seed=1)
    model.save_pretrained(tmp_path / "model")
    ids = [number[names[2]], made.token_to_id("the"), number[names[4]], number[names[3]]]
    logits = model.logits(numpy.array([ids]))[0, 2]
    best = made.id_to_token(int(logits.argmax()))
    for mask in {"[MASK]", names[4]}:
        result = called(capsys, "fill-mask", file.parent, f"the {mask}", "--top", 1)
        assert (result.returncode, result.stdout.split(" %  ")[1].strip()) == (0, best)
    assert_refused(called(capsys, "fill-mask", file.parent, "the"), "the text has no [MASK]")


def test_a_run_with_another_name_for_the_mask(tmp_path, capsys):
    text_file(tmp_path)
    file = saved(of_words(NAMES["ESM"]), tmp_path)
    result = called(capsys, *train(tmp_path, "--tokenizer", file))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].endswith('"the <mask> is"')
    assert called(capsys, "fill-mask", tmp_path / "run", "the <mask> is").returncode == 0
    assert "<mask> is" in called(capsys, "info", tmp_path / "run").stdout
