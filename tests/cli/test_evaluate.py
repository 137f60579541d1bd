"""`minimapnet evaluate`: of a run and of a folder of Hugging Face's, on the parts of a text, on all of it, line by line."""

import io
import json
import math

import numpy
import pytest
from scipy import special

from minimapnet import Bert
from minimapnet.text.tokenizer import read
from minimapnet.training import checkpoint
from minimapnet.training.evaluation import Evaluation
from tests.helpers.command_cases import assert_refused, called, text_file, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with a text, its cache and a run of six steps."""
    from minimapnet.cli.main import main

    folder = tmp_path_factory.mktemp("trained")
    text_file(folder)
    assert main(train(folder)) == 0
    return folder


def evaluate(capsys, folder, *more):
    return called(capsys, "evaluate", folder / "run", "--cache", folder / "cache", *more)


def test_it_finds_the_loss_that_training_found(trained, capsys, tmp_path):
    log = [json.loads(line) for line in (trained / "run/log.jsonl").read_text().splitlines()]
    out = tmp_path / "new/out.json"
    result = evaluate(capsys, trained, "--text", trained / "text.txt", "--part", "validation", "--out", out)
    assert (result.returncode, result.stderr) == (0, "")
    written = json.loads(out.read_text())
    assert written["loss"] == pytest.approx(log[-1]["validation_loss"], rel=1e-5)
    assert written["perplexity"] == pytest.approx(math.exp(written["loss"]))
    assert 0 <= written["accuracy"] <= written["top5"] <= 1
    assert (written["max_length"], written["part"], written["text"]) == (12, "validation", "text.txt")
    for shown in (f"{written['loss']:.4f} nats", f"{written['perplexity']:.2f}", f"{written['unigram_entropy']:.4f} nats"):
        assert shown in result.stdout


def test_a_file_is_judged_whole_even_a_short_one(trained, capsys, tmp_path):
    text, out = "The model reads every sentence of this small text and learns which words.", tmp_path / "out.json"
    (tmp_path / "short.txt").write_text(text, encoding="utf-8")
    result = evaluate(capsys, trained, "--text", tmp_path / "short.txt", "--mask-rate", 2, "--max-length", 9, "--out", out)
    assert result.returncode == 0, result.stderr
    folder = checkpoint.model_folder(trained / "run")
    ids = [*read(folder / "tokenizer.json").encode(text, add_special_tokens=False).ids, 3]
    written = json.loads(out.read_text())
    assert written["rows"] == written["rows_of_the_part"] == len(ids) // 8
    assert (written["part"], written["mask_rate"]) == ("all", 2)
    counted = numpy.bincount(ids[: 8 * written["rows"]], minlength=64).astype(float)
    counted[3] = 0  # [SEP] is not masked
    with_one_more = (counted + 1) / (counted + 1).sum()
    expected = -(counted * numpy.log(with_one_more)).sum() / counted.sum()
    assert written["unigram_entropy"] == pytest.approx(expected)


def test_the_masks_follow_from_the_seed(trained, capsys):
    arguments = ("--text", trained / "text.txt")
    first, same, other = (evaluate(capsys, trained, *arguments, "--seed", seed).stdout for seed in (0, 0, 1))
    assert first == same != other


def test_of_many_rows_some_are_judged(trained, capsys):
    result = evaluate(capsys, trained, "--text", trained / "text.txt", "--rows", 3)
    assert result.stdout.startswith("text.txt, all: 3 of ")


def test_a_folder_of_hugging_faces_is_taken_as_well(trained, capsys):
    """A checkpoint is one, without the run around it."""
    arguments = ("--text", trained / "text.txt", "--cache", trained / "cache")
    folder = checkpoint.model_folder(trained / "run")
    assert called(capsys, "evaluate", folder, *arguments).stdout == evaluate(capsys, trained, *arguments[:2]).stdout


LINES = ["The model reads.", "", "words of [MASK] text", "Every small sentence"]


def scores(capsys, trained, *more) -> tuple[list[tuple[str, str]], str]:
    result = evaluate(capsys, trained, "--sentences", *more)
    assert result.returncode == 0, result.stderr
    return [tuple(line.split("\t")) for line in result.stdout.splitlines()], result.stderr


def test_each_line_gets_its_pseudo_log_likelihood(trained, capsys, tmp_path):
    (tmp_path / "lines.txt").write_bytes("\r\n".join(LINES).encode() + b"\n")
    found, told = scores(capsys, trained, "--text", tmp_path / "lines.txt", "--out", tmp_path / "out.json")
    assert len(found) == len(LINES)
    assert found[1] == ("0.0000", "0")
    folder = checkpoint.model_folder(trained / "run")
    model, tokenizer = Bert.from_pretrained(folder), read(folder / "tokenizer.json")
    totals, count = 0.0, 0
    for place in (0, 3):
        ids = numpy.array(tokenizer.encode(LINES[place]).ids)
        expected = 0.0
        for j in range(1, len(ids) - 1):
            masked = ids.copy()
            masked[j] = 4
            expected += special.log_softmax(model.logits(masked[None])[0, j].astype(float))[ids[j]]
        assert float(found[place][0]) == pytest.approx(expected, abs=1e-3)
        assert int(found[place][1]) == len(ids) - 2
    totals, count = sum(float(score) for score, _ in found), sum(int(count) for _, count in found)
    assert f"pseudo-perplexity {math.exp(-totals / count):.2f} over {count} tokens of 4 lines" in told
    written = json.loads((tmp_path / "out.json").read_text())
    assert [line["text"] for line in written["lines"]] == LINES
    assert [f"{line['pseudo_log_likelihood']:.4f}" for line in written["lines"]] == [score for score, _ in found]


def test_lines_of_standard_input(trained, capsys, tmp_path, monkeypatch):
    (tmp_path / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    expected = scores(capsys, trained, "--text", tmp_path / "lines.txt")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode())))
    assert scores(capsys, trained, "--text", "-") == expected


def test_a_mask_that_a_line_speaks_of_is_no_mask(trained, capsys, tmp_path):
    (tmp_path / "lines.txt").write_text("[MASK]\n[ mask ]\n", encoding="utf-8")
    (first, second), _ = scores(capsys, trained, "--text", tmp_path / "lines.txt")
    assert first == second


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "is empty: there is no line to score"),
        (b"The model.\n" + b", " * 11, "line 2 of {file} has 13 tokens, [CLS] and [SEP] counted, and the model reads 12"),
        (b"caf\xe9", "{file} is not UTF-8"),
        (None, "cannot read {file}: No such file"),
    ],
)
def test_lines_that_cannot_be_scored(trained, capsys, tmp_path, content, part):
    file = tmp_path / "lines.txt"
    if content is not None:
        file.write_bytes(content)
    result = evaluate(capsys, trained, "--sentences", "--text", file, "--out", tmp_path / "out.json")
    assert_refused(result, part.format(file=file))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--sentences",), "--sentences scores the lines of a file"),
        (("--text", "nowhere.txt"), "there is no text nowhere.txt"),
        (("--max-length", 13), "--max-length 13 is too long: the model"),
        (("--text", "grammar", "--mask-rate", 11), "k must lie between"),
        (("--mask-rate", 0), "--mask-rate: must be"),
        (("--part", "half"), "--part: invalid choice"),
        (("--text", "SHORT"), "is too short: it gives no row of 12 tokens"),
    ],
)
def test_what_cannot_be_evaluated(trained, capsys, tmp_path, arguments, part):
    (tmp_path / "short.txt").write_text("The model.", encoding="utf-8")
    arguments = [tmp_path / "short.txt" if one == "SHORT" else one for one in arguments]
    assert_refused(evaluate(capsys, trained, *arguments), part)


def test_a_folder_without_a_model(capsys, tmp_path):
    assert_refused(called(capsys, "evaluate", tmp_path / "nowhere"), "there is no folder")


def test_a_model_that_gives_no_number_is_refused(trained, capsys, monkeypatch):
    monkeypatch.setattr(Evaluation, "quality", lambda self, model, watch: type("Q", (), {"loss": math.nan})())
    assert_refused(evaluate(capsys, trained, "--text", trained / "text.txt"), "is nan: its weights cannot be used")
