"""Folders that we save: back to the last bit, whole or not at all."""

import json
import re

import numpy
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from minimapnet import Bert, BertConfig, backend
from tests.helpers.pretrained_folders import FIELDS, masked_lm, refusal, same_params, write_folder

IDS = numpy.array([[1, 2, 3, 4], [9, 8, 7, 6]])
SMALL = {name: value for name, value in FIELDS.items() if name not in ("architectures", "model_type")}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"mlm_head": False}, {"hidden_act": "gelu_new"}])
def test_what_is_saved_comes_back_to_the_last_bit(tmp_path, xp, changes, dtype):
    model = Bert(BertConfig(**SMALL | changes, dtype=dtype), seed=3)
    model.save_pretrained(tmp_path / "new" / "model")
    again = Bert.from_pretrained(tmp_path / "new" / "model", dtype=dtype)
    assert again.config == model.config
    same_params(again, model)
    assert backend.to_host(again.encode(IDS)).tobytes() == backend.to_host(model.encode(IDS)).tobytes()


def test_ids_that_nobody_knows_stay_unknown(tmp_path):
    model = Bert(BertConfig(**SMALL | {"mask_token_id": None, "pad_token_id": None}))
    model.save_pretrained(tmp_path)
    assert Bert.from_pretrained(tmp_path).config == model.config


def test_what_hugging_face_reads_comes_back_to_the_last_bit(tmp_path):
    hf = masked_lm()
    Bert.from_pretrained(write_folder(tmp_path / "theirs", hf)).save_pretrained(tmp_path / "ours")
    saved = load_file(tmp_path / "ours" / "model.safetensors")
    assert saved.keys() == hf.keys()
    for name, value in hf.items():
        numpy.testing.assert_array_equal(saved[name], value, err_msg=name)


def test_the_saved_files(tmp_path):
    Bert(BertConfig(**SMALL)).save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1  # whoever may read the one may read the other
    with safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}
    config = json.loads((tmp_path / "config.json").read_text())
    for name, value in (FIELDS | {"dtype": "float32", "tie_word_embeddings": True}).items():
        assert config[name] == value
    Bert(BertConfig(**SMALL | {"mlm_head": False})).save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertModel"]
    assert all(re.match(r"(embeddings|encoder)\.", name) for name in load_file(tmp_path / "model.safetensors"))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path):
    resource = pytest.importorskip("resource")
    model = Bert(BertConfig(**SMALL | {"vocab_size": 1100}))
    folder = write_folder(tmp_path / "before")
    before = contents(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # files end at 4 KiB, as they would on a disk that is full
    try:
        message = refusal(model.save_pretrained, folder)
        refusal(model.save_pretrained, tmp_path / "new")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"cannot write {folder}" in message
    assert contents(folder) == before
    assert not list((tmp_path / "new").iterdir())


def test_a_folder_that_cannot_be_written(tmp_path):
    model = Bert(BertConfig(**SMALL))
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"cannot write {folder}" in refusal(model.save_pretrained, folder)
    (tmp_path / "model" / "model.safetensors").mkdir(parents=True)  # a folder stands where the weights must go
    assert "cannot write" in refusal(model.save_pretrained, tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["model.safetensors"]


def test_saving_again_replaces(tmp_path):
    first, second = (Bert(BertConfig(**SMALL), seed=seed) for seed in (0, 1))
    first.save_pretrained(tmp_path)
    second.save_pretrained(tmp_path)
    same_params(Bert.from_pretrained(tmp_path), second)
    save_file({"x": numpy.zeros(1)}, tmp_path / "other.safetensors")  # what else lies there stays
    first.save_pretrained(tmp_path)
    assert (tmp_path / "other.safetensors").exists()
