"""Checkpoints: the same bits back, damaged ones told from good ones, and nothing half-written."""

import hashlib
import json
import os
import re
import shutil

import numpy
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from minimapnet import Bert, InputError, backend
from minimapnet.text.tokenizer import characters
from minimapnet.training import checkpoint
from tests.helpers import training_cases as cases

STATES = {
    "optimizer": {"mean": numpy.arange(3, dtype=numpy.float32), "steps": numpy.array(7)},
    "proposal": {"table": numpy.arange(6.0).reshape(2, 3).T, "part/of": numpy.zeros((0, 2), bool)},
}

ABOUT = {"seconds": 0.1, "tokens": 3, "identity": {"settings": {"batch_size": 6}}}


def save(folder, step=5, **changes):
    arguments = {"model": cases.model(), "tokenizer": cases.TinyText().tokenizer, "states": STATES, "about": ABOUT}
    return checkpoint.save(folder, step, **(arguments | changes))


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tied", [True, False])
def test_everything_comes_back_to_the_last_bit(xp, tmp_path, dtype, tied):
    model = cases.model(dtype, tie_word_embeddings=tied)
    draw = numpy.random.default_rng(0).standard_normal(model.flat.size)
    model.flat[...] = backend.to_device(draw.astype(dtype))  # biases and LayerNorms too
    path = save(tmp_path, model=model)
    assert path == tmp_path / "step-00000005"
    found = checkpoint.newest(tmp_path)
    assert (found.path, found.step, found.about) == (path, 5, ABOUT)
    other = cases.model(dtype, seed=1, tie_word_embeddings=tied)
    found.load_model(other)
    assert (backend.to_host(other.flat) == backend.to_host(model.flat)).all()
    states = found.states()
    assert {part: set(arrays) for part, arrays in states.items()} == {part: set(arrays) for part, arrays in STATES.items()}
    for part, arrays in STATES.items():
        for name, array in arrays.items():
            assert (states[part][name].dtype, states[part][name].shape) == (array.dtype, array.shape)
            assert (states[part][name] == array).all()


def test_a_checkpoint_is_a_model_that_others_can_read(tmp_path):
    model, tokenizer = cases.model(), cases.TinyText().tokenizer
    path = save(tmp_path / "run", model=model)
    again = Bert.from_pretrained(path)
    assert (again.flat == model.flat).all()
    assert again.config == model.config
    assert Tokenizer.from_file(str(path / "tokenizer.json")).get_vocab() == tokenizer.get_vocab()


def test_the_model_in_a_run_is_that_of_its_newest_checkpoint(tmp_path):
    save(tmp_path / "run", 5)
    newest = save(tmp_path / "run", 10)
    assert checkpoint.model_folder(tmp_path / "run") == newest
    assert checkpoint.model_folder(newest) == newest
    assert checkpoint.model_folder(tmp_path / "elsewhere") == tmp_path / "elsewhere"


def test_the_last_two_are_kept(tmp_path):
    for step in (5, 10, 15, 20):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-00000015", "step-00000020"]
    save(tmp_path, 12)  # after going back to 10, say: what lies ahead is not of this run's past
    assert names(tmp_path) == ["step-00000012", "step-00000015", "step-00000020"]
    save(tmp_path, 15, about=ABOUT | {"seconds": 7.0})
    assert names(tmp_path) == ["step-00000012", "step-00000015", "step-00000020"]
    shutil.rmtree(tmp_path / "step-00000020")
    assert checkpoint.newest(tmp_path).about["seconds"] == 7.0


def test_a_folder_without_checkpoints_has_no_newest(tmp_path):
    (tmp_path / "step-12").mkdir()
    (tmp_path / "log.jsonl").write_text("{}\n")
    assert checkpoint.newest(tmp_path) is None
    assert checkpoint.newest(tmp_path / "nowhere") is None
    assert not checkpoint.exists(tmp_path)


# Damage


def cut(name):
    def damage(path):
        content = (path / name).read_bytes()
        (path / name).write_bytes(content[: len(content) // 2])

    return damage


def flip(name):
    def damage(path):
        content = bytearray((path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (path / name).write_bytes(content)

    return damage


def rewrite(**changes):
    def damage(path):
        run = json.loads((path / "run.json").read_text())
        (path / "run.json").write_text(json.dumps(run | changes))

    return damage


def rewrite_in(part, **changes):
    return lambda path: rewrite(**{part: json.loads((path / "run.json").read_text())[part] | changes})(path)


def foreign(path):
    shutil.rmtree(path)
    path.mkdir()
    (path / "pytorch_model.bin").write_bytes(b"\x80")


def replaced_by_a_file(path):
    shutil.rmtree(path)
    path.write_text("step 10")


DAMAGE = {
    "model cut": (cut("model.safetensors"), "is damaged: model.safetensors is not what was written"),
    "state cut": (cut("state.safetensors"), "is damaged: state.safetensors is not what was written"),
    "run cut": (cut("run.json"), "run.json is not JSON"),
    "model flipped": (flip("model.safetensors"), "is damaged: model.safetensors is not what was written"),
    "state flipped": (flip("state.safetensors"), "is damaged: state.safetensors is not what was written"),
    "config flipped": (flip("config.json"), "is damaged: config.json is not what was written"),
    "tokenizer gone": (lambda path: os.unlink(path / "tokenizer.json"), "is damaged: tokenizer.json: No such file"),
    "run gone": (lambda path: os.unlink(path / "run.json"), "cannot read .*run.json: No such file"),
    "another format": (rewrite(format=99), "is not a checkpoint of this version of minimapnet"),
    "another step": (rewrite(step=11), "is damaged: run.json is that of step 11"),
    "no step": (rewrite(step=None), "is damaged: run.json has no step that can be used"),
    "no object": (lambda path: (path / "run.json").write_text("[]"), "run.json must hold a JSON object, not a list"),
    "no files": (rewrite(files=None), "is damaged: run.json has no files that can be used"),
    "no list": (rewrite(files={"model.safetensors": 3}), "is damaged: run.json has no files that can be used"),
    "no digest": (rewrite_in("files", **{"model.safetensors": 3}), "is damaged: model.safetensors is not what was written"),
    "a strange name": (rewrite_in("files", **{"a\0b": [0, ""]}), "is damaged: run.json has no files that can be used"),
    "nothing about it": (rewrite(about=None), "is damaged: run.json has no about that can be used"),
    "nothing at all": (rewrite(about=None, files={}), "is damaged: run.json has no files that can be used"),
    "empty about": (rewrite(about={}), "is damaged: run.json has no about.identity that can be used"),
    "identity": (rewrite_in("about", identity=[]), "is damaged: run.json has no about.identity that can be used"),
    "tokens": (rewrite_in("about", tokens="x"), "is damaged: run.json has no about.tokens that can be used"),
    "seconds": (rewrite_in("about", seconds=float("nan")), "is damaged: run.json has no about.seconds that can be used"),
    "no time": (rewrite_in("about", seconds=10**400), "is damaged: run.json has no about.seconds that can be used"),
    "foreign": (foreign, "cannot read .*run.json: No such file"),
    "a file": (replaced_by_a_file, "cannot read .*run.json: Not a directory"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_is_named_and_its_elder_used(tmp_path, capsys, damage, message):
    good, bad = save(tmp_path, 5), save(tmp_path, 10)
    damage(bad)
    assert checkpoint.newest(tmp_path).path == good
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("minimapnet: warning: ")
    assert line.endswith("; the one before it is looked for")
    assert "step-00000010" in line
    assert re.search(message, line)
    damage(good)
    with pytest.raises(InputError, match=r"no checkpoint in .* can be used: begin anew in another folder"):
        checkpoint.newest(tmp_path)
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("arrays", [None, {"plain": numpy.zeros(2)}])
def test_a_state_that_something_else_has_written(tmp_path, arrays):
    """Its digest may be right."""
    state = save(tmp_path) / "state.safetensors"
    state.write_bytes(b"no arrays") if arrays is None else save_file(arrays, state)
    digest = hashlib.sha256(state.read_bytes()).hexdigest()
    rewrite_in("files", **{state.name: [state.stat().st_size, digest]})(state.parent)
    with pytest.raises(InputError, match=r"step-00000005 is damaged: state.safetensors is of another kind"):
        checkpoint.newest(tmp_path).states()


def test_a_damaged_checkpoint_is_replaced_at_its_step(tmp_path):
    save(tmp_path, 5)
    replaced_by_a_file(save(tmp_path, 10))
    save(tmp_path, 10)
    assert checkpoint.newest(tmp_path).step == 10
    foreign(tmp_path / "step-00000010")
    save(tmp_path, 10)
    assert checkpoint.newest(tmp_path).step == 10
    assert names(tmp_path) == ["step-00000005", "step-00000010"]


# Writing that fails


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
@pytest.mark.parametrize("writer", ["training.checkpoint", "model.safetensors_files"])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, error, writer):
    save(tmp_path, 5)

    def full(arrays, file, **options):
        file.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(f"minimapnet.{writer}.save_file", full)
    with pytest.raises(InputError, match=r"cannot write .*step-00000010.*: No space left on device"):
        save(tmp_path, 10)
    assert names(tmp_path) == ["step-00000005"]
    assert checkpoint.newest(tmp_path).step == 5


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write the checkpoint .*file/step-00000005: Not a directory"):
        save(tmp_path / "file")


def test_what_killed_writers_left_is_cleared_away(tmp_path):
    save(tmp_path, 5)
    for name in (".step-00000010.77", ".step-00000003.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".log.77.jsonl").write_text("{}")
    (tmp_path / "mine.txt").write_text("")
    checkpoint.clear(tmp_path)
    assert names(tmp_path) == ["mine.txt", "step-00000005"]


@pytest.mark.oracle
def test_transformers_reads_a_checkpoint(tmp_path):
    transformers, torch = pytest.importorskip("transformers"), pytest.importorskip("torch")
    run = cases.trainer(tmp_path / "run")
    run.run()
    theirs = transformers.BertForMaskedLM.from_pretrained(checkpoint.model_folder(tmp_path / "run")).eval()
    ids = run.text.validation.ids[run.text.validation.lengths == cases.LONGEST]
    with torch.no_grad():
        logits = theirs(torch.tensor(ids)).logits.numpy()
    numpy.testing.assert_allclose(run.model.logits(ids), logits, rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
def test_transformers_reads_the_tokenizer_beside_a_model(tmp_path):
    """Its own choice for a BERT without tokenizer_config.json would leave out the blanks."""
    transformers = pytest.importorskip("transformers")
    tokenizer = characters(["abc def h"], cases.VOCABULARY)
    theirs = transformers.AutoTokenizer.from_pretrained(save(tmp_path, tokenizer=tokenizer))
    assert theirs("a b [MASK] c")["input_ids"] == tokenizer.encode("a b [MASK] c").ids
