"""`minimapnet variance`, run as a user runs it, in its smallest size."""

import json
import xml.etree.ElementTree
from pathlib import Path

import numpy
import pytest

from minimapnet import Bert, BertConfig
from minimapnet.cli.main import main
from minimapnet.experiments import variance
from minimapnet.proposals.scores import exact_norm
from minimapnet.text.load import load_corpus
from minimapnet.text.tokenizer import train_wordpiece
from tests.helpers.command_cases import assert_refused, command
from tests.helpers.text_cases import made_up, written

FILES = ["variance.json", "variance.png", "variance.svg"]
MASKED = ["1", "2", "5", "15"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return written(tmp_path_factory.mktemp("text") / "text.txt", 3000)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def outcome(text, cache, tmp_path_factory):
    """Return what the command did, and its folder."""
    out = tmp_path_factory.mktemp("variance")
    return command("variance", "--preset", "smoke", "--text", text, "--cache", cache, "--out", out), out


def test_it_writes_whole_files_that_agree_with_what_it_prints(outcome):
    result, out = outcome
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no progress bar where nobody watches
    assert sorted(path.name for path in out.iterdir()) == FILES
    found = json.loads((out / "variance.json").read_text())
    assert list(found["reports"]) == MASKED
    for k, report in found["reports"].items():
        assert (report["sentences"], report["masks"], report["positions"]) == (4, 2, int(k))
        assert 90 < report["maskable"] <= 100  # a document of the made-up text ends in nearly every row
        assert f"{report['whole']['mask']['value']:.4g} +- " in result.stdout
        assert report["whole"]["mask"]["value"] > report["whole"]["headroom"]["value"] > 0
        for name in report["proposals"]:
            assert name in result.stdout
    assert f"validation loss {found['model']['validation_loss']:.3f}" in result.stdout
    single = found["reports"]["1"]["proposals"]
    assert ("optimal single" in single, "MAPNet single" in single, "set" in single) == (True, True, False)
    for report in found["reports"].values():
        assert report["proposals"]["pool of 2, MAPNet"]["unbiased"]


def test_the_figure_says_what_it_shows(outcome):
    _, out = outcome
    assert (out / "variance.png").read_bytes().startswith(b"\x89PNG")
    words = " ".join(xml.etree.ElementTree.parse(out / "variance.svg").getroot().itertext())
    shown = "data variance|mask variance|headroom|masked positions of 100|nats²|%|uniform masks|set"
    assert all(expected in words for expected in shown.split("|"))


def test_the_same_command_reproduces_it_and_another_seed_not(outcome, text, cache, tmp_path):
    _, out = outcome
    common = ["variance", "--preset", "smoke", "--text", str(text), "--cache", str(cache)]
    for name, seed in (("same", "0"), ("other", "1")):
        assert main([*common, "--out", str(tmp_path / name), "--seed", seed]) == 0
    for name in FILES:
        assert (tmp_path / "same" / name).read_bytes() == (out / name).read_bytes(), name
    assert (tmp_path / "other/variance.json").read_bytes() != (out / "variance.json").read_bytes()


def test_the_rows_are_those_with_the_most_maskable_tokens(text, cache):
    found = load_corpus(str(text), cache, max_length=variance.MAX_LENGTH)
    every = found.train.batch(numpy.arange(len(found.train)))
    counts = numpy.sort(every.maskable.sum(axis=1))
    chosen = variance.fullest_rows(found, 20, seed=0)
    assert numpy.sort(chosen.maskable.sum(axis=1)).tolist() == counts[-20:].tolist()
    assert counts[0] < counts[-20]  # so it was a choice
    assert len(numpy.unique(chosen.ids, axis=0)) == 20
    assert not (chosen.ids == found.tokenizer.token_to_id("[SEP]"))[chosen.maskable].any()
    other = variance.fullest_rows(found, 20, seed=1)
    assert (other.ids != chosen.ids).any()


def test_the_grammar_is_packed_with_sep_behind_each_sentence(cache):
    found = load_corpus("grammar", cache, max_length=variance.MAX_LENGTH)
    chosen = variance.fullest_rows(found, 8, seed=0)
    assert (chosen.maskable.sum(axis=1) == 95).all()  # 100 tokens, of which every 17th is [SEP]


def test_mapnet_is_trained_along_and_only_with_a_model_of_ours(text, cache):
    subject = variance.train_model(str(text), cache, variance.PRESETS["smoke"].training, seed=0)
    batch = variance.fullest_rows(subject.text, 4, seed=0)
    assert numpy.ptp(subject.mapnet.network.log_norms(batch.ids)[batch.maskable]) > 0  # it is 0 everywhere before it learns
    names = {name for k in variance.MASKED for name in variance.proposals(k, 8, None, None)}
    assert not any("MAPNet" in name for name in names)
    both = {name for k in variance.MASKED for name in variance.proposals(k, 8, None, subject.mapnet)}
    assert both - names == {"MAPNet single", "pool of 8, MAPNet"}


def test_measuring_does_not_teach_mapnet(text, cache, tmp_path):
    settings = variance.PRESETS["smoke"]
    subject = variance.train_model(str(text), cache, settings.training, seed=0)
    before = subject.mapnet.network.flat.copy(), subject.model.flat.copy()
    variance.variance(subject, settings, 0)
    assert (subject.mapnet.network.flat == before[0]).all()
    assert (subject.model.flat == before[1]).all()


def save_checkpoint(folder: Path, sentences, places=101, tokenizer=True, head=True):
    pieces = train_wordpiece(sentences, 300)
    config = BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        intermediate_size=16,
        max_position_embeddings=places,
        mask_token_id=pieces.token_to_id("[MASK]"),
        pad_token_id=pieces.token_to_id("[PAD]"),
        mlm_head=head,
    )
    Bert(config, seed=0).save_pretrained(folder)
    if tokenizer:
        (folder / "tokenizer.json").write_text(pieces.to_str(), encoding="utf-8")
    return str(folder)


def test_a_checkpoint_is_looked_at_as_it_is(text, cache, tmp_path, capsys):
    folder = save_checkpoint(tmp_path / "bert", made_up(200))
    before = (tmp_path / "bert/model.safetensors").read_bytes()
    places = ["--text", str(text), "--cache", str(cache), "--checkpoint", folder, "--out", str(tmp_path / "out")]
    assert main(["variance", "--preset", "smoke", *places]) == 0
    assert f"the checkpoint {folder}" in capsys.readouterr().out
    found = json.loads((tmp_path / "out/variance.json").read_text())
    assert found["model"] == {"checkpoint": folder}
    assert not any("MAPNet" in name for report in found["reports"].values() for name in report["proposals"])
    assert (tmp_path / "bert/model.safetensors").read_bytes() == before


def test_of_a_run_the_newest_checkpoint_is_looked_at(text, cache, tmp_path, capsys):
    places = ["--text", str(text), "--cache", str(cache)]
    size = "--max-length 101 --hidden-size 16 --layers 1 --heads 2 --batch-size 4 --steps 3".split()
    run = str(tmp_path / "run")
    assert main(["train", *places, *size, "--out", run]) == 0
    assert main(["variance", "--preset", "smoke", *places, "--checkpoint", run, "--out", str(tmp_path / "out")]) == 0
    assert f"the checkpoint {run}" in capsys.readouterr().out


def test_what_cannot_be_used(text, cache, tmp_path):
    def refused(file, checkpoint, *parts):
        more = ("--checkpoint", checkpoint) if checkpoint else ()
        places = ("--text", file, "--cache", cache, "--out", tmp_path / "out")
        assert_refused(command("variance", "--preset", "smoke", *places, *more), *parts)

    few = written(tmp_path / "few.txt", 20)
    refused(text, tmp_path / "nowhere", "nowhere")
    without = save_checkpoint(tmp_path / "without", made_up(200), tokenizer=False)
    refused(text, without, "has no tokenizer.json")
    short = save_checkpoint(tmp_path / "short", made_up(200), places=64)
    refused(text, short, "the model reads 64 tokens, 101 are needed")
    headless = save_checkpoint(tmp_path / "headless", made_up(200), head=False)
    refused(text, headless, "has no masked-language-model head")
    good = save_checkpoint(tmp_path / "good", made_up(200))
    refused(few, None, "is too short")
    refused(few, good, "is too short")
    refused(tmp_path / "no.txt", None, "there is no text", "python-docs, ")


def test_help_explains_every_option_with_its_default():
    words = " ".join(command("variance", "-h").stdout.split())
    for option in ("--config", "--preset", "--text", "--cache", "--checkpoint", "--out", "--seed", "--backend"):
        assert option in words
    assert words.count("default:") == 8
    assert "1, 2, 5 and 15 of about 100 tokens" in words


def test_a_score_is_computed_once_for_each_sentence(monkeypatch):
    model = Bert(BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, mask_token_id=1, dtype="float64"), seed=0)
    ids = numpy.random.default_rng(0).integers(2, 9, (2, 5))
    maskable, calls = numpy.ones((2, 5), bool), []

    each_position = exact_norm.score_each_position
    monkeypatch.setattr(exact_norm, "score_each_position", lambda *of: calls.append(of) or each_position(*of))
    score, rows = variance.CachedNorms(), numpy.array([0, 1, 1, 0])
    scores = score.of_positions(model, ids[rows], maskable[rows]).values
    assert len(calls) == 2
    numpy.testing.assert_allclose(scores, each_position(model, ids, None, maskable)[rows], rtol=1e-12)
    maskable[0, 0] = False
    assert score.of_positions(model, ids, maskable).values[0, 0] == 0
    assert len(calls) == 3
