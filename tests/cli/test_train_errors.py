"""What `minimapnet train` refuses: one line, exit code 2, and nothing left behind."""

import errno
import hashlib
import json
import os
import shutil
import sys

import numpy
import pytest
from safetensors.numpy import save_file

from minimapnet import Bert, BertConfig
from minimapnet.training import checkpoint
from minimapnet.training.checkpoint import only_writer
from minimapnet.training.trainer import Trainer
from tests.helpers.command_cases import assert_refused, called, text_file, train


@pytest.fixture
def folder(tmp_path):
    text_file(tmp_path)
    return tmp_path


def save_model(folder, vocab_size=64, **changes):
    """Write a tiny model, without a tokenizer, into `folder`."""
    fields = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16, "max_position_embeddings": 12}
    fields |= {"vocab_size": vocab_size, "mask_token_id": 4, "pad_token_id": 0}
    Bert(BertConfig(**(fields | changes))).save_pretrained(folder)
    return folder


def assert_nothing_begun(folder):
    assert not (folder / "run").exists()
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--nonsense",), "unrecognized arguments: --nonsense"),
        (("--step", "5"), "unrecognized arguments: --step"),  # no option can be shortened
        (("--steps",), "--steps: expected one argument"),
        (("--steps", "0"), "--steps: must be a whole number of at least 1, not '0'"),
        (("--steps", "1.5"), "--steps: must be a whole number"),
        (("--steps", "10000000000000000000000"), "--steps: must be a whole number"),
        (("--batch-size", "-1"), "--batch-size: must be a whole number"),
        (("--gradient-accumulation", "no"), "--gradient-accumulation: must be a whole number"),
        (("--learning-rate", "0"), "--learning-rate: must be a number above 0"),
        (("--learning-rate", "nan"), "--learning-rate: must be a number above 0"),
        (("--learning-rate", "inf"), "--learning-rate: must be a number above 0"),
        (("--warmup-ratio", "1.1"), "--warmup-ratio: must be a number from 0 to 1"),
        (("--weight-decay", "-0.1"), "--weight-decay: must be a number of at least 0"),
        (("--max-grad-norm", "0"), "--max-grad-norm: must be a number above 0"),
        (("--dropout", "1"), "--dropout: must be a number of at least 0 and below 1"),
        (("--mask-rate", "0"), "--mask-rate: must be a whole number of at least 1, or a share above 0 and below 1"),
        (("--mask-rate", "1.0"), "--mask-rate: must be"),
        (("--mask-rate", "-3"), "--mask-rate: must be"),
        (("--mask-rate", "15%"), "--mask-rate: must be"),
        (("--max-minutes", "0"), "--max-minutes: must be a number above 0"),
        (("--vocab-size", "15"), "--vocab-size: must be a whole number of at least 16 and at most 1000000"),
        (("--hidden-size", "100000"), "--hidden-size: must be a whole number of at least 1 and at most 65536"),
        (("--hidden-size", "15"), "--hidden-size 15 cannot be shared by --heads 2"),
        (("--layers", "0"), "--layers: must be a whole number"),
        (("--max-length", "1"), "--max-length: must be a whole number of at least 3"),
        (("--max-length", "6", "--layout", "sentences"), "a row of 6 tokens is too short"),
        (("--max-length", "60000"), "is too short: "),
        (("--batch-size", "1000000"), "fewer than the 1000000 of a step"),
        (("--layout", "diagonal"), "--layout: invalid choice: 'diagonal'"),
        (("--max-length", "3", "--layout", "lines"), "a row of 3 tokens is too short"),
        (("--validation", "nowhere.txt"), "there is no text nowhere.txt"),
        (("--field", ""), "--field: must not be empty"),
        (("--text", "/dev/null"), "is a pipe or a device, not a file: let --text - read it"),
        (("--schedule", "cosine"), "--schedule: invalid choice"),
        (("--proposal", "psychic"), "--proposal: invalid choice"),
        (("--backend", "torch"), "--backend: invalid choice"),
        (("--proposal", "mapnet-single", "--mask-rate", "2"), "mapnet-single masks a single position: give --mask-rate 1"),
        (("--proposal", "optimal-single", "--mask-rate", "0.15"), "optimal-single masks a single position"),
        (("--masks", "2"), "uniform has no --masks: leave it out"),
        (("--proposal", "fully-explored", "--masks", "0"), "--masks: must be a whole number of at least 1"),
        (("--proposal", "span", "--uniform-mix", "0.1"), "span has no --uniform-mix: leave it out"),
        (("--proposal", "whole-word", "--tokenizer", "characters"), "whole words are known by WordPiece"),
        (("--uniform-mix", "2"), "--uniform-mix: must be a number from 0 to 1"),
        (("--mask-rate", "12"), "--mask-rate 12 is too many: text.txt has a row of"),
        (("--layout", "sentences", "--mask-rate", "6"), "--mask-rate 6 is too many: text.txt has a row of 5 tokens"),
        (("--tokenizer", "nowhere.json"), "cannot read nowhere.json: No such file or directory; a tokenizer is"),
        (("--checkpoint", "nowhere"), "--hidden-size is for a new model"),
        (("--dry-run", "--resume"), "there is no run to resume"),
        (("--resume",), "there is no run to resume"),
    ],
)
def test_what_no_run_can_be_made_of(folder, capsys, arguments, part):
    if "--checkpoint" in arguments:
        arguments = ("--checkpoint", save_model(folder / "model"))
    assert_refused(called(capsys, *train(folder, *arguments)), part)
    assert_nothing_begun(folder)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "there is no text"),
        (b"", "is empty"),
        (b"   \n\n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not a text file"),
        ("Größe. ".encode("latin-1") * 100, "is not UTF-8"),
        (b"A text of one sentence.", "is too short"),
    ],
)
@pytest.mark.parametrize("name", ["given.txt", "given"])
def test_text_that_cannot_be_used(tmp_path, capsys, content, part, name):
    """As a file, and in a folder."""
    given = tmp_path / name
    if name == "given" and content is not None:
        given.mkdir()
    if content is not None:
        (given if name.endswith("txt") else given / "part.txt").write_bytes(content)
    assert_refused(called(capsys, *train(tmp_path, "--text", given)), part)
    assert_nothing_begun(tmp_path)


def test_a_folder_without_text(tmp_path, capsys):
    (tmp_path / "given").mkdir()
    (tmp_path / "given/picture.png").write_bytes(b"\x89PNG")
    assert_refused(called(capsys, *train(tmp_path, "--text", tmp_path / "given")), "has no text")
    assert_nothing_begun(tmp_path)


def test_a_damaged_gz(tmp_path, capsys):
    (tmp_path / "text.txt.gz").write_bytes(b"\x1f\x8b\x08 and no more")
    assert_refused(called(capsys, *train(tmp_path, "--text", tmp_path / "text.txt.gz")), "is not a whole gzip file")
    assert_nothing_begun(tmp_path)


def from_model(folder, start, *more):
    places = ("--text", folder / "text.txt", "--cache", folder / "cache", "--out", folder / "run", "--max-length", 12)
    return ("train", *places, "--checkpoint", start, *more)


def test_checkpoints_to_start_from_that_cannot_be_used(folder, capsys):
    assert called(capsys, *train(folder, "--out", folder / "first")).returncode == 0
    good = shutil.copytree(folder / "first/step-00000006", folder / "good")

    def refused(name, change, part, *more):
        start = shutil.copytree(good, folder / name)
        change(start)
        assert_refused(called(capsys, *from_model(folder, start, *more)), part)
        assert_nothing_begun(folder)

    def cut(start):
        content = (start / "model.safetensors").read_bytes()
        (start / "model.safetensors").write_bytes(content[: len(content) // 2])

    def other_kind(start):
        config = json.loads((start / "config.json").read_text()) | {"model_type": "gpt2"}
        (start / "config.json").write_text(json.dumps(config))

    def smaller(start):
        save_model(start, vocab_size=32)

    def without_head(start):
        save_model(start, mlm_head=False)

    refused("cut", cut, "is damaged or cut short")
    refused("no-weights", lambda start: (start / "model.safetensors").unlink(), "has no model.safetensors")
    refused("no-config", lambda start: (start / "config.json").unlink(), "cannot read")
    refused("broken-config", lambda start: (start / "config.json").write_text("{"), "is not JSON")
    refused("gpt", other_kind, "has model_type 'gpt2': only 'bert' can be loaded")
    refused("foreign-tokenizer", lambda start: (start / "tokenizer.json").write_text("{}"), "cannot read the tokenizer")
    refused("smaller", smaller, "pieces, the model only 32")
    refused("without-head", without_head, "has no masked-language-model head")
    refused("shorter", lambda start: None, "rows of 20 tokens, the model reads 12", "--max-length", 20)
    refused("sizes", lambda start: None, "--layers is for a new model", "--layers", 2)


def test_a_checkpoint_that_knows_another_mask(folder, capsys):
    start = save_model(folder / "start", mask_token_id=5)
    result = called(capsys, *from_model(folder, start, "--tokenizer", "wordpiece", "--vocab-size", 64, "--batch-size", 4))
    assert_refused(result, "[MASK] is token 4", "but 5 of the model")
    assert_nothing_begun(folder)


def test_no_checkpoint_where_one_is_named(folder, capsys):
    assert_refused(called(capsys, *from_model(folder, folder / "nowhere")), "there is no folder")


def test_a_backend_that_does_not_work_here(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # so that the answer is the same where a GPU works
    assert_refused(called(capsys, *train(folder, "--backend", "cupy")), "the cupy backend cannot be used")
    assert_nothing_begun(folder)


def test_a_folder_that_holds_a_run(folder, capsys):
    assert called(capsys, *train(folder)).returncode == 0
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    assert_refused(called(capsys, *train(folder, "--seed", 1)), "holds a run already", "--resume", "--out")
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()} == before


def test_a_folder_where_another_process_is_training(folder, capsys):
    """It has yet to write its first checkpoint; what it has written stays as it is."""
    with only_writer(folder / "run"):
        (folder / "run/options.toml").write_text("steps = 6\n")
        assert_refused(called(capsys, *train(folder, "--seed", 1)), "another process is training in")
        assert (folder / "run/options.toml").read_text() == "steps = 6\n"
        assert sorted(path.name for path in (folder / "run").iterdir()) == [".lock", "options.toml"]


def test_a_run_that_another_process_made_meanwhile(folder, capsys, monkeypatch):
    assert called(capsys, *train(folder)).returncode == 0
    before = {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()}
    exists, answers = checkpoint.exists, [False, False]  # before the trainer is made, and before the folder is held
    monkeypatch.setattr(checkpoint, "exists", lambda where: answers.pop() if answers else exists(where))
    assert_refused(called(capsys, *train(folder, "--seed", 1)), "holds a run already")
    assert {path: path.read_bytes() for path in (folder / "run").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("changes", [{"about": {}}, {"about": None, "files": {}}, {"about": {"tokens": "x"}}])
def test_a_checkpoint_whose_record_was_altered(folder, capsys, changes):
    assert called(capsys, *train(folder, "--checkpoint-every", 3)).returncode == 0

    def alter(step):
        file = folder / f"run/{step}/run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    alter("step-00000006")
    result = called(capsys, "train", "--resume", "--out", folder / "run")
    assert result.returncode == 0
    assert "step-00000006 is damaged: run.json has no " in result.stderr
    alter("step-00000006")
    alter("step-00000003")
    result = called(capsys, "train", "--resume", "--out", folder / "run")
    assert (result.returncode, result.stdout) == (2, "")
    assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["warning", "warning", "error"]


def test_a_state_without_the_optimizer(folder, capsys):
    """What another program has written, digest and all."""
    assert called(capsys, *train(folder)).returncode == 0
    shutil.rmtree(folder / "run/step-00000000")
    state, record = (folder / "run/step-00000006" / name for name in ("state.safetensors", "run.json"))
    save_file({"optimizer/steps": numpy.array(6)}, state)
    content = json.loads(record.read_text())
    content["files"][state.name] = [state.stat().st_size, hashlib.sha256(state.read_bytes()).hexdigest()]
    record.write_text(json.dumps(content))
    result = called(capsys, "train", "--resume", "--out", folder / "run")
    assert_refused(result, "step-00000006 is damaged: its state.safetensors has no 'mean'")


def test_a_run_whose_checkpoints_are_all_damaged(folder, capsys):
    assert called(capsys, *train(folder)).returncode == 0
    for state in folder.glob("run/step-*/state.safetensors"):
        state.write_bytes(b"")
    result = called(capsys, "train", "--resume", "--out", folder / "run")
    assert result.returncode == 2
    warnings, line = result.stderr.splitlines()[:-1], result.stderr.splitlines()[-1]
    assert [warning.startswith("minimapnet: warning: ") for warning in warnings] == [True, True]
    assert line.startswith("minimapnet: error: no checkpoint in ")


def test_a_damaged_checkpoint_is_named_and_its_elder_used(folder, capsys):
    assert called(capsys, *train(folder, "--checkpoint-every", 2)).returncode == 0
    whole = (folder / "run/step-00000006/model.safetensors").read_bytes()
    (folder / "run/step-00000006/state.safetensors").write_bytes(b"cut")
    result = called(capsys, "train", "--resume", "--out", folder / "run")
    assert result.returncode == 0
    assert "step-00000006 is damaged" in result.stderr
    assert (folder / "run/step-00000006/model.safetensors").read_bytes() == whole


def test_out_inside_a_file(folder, capsys):
    result = called(capsys, *train(folder, "--out", folder / "text.txt/run"))
    assert_refused(result, "cannot write to the folder", "--out")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, where not even root can make a folder")
@pytest.mark.parametrize("name", ["--out", "--cache"])
def test_places_where_nobody_may_write(folder, capsys, name):
    assert_refused(called(capsys, *train(folder, name, "/proc/here")), "cannot write", "/proc/here")
    assert_nothing_begun(folder)


@pytest.mark.parametrize("room", range(6))
def test_a_full_disk(folder, capsys, monkeypatch, room):
    """The disk takes `room` more files, then no other; what was written whole stays, and nothing else."""
    assert called(capsys, *train(folder, "--dry-run")).returncode == 0  # the text is in the cache
    sync, left = os.fsync, [room]

    def full(handle):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    assert_refused(called(capsys, *train(folder)), "cannot write", "No space left on device")
    assert not list(folder.glob("run/step-*"))
    assert not [path for path in folder.rglob(".*") if path.name != ".lock"]


def test_divergence_is_one_line_and_a_checkpoint_stays(folder, capsys):
    options = ("--learning-rate", 1e38, "--max-grad-norm", 1e38, "--checkpoint-every", 1, "--warmup-ratio", 0)
    result = called(capsys, *train(folder, *options))
    assert_refused(result, "training diverged at step", "Try a lower learning rate")
    assert (folder / "run/step-00000000/run.json").exists()


def test_too_large_for_memory(folder, capsys, monkeypatch):
    def no_room(self, resume=False, on_begin=None):
        raise MemoryError

    monkeypatch.setattr(Trainer, "run", no_room)
    assert_refused(called(capsys, *train(folder)), "does not fit into memory")
