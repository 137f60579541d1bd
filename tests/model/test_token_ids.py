"""The ids of [MASK] and [PAD]: from config.json, else the tokenizer's files, else the caller."""

import json

import numpy
import pytest

from minimapnet import Bert, gradients
from tests.helpers.pretrained_folders import refusal, write_folder

IDS = numpy.array([[1, 2, 3, 4], [9, 8, 7, 6]])
TOKENIZER = {
    "added_tokens": [{"id": 0, "content": "<pad>", "special": True}, {"id": 9, "content": "[MASK]", "special": True}],
    "model": {"type": "WordPiece", "vocab": {"[PAD]": 3, "<mask>": 8, "[MASK]": 2}},
}
VOCAB = "[PAD]\na\n\u2028\n<mask>\n[MASK]\n"  # U+2028 is a token, not the end of a line


@pytest.mark.parametrize(
    "files, mask, pad",
    [
        ({}, None, None),
        ({"vocab.txt": VOCAB}, 4, 0),
        ({"vocab.txt": VOCAB.replace("\n", "\r\n")}, 4, 0),
        ({"vocab.txt": VOCAB, "special_tokens_map.json": {"mask_token": "<mask>"}}, 3, 0),
        ({"vocab.txt": VOCAB, "special_tokens_map.json": {"mask_token": {"content": "<mask>"}}}, 3, 0),
        ({"vocab.txt": VOCAB, "tokenizer_config.json": {"mask_token": "<mask>"}}, 3, 0),
        ({"tokenizer.json": TOKENIZER}, 9, 3),
        ({"tokenizer.json": TOKENIZER, "vocab.txt": VOCAB}, 9, 3),
        ({"tokenizer.json": TOKENIZER, "special_tokens_map.json": {"mask_token": "<mask>", "pad_token": "<pad>"}}, 8, 0),
        ({"tokenizer.json": {"model": None, "added_tokens": 3}, "vocab.txt": VOCAB}, 4, 0),
    ],
)
def test_ids_from_the_tokenizers_files(tmp_path, files, mask, pad):
    folder = write_folder(tmp_path, mask_token_id=None, pad_token_id=None)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    config = Bert.from_pretrained(folder).config
    assert (config.mask_token_id, config.pad_token_id) == (mask, pad)
    write_folder(tmp_path)  # config.json comes first
    config = Bert.from_pretrained(folder).config
    assert (config.mask_token_id, config.pad_token_id) == (5, 0)


def test_ids_from_the_caller(tmp_path):
    folder = write_folder(tmp_path, mask_token_id=None, pad_token_id=None)
    positions = numpy.array([[0], [1]])
    assert "mask_token_id" in refusal(gradients, Bert.from_pretrained(folder), IDS, positions)
    model = Bert.from_pretrained(folder, mask_token_id=7, pad_token_id=1)
    assert (model.config.mask_token_id, model.config.pad_token_id) == (7, 1)
    gradients(model, IDS, positions)
    write_folder(tmp_path)
    assert Bert.from_pretrained(folder, mask_token_id=5).config.mask_token_id == 5
    message = refusal(Bert.from_pretrained, folder, mask_token_id=7)
    assert "mask_token_id 7" in message and "config.json says 5" in message


@pytest.mark.parametrize("name", ["tokenizer.json", "special_tokens_map.json", "vocab.txt"])
def test_a_tokenizers_file_that_cannot_be_read(tmp_path, name):
    folder = write_folder(tmp_path, mask_token_id=None)
    (folder / name).write_bytes(b"\xff\xfe{")
    assert name in refusal(Bert.from_pretrained, folder)
