"""`minimapnet info`: what computes here, and what is in a folder."""

import errno
import json
import os
import re
import shutil
import sys

import numpy
import pytest

from minimapnet import Bert
from minimapnet.cli.main import main
from minimapnet.kernels import pool
from tests.helpers.command_cases import assert_refused, called, text_file, train


def facts(stdout) -> dict[str, str]:
    """Return what stands behind each name."""
    pairs = (line.split("  ", 1) for line in stdout.splitlines() if "  " in line)
    return {name.strip(): value.strip() for name, value in pairs}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a small run of two evaluations."""
    folder = tmp_path_factory.mktemp("info")
    text_file(folder)
    assert main(train(folder, "--steps", 20, "--eval-every", 10, "--layers", 3)) == 0
    return folder / "run"


def test_what_computes_here(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = called(capsys, "info")
    found = facts(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert found["python"] == sys.version.split()[0]
    assert found["numpy"] == numpy.__version__
    assert (found["backend"], found["threads"].split()[0]) == ("numpy", str(pool.threads()))
    assert "CuPy is not installed" in found["GPU"]
    assert_refused(called(capsys, "info", "--backend", "cupy"), "the cupy backend cannot be used")


def test_a_file_holds_what_is_printed(run, capsys, tmp_path):
    for folder in ((), (run,)):
        result = called(capsys, "info", *folder, "--out", tmp_path / "info.json")
        written = json.loads((tmp_path / "info.json").read_text(encoding="utf-8"))
        shapes = written.pop("parameters", {})
        assert written.items() <= facts(result.stdout).items() and len(written) >= 5
        assert {name: tuple(shape) for name, shape in shapes.items()} == (
            Bert.from_pretrained(run / "step-00000020").shapes if folder else {}
        )
    assert_refused(called(capsys, "info", "--out", run), "cannot write")


def test_a_run(run, capsys):
    result = called(capsys, "info", run)
    assert (result.returncode, result.stderr) == (0, "")
    found = facts(result.stdout)
    model = Bert.from_pretrained(run / "step-00000020")
    assert found["model"] == str(run / "step-00000020")
    assert found["layers"].startswith("3, 16 wide, 2 heads")
    assert f"{model.flat.size:,} parameters" in found["size"]
    assert "WordPiece of 84 pieces, [MASK] is 4" in found["tokenizer"]
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    judged = [record for record in records if "validation_loss" in record]
    assert [record["step"] for record in judged] == [0, 10, 20]
    for record in judged:
        assert f"{record['validation_loss']:.3f} ({record['step']})" in found["validation loss"]
    assert found["step"].startswith(f"20, after {records[-1]['tokens']:,} tokens")


def test_a_checkpoint_shows_its_own_step_and_no_later_loss(run, capsys):
    found = facts(called(capsys, "info", run / "step-00000000").stdout)
    assert found["step"].startswith("0, after 0 tokens")
    assert found["validation loss"].count("(") == 2  # step 0, and what the numbers in brackets are
    assert "training loss" not in found


def test_the_table_of_parameters_adds_up(run, capsys):
    table = called(capsys, "info", run).stdout.split("\n\n")[1]
    counts = [
        int(re.search(r"  ([\d,]+)(?:  in 3 layers)?$", line).group(1).replace(",", "")) for line in table.splitlines()
    ]
    assert sum(counts) == Bert.from_pretrained(run / "step-00000020").flat.size
    assert "layer<i>.qkv.weight" in table and "16 x 48" in table


def test_a_folder_of_hugging_faces(run, tmp_path, capsys):
    Bert.from_pretrained(run / "step-00000020").save_pretrained(tmp_path)
    found = facts(called(capsys, "info", tmp_path).stdout)
    assert found["tokenizer"] == "none in the folder"
    assert not {"step", "training loss", "validation loss"} & found.keys()


def test_info_does_without_a_log_that_is_gone_or_damaged(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "log.jsonl").write_bytes(b"\xff\n{")
    assert "validation loss" not in called(capsys, "info", copy).stdout
    (copy / "log.jsonl").unlink()
    assert called(capsys, "info", copy).returncode == 0


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"about": None}, "about"),
        ({"about": {}}, "about.identity"),
        ({"about": {"identity": {}, "seconds": 1.0, "tokens": "x"}}, "about.tokens"),
        ({"about": {"identity": {}, "seconds": [1], "tokens": 1}}, "about.seconds"),
        ({"step": "20"}, "step"),
    ],
)
def test_a_checkpoint_whose_record_was_altered(run, tmp_path, capsys, changes, name):
    copy = shutil.copytree(run / "step-00000020", tmp_path / "run/step-00000020")
    record = json.loads((copy / "run.json").read_text()) | changes
    (copy / "run.json").write_text(json.dumps(record))
    part = f"step-00000020 is damaged: run.json has no {name} that can be used"
    assert_refused(called(capsys, "info", copy), part)
    shutil.copytree(run / "step-00000000", tmp_path / "run/step-00000000")
    result = called(capsys, "info", tmp_path / "run")
    assert (result.returncode, facts(result.stdout)["step"][:2]) == (0, "0,")
    assert part in result.stderr
    shutil.rmtree(tmp_path / "run/step-00000000")
    result = called(capsys, "info", tmp_path / "run")
    assert (result.returncode, result.stdout) == (2, "")
    warning, line = result.stderr.splitlines()
    assert part in warning and line.startswith("minimapnet: error: no checkpoint in ")


def test_a_file_on_a_full_disk(capsys, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert_refused(called(capsys, "info", "--out", tmp_path / "new/info.json"), "info.json: No space left on device")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", [".", "/"])
def test_a_file_that_is_a_folder(capsys, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    assert_refused(called(capsys, "info", "--out", place), "cannot write", "Is a directory")


def test_what_is_no_model(run, tmp_path, capsys):
    assert_refused(called(capsys, "info", tmp_path), "cannot read", "config.json")
    assert_refused(called(capsys, "info", tmp_path / "nowhere"), "there is no folder")
    copy = shutil.copytree(run / "step-00000020", tmp_path / "copy")
    (copy / "run.json").write_text('{"step": "20"}')
    assert_refused(called(capsys, "info", copy), "is not a checkpoint of this version of minimapnet")
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:-1])
    assert_refused(called(capsys, "info", copy), "is damaged or cut short")
    assert_refused(called(capsys, "info", copy, copy), "unrecognized arguments")
