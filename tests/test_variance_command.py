"""`minimapnet variance`, run as a user runs it, in its smallest size."""

import json
import shutil
import xml.etree.ElementTree
from pathlib import Path

import numpy
import pytest
from test_cli import assert_refused, command
from test_text import made_up

from minimapnet import Bert, BertConfig
from minimapnet.cli import main
from minimapnet.lab import variance
from minimapnet.masking.scores import each_alone, exact_norm
from minimapnet.text.tokenizer import train_wordpiece

FILES = ["variance.json", "variance.png", "variance.svg"]
MASKED = ["1", "2", "5", "15"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n\n".join(made_up(3000)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def outcome(text, tmp_path_factory):
    """Give what the command did, and its folder."""
    out = tmp_path_factory.mktemp("variance")
    return command("variance", "--preset", "smoke", "--text", text, "--out", out), out


def test_it_writes_whole_files_that_agree_with_what_it_prints(outcome):
    result, out = outcome
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no progress bar where nobody watches
    names = sorted(path.name for path in out.iterdir())
    assert [name for name in names if not name.startswith("tokenizer-")] == FILES
    found = json.loads((out / "variance.json").read_text())
    assert list(found["reports"]) == MASKED
    for k, report in found["reports"].items():
        assert (report["sentences"], report["masks"], report["positions"], report["maskable"]) == (4, 2, int(k), 100)
        assert f"{report['whole']['mask']['value']:.4g} +- " in result.stdout
        assert report["whole"]["mask"]["value"] > report["whole"]["headroom"]["value"] > 0
        for name in report["proposals"]:
            assert name in result.stdout
    assert f"validation loss {found['model']['validation_loss']:.3f}" in result.stdout
    assert ("optimal single" in found["reports"]["1"]["proposals"], "set" in found["reports"]["1"]["proposals"]) == (1, 0)


def test_the_figure_says_what_it_shows(outcome):
    _, out = outcome
    assert (out / "variance.png").read_bytes().startswith(b"\x89PNG")
    words = " ".join(xml.etree.ElementTree.parse(out / "variance.svg").getroot().itertext())
    for expected in (
        "data variance",
        "mask variance",
        "headroom",
        "masked positions of 100",
        "nats²",
        "%",
        "uniform masks",
        "set",
    ):
        assert expected in words


def test_it_is_reproduced_by_the_same_command_and_not_by_another_seed(outcome, text, tmp_path):
    _, out = outcome
    for name, seed in (("same", "0"), ("other", "1")):
        shutil.copytree(out, tmp_path / name)  # with the tokenizer, which need not be trained again
        arguments = ["variance", "--preset", "smoke", "--text", str(text), "--out", str(tmp_path / name), "--seed", seed]
        assert main(arguments) == 0
    for name in FILES:
        assert (tmp_path / "same" / name).read_bytes() == (out / name).read_bytes(), name
    assert (tmp_path / "other/variance.json").read_bytes() != (out / "variance.json").read_bytes()


def save_checkpoint(folder: Path, sentences, places=102, tokenizer=True):
    pieces = train_wordpiece(sentences, 300)
    config = BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        intermediate_size=16,
        max_position_embeddings=places,
        mask_token_id=pieces.token_to_id("[MASK]"),
        pad_token_id=pieces.token_to_id("[PAD]"),
    )
    Bert(config, seed=0).save_pretrained(folder)
    if tokenizer:
        (folder / "tokenizer.json").write_text(pieces.to_str(), encoding="utf-8")
    return str(folder)


def test_a_checkpoint_is_looked_at_as_it_is(text, tmp_path, capsys):
    folder = save_checkpoint(tmp_path / "bert", made_up(200))
    before = (tmp_path / "bert/model.safetensors").read_bytes()
    options = ["--preset", "smoke", "--text", str(text), "--checkpoint", folder, "--out", str(tmp_path / "out")]
    assert main(["variance", *options]) == 0
    assert f"the checkpoint {folder}" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/variance.json").read_text())["model"] == {"checkpoint": folder}
    assert (tmp_path / "bert/model.safetensors").read_bytes() == before


def test_what_cannot_be_used(text, tmp_path):
    without = save_checkpoint(tmp_path / "without", made_up(200), tokenizer=False)
    short = save_checkpoint(tmp_path / "short", made_up(200), places=64)
    few = tmp_path / "few.txt"
    few.write_text("\n\n".join(made_up(20)), encoding="utf-8")
    common = ("variance", "--preset", "smoke", "--out", tmp_path / "out")
    assert_refused(command(*common, "--text", text, "--checkpoint", tmp_path / "nowhere"), "nowhere")
    assert_refused(command(*common, "--text", text, "--checkpoint", without), "cannot read the tokenizer", "tokenizer.json")
    assert_refused(command(*common, "--text", text, "--checkpoint", short), "the model reads 64 tokens, 102 are needed")
    assert_refused(command(*common, "--text", few), "is too short")
    assert_refused(
        command(*common, "--text", few, "--checkpoint", save_checkpoint(tmp_path / "b", made_up(200))), "is too short"
    )


def test_help_explains_every_option_with_its_default():
    words = " ".join(command("variance", "-h").stdout.split())
    for option in ("--preset", "--text", "--checkpoint", "--out", "--seed", "--backend"):
        assert option in words
    assert words.count("default:") == 6
    assert "1, 2, 5 and 15 % of the tokens" in words


def test_a_score_is_computed_once_for_each_sentence():
    model = Bert(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, mask_token_id=1, dtype="float64"), seed=0)
    ids = numpy.random.default_rng(0).integers(2, 9, (2, 5))
    maskable, calls = numpy.ones((2, 5), bool), []

    def counted(*arguments):
        calls.append(arguments)
        return each_alone(exact_norm)(*arguments)

    score, rows = variance.OnceEach(counted), numpy.array([0, 1, 1, 0])
    found = score(model, ids[rows], None, maskable[rows])
    assert len(calls) == 2
    numpy.testing.assert_allclose(found, each_alone(exact_norm)(model, ids, None, maskable)[rows], rtol=1e-12)
    maskable[0, 0] = False
    assert score(model, ids, None, maskable)[0, 0] == 0
    assert len(calls) == 3
