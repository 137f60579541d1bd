"""`minimapnet fill-mask`: what it prints is what the model says, for folders of ours and of Hugging Face's."""

import errno
import io
import json
import os
import shutil

import numpy
import pytest
from scipy import special
from tokenizers import Tokenizer

from minimapnet import Bert, BertConfig
from minimapnet.cli import fill_mask
from minimapnet.proposals import UniformProposal
from minimapnet.text.tokenizer import characters, train_wordpiece
from minimapnet.training import checkpoint
from tests.helpers.command_cases import assert_refused, called
from tests.helpers.text_cases import made_up

TOKENIZER = train_wordpiece(made_up(200), 80)


def save(folder, tokenizer=TOKENIZER, extra=0, **changes):
    """Write a random model with its tokenizer, sharply decided, so that the guesses differ."""
    fields = {
        "vocab_size": tokenizer.get_vocab_size() + extra,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 12,
        "mask_token_id": 4,
        "pad_token_id": 0,
    }
    model = Bert(BertConfig(**(fields | changes)), seed=1)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    return model


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "model")
    return tmp_path / "model"


def guesses(stdout) -> list[list[tuple[str, str]]]:
    """Return (probability in percent, token) of each line, for each [MASK]."""
    found = [[]]
    for line in stdout.splitlines():
        if line.startswith("[MASK]"):
            found.append([])
        else:
            share, token = line.split(" %  ")
            found[-1].append((share.strip(), token))
    return found[1:] or found


def test_the_guesses_are_the_models(folder, capsys):
    result = called(capsys, "fill-mask", folder, "the model reads [MASK] text", "--top", 7)
    assert (result.returncode, result.stderr) == (0, "")
    ids = numpy.array([TOKENIZER.encode("the model reads [MASK] text").ids])
    place = ids[0].tolist().index(4)
    logits = Bert.from_pretrained(folder).logits(ids)[0, place].astype(numpy.float64)
    best = numpy.argsort(-logits)[:7]
    expected = [(f"{100 * special.softmax(logits)[i]:.2f}", TOKENIZER.id_to_token(int(i))) for i in best]
    assert guesses(result.stdout) == [expected]
    assert len({line.index(" %  ") for line in result.stdout.splitlines()}) == 1  # aligned


def test_a_file_holds_what_is_printed(folder, capsys, tmp_path):
    file = tmp_path / "new" / "guesses.json"
    result = called(capsys, "fill-mask", folder, "[MASK] reads [MASK]", "--out", file)
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written["text"] == "[MASK] reads [MASK]"
    in_file = [[(f"{100 * one['probability']:.2f}", one["token"]) for one in mask] for mask in written["masks"]]
    assert in_file == guesses(result.stdout)
    assert_refused(called(capsys, "fill-mask", folder, "[MASK]", "--out", file / "below"), "cannot write", "below")


def test_a_file_on_a_full_disk(folder, capsys, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = called(capsys, "fill-mask", folder, "[MASK]", "--out", tmp_path / "new/guesses.json")
    assert_refused(result, "cannot write", "guesses.json: No space left on device")
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_several_masks_are_told_apart(folder, capsys):
    result = called(capsys, "fill-mask", folder, "[MASK] reads [MASK]")
    assert [line for line in result.stdout.splitlines() if line.startswith("[MASK] ")] == ["[MASK] 1 of 2", "[MASK] 2 of 2"]
    first, second = guesses(result.stdout)
    assert len(first) == len(second) == 5
    assert first != second


def test_all_pieces_are_no_more_than_there_are(tmp_path, capsys):
    """A model with rows in its table for which the tokenizer has no token never guesses them."""
    save(tmp_path / "model", extra=7)
    result = called(capsys, "fill-mask", tmp_path / "model", "[MASK]", "--top", 10_000)
    assert len(guesses(result.stdout)[0]) == TOKENIZER.get_vocab_size()


def test_ids_that_are_no_tokens_are_never_guessed(tmp_path, capsys):
    """A vocab.txt that has a line twice leaves out the first one's id; the last piece is guessed as any other."""
    pieces = sorted(TOKENIZER.get_vocab(), key=TOKENIZER.get_vocab().get)
    lines = [*pieces[:6], pieces[6], *pieces[6:], "zz"]
    numbers = {piece: number for number, piece in enumerate(lines)}
    model = save(tmp_path / "model", extra=2)
    (tmp_path / "model/tokenizer.json").unlink()
    (tmp_path / "model/vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    model.params["head.decoder.bias"][[6, numbers["zz"]]] += 50  # of the id that is left out, and the last one
    model.save_pretrained(tmp_path / "model")
    found = guesses(called(capsys, "fill-mask", tmp_path / "model", "the [MASK] reads", "--top", 10_000).stdout)[0]
    assert found[0][1] == "zz"
    assert sorted(token for _, token in found) == sorted([*pieces, "zz"])


def test_a_run_is_used_by_its_newest_checkpoint(tmp_path, capsys):
    for step, seed in ((1, 5), (2, 1)):
        model = Bert(save(tmp_path / "model").config, seed)
        states = {"optimizer": {}, "proposal": UniformProposal(1).state()}
        about = {"seconds": 0.0, "tokens": 0, "identity": {}}
        checkpoint.save(tmp_path / "run", step, model, TOKENIZER, states, about)
    text = "the [MASK]"
    outputs = [called(capsys, "fill-mask", tmp_path / where, text).stdout for where in ("model", "run", "run/step-00000001")]
    assert outputs[0] == outputs[1] != outputs[2]
    (tmp_path / "run/step-00000002/model.safetensors").write_bytes(b"cut")
    result = called(capsys, "fill-mask", tmp_path / "run", text)
    assert (result.returncode, result.stdout) == (0, outputs[2])
    assert "step-00000002 is damaged" in result.stderr


def test_characters_that_cannot_be_seen_are_quoted(tmp_path, capsys):
    letters = characters(["a \n\x1b"])
    save(tmp_path / "model", tokenizer=letters)
    result = called(capsys, "fill-mask", tmp_path / "model", "a[MASK]a", "--top", 20)
    tokens = {token for _, token in guesses(result.stdout)[0]}
    assert {"a", "' '", r"'\n'", r"'\x1b'"} <= tokens
    assert "\x1b" not in result.stdout


def test_a_folder_with_vocab_txt_alone(folder, capsys):
    expected = called(capsys, "fill-mask", folder, "the [MASK] reads").stdout
    (folder / "tokenizer.json").unlink()
    pieces = sorted(TOKENIZER.get_vocab(), key=TOKENIZER.get_vocab().get)
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    assert called(capsys, "fill-mask", folder, "the [MASK] reads").stdout == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the text has no [MASK]"),
        ("the model reads", "the text has no [MASK]"),
        ("the [mask] reads", "the text has no [MASK]"),
        ("[MASK]" * 11, "the text has 13 tokens, [CLS] and [SEP] counted, and the model reads 12"),
        ("[MASK] \udcff", "the text is not UTF-8"),
    ],
)
def test_texts_that_cannot_be_used(folder, capsys, text, part):
    assert_refused(called(capsys, "fill-mask", folder, text), part)


@pytest.mark.parametrize(
    "text",
    ["-[MASK]", "--[MASK]", "-[MASK] the", "---", "-the[MASK]", "--the [MASK]", "-{[MASK]}", "-1 [MASK]", "-", "--=[MASK]"],
)
def test_a_text_that_begins_with_a_dash(folder, capsys, text):
    result = called(capsys, "fill-mask", folder, text)
    if "[MASK]" in text:
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout == called(capsys, "fill-mask", folder, "--", text).stdout
        assert result.stdout == called(capsys, "fill-mask", "--top", 5, folder, text, "--seed=3").stdout
    else:
        assert_refused(result, "the text has no [MASK]")


def test_an_option_is_an_option_before_and_behind_such_a_text(folder, capsys):
    assert_refused(called(capsys, "fill-mask", folder, "-[MASK]", "--tops", 3), "unrecognized arguments: --tops")
    assert_refused(called(capsys, "fill-mask", folder, "-[MASK]", "-x"), "unrecognized arguments: -x")
    assert_refused(called(capsys, "fill-mask", folder, "-[MASK]", "--top"), "--top: expected one argument")
    assert len(guesses(called(capsys, "fill-mask", folder, "--top=2", "-[MASK]").stdout)[0]) == 2


def test_the_longest_text_that_the_model_reads(folder, capsys):
    assert called(capsys, "fill-mask", folder, "[MASK]" * 10).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "the following arguments are required: FOLDER"),
        (("here",), "the following arguments are required: TEXT"),
        (("here", "a", "[MASK]"), "unrecognized arguments: [MASK]"),
        (("here", "[MASK]", "--file", "a"), "give a TEXT with [MASK], or a file of them with --file, not both"),
        (("nowhere", "[MASK]"), "there is no folder nowhere"),
        (("nowhere", "[MASK]", "--top", "0"), "--top: must be a whole number of at least 1"),
        (("nowhere", "[MASK]", "--backend", "torch"), "--backend: invalid choice"),
    ],
)
def test_wrong_arguments(capsys, arguments, part):
    assert_refused(called(capsys, "fill-mask", *arguments), part)


def changed(name, **changes):
    """Return a function that changes fields of a JSON file in a folder."""

    def change(folder):
        content = json.loads((folder / name).read_text(encoding="utf-8")) | changes
        (folder / name).write_text(json.dumps(content), encoding="utf-8")

    return change


def without(name):
    return lambda folder: (folder / name).unlink()


def with_content(name, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def another_tokenizer(folder):
    reordered = {token: number for number, token in enumerate(["[MASK]", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"])}
    other = json.loads(TOKENIZER.to_str())
    other["model"]["vocab"], other["added_tokens"] = reordered, []
    (folder / "tokenizer.json").write_text(json.dumps(other), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (without("tokenizer.json"), "has no tokenizer.json"),
        (without("config.json"), "cannot read"),
        (without("model.safetensors"), "has no model.safetensors"),
        (with_content("tokenizer.json", b"{}"), "cannot read the tokenizer"),
        (with_content("tokenizer.json", b"\xff\xfe"), "tokenizer.json is not UTF-8"),
        (with_content("config.json", b"[]"), "must hold a JSON object"),
        (with_content("model.safetensors", b"not weights"), "is damaged or cut short"),
        (changed("config.json", model_type="roberta"), "has model_type 'roberta': only 'bert' can be loaded"),
        (changed("config.json", hidden_size=32), "by config.json"),
        (another_tokenizer, "they do not belong together"),
    ],
)
def test_folders_that_cannot_be_used(folder, capsys, change, part):
    if "not UTF-8" in part:
        changed("config.json", mask_token_id=None)(folder)  # so that the tokenizer is asked for it
    change(folder)
    assert_refused(called(capsys, "fill-mask", folder, "[MASK]"), part)


def test_a_tokenizer_larger_than_the_model(tmp_path, capsys):
    folder = tmp_path / "model"
    save(folder, extra=-1)
    assert_refused(called(capsys, "fill-mask", folder, "[MASK]"), "the model only", "they do not belong together")


def test_an_encoder_alone_guesses_nothing(tmp_path, capsys):
    save(tmp_path / "model", mlm_head=False)
    assert_refused(called(capsys, "fill-mask", tmp_path / "model", "[MASK]"), "head")


def test_a_tokenizer_of_another_kind_of_model(folder, capsys):
    """Without the five special tokens there is no [MASK] to put."""
    (folder / "tokenizer.json").write_text(Tokenizer.from_str(TOKENIZER.to_str()).to_str().replace("[MASK]", "[HIDE]"))
    assert_refused(called(capsys, "fill-mask", folder, "[MASK]"), "has no [MASK]")


def answers(stdout) -> list[list[str]]:
    return [line.split("\t") for line in stdout.splitlines()]


LINES = ["the model reads [MASK] text", "", "[MASK] reads", "  ", "of [MASK] small [MASK] and every sentence"]


@pytest.mark.parametrize("together", [1, 20, 4096])
def test_a_file_is_answered_as_its_lines_would_be(folder, capsys, tmp_path, monkeypatch, together):
    monkeypatch.setattr(fill_mask, "TOGETHER", together)
    (tmp_path / "lines.txt").write_bytes("\r\n".join(LINES).encode())
    file = tmp_path / "out.json"
    result = called(capsys, "fill-mask", folder, "--file", tmp_path / "lines.txt", "--top", 3, "--out", file)
    assert (result.returncode, result.stderr) == (0, "")
    found = answers(result.stdout)
    assert [row[:2] for row in found] == [["1", "1"]] * 3 + [["3", "1"]] * 3 + [["5", "1"]] * 3 + [["5", "2"]] * 3
    written = json.loads(file.read_text(encoding="utf-8"))["texts"]
    assert [one["text"] for one in written] == [line for line in LINES if line.strip()]
    for line, in_file in zip([1, 3, 5], written, strict=True):
        alone = guesses(called(capsys, "fill-mask", folder, LINES[line - 1], "--top", 3).stdout)
        rows = [row for row in found if row[0] == str(line)]
        assert [(f"{100 * float(share):.2f}", token) for _, _, share, token in rows] == [
            one for mask in alone for one in mask
        ]
        assert [one["token"] for mask in in_file["masks"] for one in mask] == [token for *_, token in rows]


def test_standard_input(folder, capsys, monkeypatch, tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    expected = called(capsys, "fill-mask", folder, "--file", tmp_path / "lines.txt").stdout
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode())))
    assert called(capsys, "fill-mask", folder, "--file", "-").stdout == expected


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[MASK] reads\n\nthe model reads\n", "line 3 of {file} has no [MASK]"),
        (b"[MASK]\n" + b"[MASK]" * 11, "line 2 of {file} has 13 tokens, [CLS] and [SEP] counted, and the model reads 12"),
        (b"\n \n", "{file} has no text"),
        (b"", "{file} has no text"),
        (b"[MASK] \xff", "{file} is not UTF-8"),
        (None, "cannot read {file}: No such file"),
    ],
)
def test_files_that_cannot_be_used(folder, capsys, tmp_path, content, part):
    file, out = tmp_path / "lines.txt", tmp_path / "out.json"
    if content is not None:
        file.write_bytes(content)
    assert_refused(called(capsys, "fill-mask", folder, "--file", file, "--out", out), part.format(file=file))
    assert not out.exists()


def test_targets_are_ranked_among_themselves(folder, capsys):
    text, known = "the model reads [MASK] text", set(TOKENIZER.get_vocab())
    words = sorted(known & {"model", "sentence", "words", "and", "##s", "this", "small"})
    assert len(words) > 3
    everything = guesses(called(capsys, "fill-mask", folder, text, "--top", 10_000).stdout)[0]
    expected = [pair for pair in everything if pair[1] in words]
    assert guesses(called(capsys, "fill-mask", folder, text, "--targets", ",".join(words)).stdout) == [expected]
    twice = called(capsys, "fill-mask", folder, text, "--targets", "and, AND ,model")  # the tokenizer lower-cases
    assert guesses(twice.stdout)[0] == [pair for pair in everything if pair[1] in ("and", "model")]
    first = called(capsys, "fill-mask", folder, text, "--targets", ",".join(words), "--top", 1)
    assert guesses(first.stdout) == [expected[:1]]


def test_targets_that_are_no_single_token_are_refused_by_name(folder, capsys):
    result = called(capsys, "fill-mask", folder, "[MASK]", "--targets", "model,xylem,\u4e2d,and,the")
    assert_refused(result, "single token", "xylem (", "\u4e2d ([UNK])", "the (t ##h ##e)")
    assert "model (" not in result.stderr and "and (" not in result.stderr
    assert_refused(called(capsys, "fill-mask", folder, "[MASK]", "--targets", " , "), "' , ' has none")


@pytest.mark.oracle
def test_transformers_guesses_the_same(folder, capsys, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    shutil.copytree(folder, tmp_path / "theirs")
    model = transformers.BertForMaskedLM.from_pretrained(tmp_path / "theirs").eval()
    text = "the model [MASK] every sentence"
    ids = torch.tensor([TOKENIZER.encode(text).ids])
    with torch.no_grad():
        shares = model(ids).logits[0, ids[0].tolist().index(4)].softmax(-1)
    best = shares.topk(5)
    expected = [TOKENIZER.id_to_token(int(i)) for i in best.indices]
    found = guesses(called(capsys, "fill-mask", folder, text).stdout)[0]
    assert [token for _, token in found] == expected
    assert [float(share) for share, _ in found] == pytest.approx((100 * best.values).tolist(), abs=0.006)
