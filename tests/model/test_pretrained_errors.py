"""Hugging Face's folders with something wrong: one clear line, which names the file and the field or the tensor."""

import tracemalloc

import numpy
import pytest

from minimapnet import Bert, BertConfig, InputError
from minimapnet.model.config import SIZES
from tests.helpers.pretrained_folders import encoder, masked_lm, refusal, write_folder, write_json, write_shards


@pytest.mark.parametrize(
    "changes, fragments",
    [
        ({"hidden_act": "silu"}, ["hidden_act 'silu'", "gelu_new"]),
        ({"hidden_act": {"a": 1}}, ["hidden_act", "not text"]),
        ({"position_embedding_type": "relative_key"}, ["position_embedding_type 'relative_key'", "'absolute'"]),
        ({"is_decoder": True}, ["is_decoder True", "False"]),
        ({"add_cross_attention": True}, ["add_cross_attention True"]),
        ({"model_type": "roberta"}, ["model_type 'roberta'", "'bert'"]),
        ({"hidden_size": "4"}, ["hidden_size '4'", "whole number"]),
        ({"hidden_size": 4.0}, ["hidden_size 4.0", "whole number"]),
        ({"num_hidden_layers": 0}, ["num_hidden_layers", "positive"]),
        ({"num_hidden_layers": True}, ["num_hidden_layers True", "whole number"]),
        ({"num_attention_heads": 3}, ["num_attention_heads 3"]),
        ({"layer_norm_eps": "small"}, ["layer_norm_eps 'small'", "number"]),
        ({"layer_norm_eps": float("nan")}, ["layer_norm_eps nan", "number"]),
        ({"tie_word_embeddings": 1}, ["tie_word_embeddings 1", "true or false"]),
        ({"hidden_dropout_prob": 1.5}, ["hidden_dropout_prob", "1.5"]),
        ({"mask_token_id": 11}, ["mask_token_id 11", "vocabulary of 11"]),
        ({"mask_token_id": "5"}, ["mask_token_id '5'", "whole number"]),
        ({"pad_token_id": True}, ["pad_token_id True", "whole number"]),
        ({"vocab_size": 12}, ["bert.embeddings.word_embeddings.weight", "vocab_size 12", "(11, 4)", "(12, 4)"]),
        ({"intermediate_size": 8}, ["bert.encoder.layer.0.intermediate.dense.weight", "(6, 4)", "(8, 4)"]),
        ({"max_position_embeddings": 9}, ["bert.embeddings.position_embeddings.weight", "(7, 4)", "(9, 4)"]),
        ({"num_hidden_layers": 3}, ["lack", "bert.encoder.layer.2.attention.self.query.weight"]),
        ({"num_hidden_layers": 1}, ["bert.encoder.layer.1.", "no place"]),
    ],
)
def test_a_config_that_does_not_fit(tmp_path, changes, fragments):
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, **changes))
    assert "config.json" in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'"bert"', b"\xff\xfe", b"[" * 100_000])
def test_a_config_that_is_not_a_json_object(tmp_path, content):
    folder = write_folder(tmp_path)
    (folder / "config.json").write_bytes(content)
    message = refusal(Bert.from_pretrained, folder)
    assert "config.json is not JSON" in message or "config.json is not UTF-8" in message or "a JSON object" in message


def test_files_that_are_not_there(tmp_path):
    assert "no folder" in refusal(Bert.from_pretrained, tmp_path / "nowhere")
    folder = write_folder(tmp_path / "model")
    assert "no folder" in refusal(Bert.from_pretrained, folder / "config.json")
    (folder / "model.safetensors").unlink()
    assert "has no model.safetensors" in refusal(Bert.from_pretrained, folder)
    write_folder(folder)
    (folder / "config.json").unlink()
    assert "config.json" in refusal(Bert.from_pretrained, folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_a_pickle_is_refused_with_a_command_that_converts_it(tmp_path, name):
    folder = write_folder(tmp_path)
    (folder / name).write_bytes(b"never read")
    Bert.from_pretrained(folder)  # beside model.safetensors it does no harm
    (folder / "model.safetensors").unlink()
    message = refusal(Bert.from_pretrained, folder)
    assert name in message and "python -c" in message and "weights_only=True" in message


@pytest.mark.parametrize("name", sorted(masked_lm()))
def test_a_missing_tensor_is_named(tmp_path, name):
    hf = masked_lm()
    del hf[name]
    assert f"lack the tensor {name}," in refusal(Bert.from_pretrained, write_folder(tmp_path, hf))


@pytest.mark.parametrize("name", sorted(masked_lm()))
def test_a_tensor_of_a_wrong_shape_is_named(tmp_path, name):
    for wrong in (
        numpy.zeros((5, 13), "float32"),
        numpy.zeros(13, "float32"),
        numpy.zeros((1, *masked_lm()[name].shape), "float32"),
    ):
        message = refusal(Bert.from_pretrained, write_folder(tmp_path, masked_lm() | {name: wrong}))
        assert f"has {name} of shape {wrong.shape}" in message and str(masked_lm()[name].shape) in message


def test_a_tensor_that_is_not_of_floating_point_is_named(tmp_path):
    name = "bert.encoder.layer.1.output.dense.weight"
    hf = masked_lm() | {name: numpy.zeros((4, 6), "int8")}
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, hf))
    assert f"{name} as I8" in message and "BF16" in message


def test_a_tensor_that_would_be_left_aside_is_named(tmp_path):
    hf = masked_lm() | {"bert.encoder.layer.0.crossattention.self.query.weight": numpy.zeros((4, 4), "float32")}
    assert "layer.0.crossattention" in refusal(Bert.from_pretrained, write_folder(tmp_path, hf))
    hf = masked_lm() | {"embeddings.LayerNorm.bias": numpy.zeros(4, "float32")}
    assert "two names" in refusal(Bert.from_pretrained, write_folder(tmp_path, hf))


def test_a_head_that_config_promises_is_missed(tmp_path):
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, encoder()))
    assert "lack the tensor cls.predictions.transform.dense.weight" in message


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize("name", sorted(masked_lm()))
def test_a_value_that_is_not_finite_is_refused_by_the_tensors_name(tmp_path, name, value):
    hf = masked_lm()
    hf[name].flat[-1] = value
    for tensors in (hf, hf | {"cls.predictions.decoder.weight": hf["bert.embeddings.word_embeddings.weight"]}):
        assert f"has {name} with values that are NaN, infinite" in refusal(
            Bert.from_pretrained, write_folder(tmp_path, tensors)
        )


def test_a_value_that_single_precision_cannot_hold(tmp_path):
    name = "bert.encoder.layer.1.output.dense.weight"
    hf = masked_lm() | {name: numpy.full((4, 6), 1e300)}
    assert f"has {name} with values" in refusal(Bert.from_pretrained, write_folder(tmp_path, hf))
    assert Bert.from_pretrained(tmp_path, dtype="float64").params["layer1.feed_out.weight"][0, 0] == 1e300


def test_a_decoder_alone_that_is_not_finite(tmp_path):
    for tied in (True, False):
        decoder = masked_lm()["bert.embeddings.word_embeddings.weight"]
        decoder[1, 1] = numpy.nan
        folder = write_folder(tmp_path, masked_lm() | {"cls.predictions.decoder.weight": decoder}, tie_word_embeddings=tied)
        assert "has cls.predictions.decoder.weight with values that are NaN" in refusal(Bert.from_pretrained, folder)


@pytest.mark.parametrize("size", [3 * 10**8, 10**12, 2**63, 10**400])
@pytest.mark.parametrize("name", SIZES)
def test_absurd_sizes_are_refused_before_memory_is_taken(tmp_path, name, size):
    tracemalloc.start()
    try:
        message = refusal(Bert.from_pretrained, write_folder(tmp_path, **{name: size}))
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()
    assert f"config.json: {name} must be at most" in message


@pytest.mark.parametrize("name", SIZES)
def test_the_largest_sizes_that_are_believed_are_held_against_the_tensors(tmp_path, name):
    changes = {name: SIZES[name]} | ({"hidden_size": SIZES[name]} if name == "num_attention_heads" else {})
    tracemalloc.start()
    try:
        refusal(Bert.from_pretrained, write_folder(tmp_path, **changes))
        assert tracemalloc.get_traced_memory()[1] < 10**8
    finally:
        tracemalloc.stop()


def test_a_new_model_that_no_memory_holds():
    sizes = {"vocab_size": 2**24, "hidden_size": 2**16, "num_hidden_layers": 1000, "intermediate_size": 2**20}
    assert "make the model smaller" in refusal(Bert, BertConfig(**sizes))


def test_damaged_weights(tmp_path):
    folder = write_folder(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    for content in (b"", whole[:4], whole[:100], whole[: len(whole) // 2], whole[:-1], whole + b"x", b"\xff" * 64):
        (folder / "model.safetensors").write_bytes(content)
        message = refusal(Bert.from_pretrained, folder)
        assert "model.safetensors is damaged or cut short" in message


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "model-00002-of-00002.safetensors"])
def test_a_pointer_of_git_lfs(tmp_path, name):
    folder = (write_shards if "-of-" in name else write_folder)(tmp_path, masked_lm(), mask_token_id=None)
    (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert f"{name} is a pointer of Git LFS, not the file itself: run git lfs pull" in refusal(Bert.from_pretrained, folder)


def test_no_byte_of_the_header_can_do_worse_than_an_input_error(tmp_path):
    folder = write_folder(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    rng = numpy.random.default_rng(0)
    refused = 0
    for place in [*range(8), *rng.integers(8, end, 300)]:
        content = bytearray(whole)
        content[place] = rng.integers(256)
        (folder / "model.safetensors").write_bytes(content)
        try:
            Bert.from_pretrained(folder)
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 200


@pytest.mark.parametrize(
    "index, fragment",
    [
        ({}, "no weight_map"),
        ({"weight_map": []}, "no weight_map"),
        ({"weight_map": {"a": "../model.safetensors"}}, "'../model.safetensors'"),
        ({"weight_map": {"a": 3}}, "puts a in 3"),
        ({"weight_map": {"a": "model-9.safetensors"}}, "lists model-9.safetensors, which is not there"),
        ({"weight_map": {"a": "model-00001-of-00002.safetensors"}}, "puts a in model-00001-of-00002.safetensors"),
    ],
)
def test_an_index_that_does_not_fit_its_shards(tmp_path, index, fragment):
    folder = write_shards(tmp_path, masked_lm())
    write_json(folder / "model.safetensors.index.json", index)
    message = refusal(Bert.from_pretrained, folder)
    assert fragment in message and "model.safetensors.index.json" in message
