"""Hugging Face's folders, written by hand: every tensor goes to its place, under whichever name it comes."""

import json
import re

import numpy
import pytest

from minimapnet import Bert, backend, gradients
from minimapnet.model.config import ACTIVATIONS
from tests.helpers.pretrained_folders import (
    FIELDS,
    encoder,
    masked_lm,
    random_tensors,
    refusal,
    same_params,
    write_folder,
    write_json,
    write_shards,
)

IDS = numpy.array([[1, 2, 3, 4], [9, 8, 7, 6]])


def test_every_tensor_goes_to_its_place(tmp_path):
    hf = masked_lm()
    params = dict(Bert.from_pretrained(write_folder(tmp_path, hf)).params)

    def expect(name, value):
        numpy.testing.assert_array_equal(params.pop(name), value, err_msg=name)

    expect("word_embedding", hf["bert.embeddings.word_embeddings.weight"])
    expect("position_embedding", hf["bert.embeddings.position_embeddings.weight"])
    expect("type_embedding", hf["bert.embeddings.token_type_embeddings.weight"])
    expect("embedding_norm.weight", hf["bert.embeddings.LayerNorm.weight"])
    expect("embedding_norm.bias", hf["bert.embeddings.LayerNorm.bias"])
    for i in range(2):
        theirs = f"bert.encoder.layer.{i}"
        attention = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        expect(f"layer{i}.qkv.weight", numpy.hstack([hf[f"{name}.weight"].T for name in attention]))
        expect(f"layer{i}.qkv.bias", numpy.hstack([hf[f"{name}.bias"] for name in attention]))
        for ours, name in (("attention_out", "attention.output"), ("feed_in", "intermediate"), ("feed_out", "output")):
            expect(f"layer{i}.{ours}.weight", hf[f"{theirs}.{name}.dense.weight"].T)
            expect(f"layer{i}.{ours}.bias", hf[f"{theirs}.{name}.dense.bias"])
        for ours, name in (("attention_norm", "attention.output"), ("feed_norm", "output")):
            expect(f"layer{i}.{ours}.weight", hf[f"{theirs}.{name}.LayerNorm.weight"])
            expect(f"layer{i}.{ours}.bias", hf[f"{theirs}.{name}.LayerNorm.bias"])
    expect("head.transform.weight", hf["cls.predictions.transform.dense.weight"].T)
    expect("head.transform.bias", hf["cls.predictions.transform.dense.bias"])
    expect("head.norm.weight", hf["cls.predictions.transform.LayerNorm.weight"])
    expect("head.norm.bias", hf["cls.predictions.transform.LayerNorm.bias"])
    expect("head.decoder.bias", hf["cls.predictions.bias"])
    assert not params


def test_missing_config_entries_get_hugging_face_defaults(tmp_path):
    config = Bert.from_pretrained(write_folder(tmp_path, hidden_act="gelu_new", layer_norm_eps=1e-7)).config
    for name in set(FIELDS) - {"architectures", "model_type"}:
        assert getattr(config, name) == FIELDS[name]
    assert (config.hidden_act, config.layer_norm_eps) == ("gelu_new", 1e-7)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob, config.initializer_range) == (0.1, 0.1, 0.02)
    assert config.tie_word_embeddings and config.mlm_head
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, hidden_size=None, num_attention_heads=None))
    assert "(11, 4)" in message and "(11, 768)" in message
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, vocab_size=None))
    assert "vocab_size 30522" in message and "(30522, 4)" in message


@pytest.mark.parametrize("act, form", ACTIVATIONS.items())
def test_the_activations_that_are_known(tmp_path, act, form):
    assert Bert.from_pretrained(write_folder(tmp_path, hidden_act=act)).config.activation == form


def old_names(tensors):
    return {n.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for n, v in tensors.items()}


def with_pretraining(tensors):
    shapes = {
        "bert.pooler.dense.weight": (4, 4),
        "bert.pooler.dense.bias": (4,),
        "cls.seq_relationship.weight": (2, 4),
        "cls.seq_relationship.bias": (2,),
    }
    counters = {"bert.embeddings.position_ids": numpy.arange(7)[None]}
    return tensors | random_tensors(shapes) | counters


def renamed_bias(tensors):
    return {n.replace("predictions.bias", "predictions.decoder.bias"): v for n, v in tensors.items()}


def both_biases(tensors):
    return tensors | renamed_bias(tensors)


def decoder_too(tensors):
    return tensors | {"cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"]}


@pytest.mark.parametrize("change", [old_names, with_pretraining, renamed_bias, both_biases, decoder_too])
def test_files_that_say_the_same_otherwise(tmp_path, change):
    plain = Bert.from_pretrained(write_folder(tmp_path / "plain"))
    same_params(Bert.from_pretrained(write_folder(tmp_path / "changed", change(masked_lm()))), plain)


def test_names_without_the_prefix_and_shards(tmp_path):
    plain = Bert.from_pretrained(write_folder(tmp_path / "plain"))
    same_params(Bert.from_pretrained(write_folder(tmp_path / "bare", masked_lm(prefix=""))), plain)
    same_params(Bert.from_pretrained(write_shards(tmp_path / "shards", masked_lm())), plain)


def test_an_untied_decoder(tmp_path):
    hf = masked_lm() | random_tensors(
        {"cls.predictions.decoder.weight": (11, 4), "cls.predictions.decoder.bias": (11,)}, seed=2
    )
    model = Bert.from_pretrained(write_folder(tmp_path, hf, tie_word_embeddings=False))
    numpy.testing.assert_array_equal(model.params["head.decoder.weight"], hf["cls.predictions.decoder.weight"])
    # the decoder's own bias is the one that transformers adds to the logits
    numpy.testing.assert_array_equal(model.params["head.decoder.bias"], hf["cls.predictions.decoder.bias"])
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, hf))
    assert "cls.predictions.decoder.weight" in message and "tie_word_embeddings" in message
    message = refusal(Bert.from_pretrained, write_folder(tmp_path, tie_word_embeddings=False))
    assert "lack the tensor cls.predictions.decoder.weight" in message


@pytest.mark.parametrize("prefix, architecture", [("", "BertModel"), ("bert.", "BertForSequenceClassification")])
def test_an_encoder_alone_encodes_and_says_that_it_has_no_head(tmp_path, xp, prefix, architecture):
    model = Bert.from_pretrained(write_folder(tmp_path / "whole"))
    others = {"classifier.weight": numpy.zeros((2, 4), "float32")}
    alone = Bert.from_pretrained(write_folder(tmp_path / "alone", encoder(prefix) | others, architectures=[architecture]))
    assert not alone.config.mlm_head
    numpy.testing.assert_array_equal(backend.to_host(alone.encode(IDS)), backend.to_host(model.encode(IDS)))
    assert "no masked-language-model head" in refusal(alone.logits, IDS)
    assert "no masked-language-model head" in refusal(gradients, alone, IDS, numpy.array([[0], [1]]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stored", ["float16", "float32", "float64"])
def test_stored_in_one_dtype_and_computed_in_another(tmp_path, stored, dtype):
    hf = {name: value.astype(stored) for name, value in masked_lm().items()}
    model = Bert.from_pretrained(write_folder(tmp_path, hf), dtype=dtype)
    assert model.config.dtype == dtype and model.flat.dtype == dtype
    for name, theirs in (
        ("word_embedding", "bert.embeddings.word_embeddings.weight"),
        ("head.decoder.bias", "cls.predictions.bias"),
    ):
        numpy.testing.assert_array_equal(model.params[name], hf[theirs].astype(dtype))


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "special_tokens_map.json", "model.safetensors.index.json"]
)
def test_a_byte_order_mark_before_json(tmp_path, name):
    folder = write_shards(tmp_path, masked_lm(), mask_token_id=None)
    write_json(folder / "tokenizer.json", {"model": {"vocab": {"(here)": 7}}})
    write_json(folder / "special_tokens_map.json", {"mask_token": "(here)"})
    (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    assert Bert.from_pretrained(folder).config.mask_token_id == 7


def wrapped(*parts):
    """Return a function that puts parts into the names of tensors, as PyTorch's wrappers do."""
    return lambda tensors: {".".join([*parts, name]): value for name, value in tensors.items()}


def wrapped_inside(part):
    return lambda tensors: {re.sub(r"(layer\.\d+|embeddings|bert)\.", rf"\1.{part}.", n): v for n, v in tensors.items()}


@pytest.mark.parametrize("prefix", ["bert.", ""])
@pytest.mark.parametrize(
    "change",
    [
        *(
            wrapped(*parts.split())
            for parts in ("module", "model", "_orig_mod", "model module", "_orig_mod module", "module " * 3)
        ),
        *(wrapped_inside(part) for part in ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")),
    ],
)
def test_names_as_wrappers_of_pytorch_change_them(tmp_path, prefix, change):
    plain = Bert.from_pretrained(write_folder(tmp_path / "plain"))
    tensors = change(masked_lm(prefix))
    same_params(Bert.from_pretrained(write_folder(tmp_path / "changed", tensors)), plain)
    same_params(Bert.from_pretrained(write_shards(tmp_path / "shards", tensors)), plain)


@pytest.mark.parametrize("words", ["float16", "float32", "float64"])
@pytest.mark.parametrize("decoder", ["float16", "float32", "float64"])
def test_a_tied_decoder_may_be_stored_in_another_precision(tmp_path, words, decoder):
    name, other = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    hf = masked_lm()
    hf[name][0] = [1e-6, -3e-8, 0.0, 60000.0]
    exact = hf[name].astype(words)
    model = Bert.from_pretrained(write_folder(tmp_path, hf | {name: exact, other: exact.astype(decoder)}))
    numpy.testing.assert_array_equal(model.params["word_embedding"], exact.astype("float32"))
    changed = exact.astype(decoder)
    changed[3, 1] *= 1.01
    assert "ties the two" in refusal(Bert.from_pretrained, write_folder(tmp_path, hf | {name: exact, other: changed}))


def test_a_tied_decoder_in_bfloat16(tmp_path):
    folder, hf = write_folder(tmp_path), masked_lm()
    stored = {n: ("F32", v.shape, v.tobytes()) for n, v in hf.items()}
    words = hf["bert.embeddings.word_embeddings.weight"]
    bits = ((words.view("uint32") + 0x8000) >> 16).astype("<u2")  # rounded
    write_raw(
        folder / "model.safetensors", stored | {"cls.predictions.decoder.weight": ("BF16", bits.shape, bits.tobytes())}
    )
    same_params(Bert.from_pretrained(folder), Bert.from_pretrained(write_folder(tmp_path / "plain")))


def test_one_precision_must_agree_to_the_last_bit(tmp_path):
    for dtype in ("float16", "float32"):
        hf = {name: value.astype(dtype) for name, value in masked_lm().items()}
        decoder = hf["bert.embeddings.word_embeddings.weight"].copy()
        decoder[2, 1] = numpy.nextafter(decoder[2, 1], decoder.dtype.type(9))
        tensors = hf | {"cls.predictions.decoder.weight": decoder}
        assert "ties the two" in refusal(Bert.from_pretrained, write_folder(tmp_path, tensors))


def write_raw(path, tensors):
    """Write {name: (dtype, shape, bytes)} by the format's definition."""
    header, data = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_is_read_exactly(tmp_path):
    folder, hf = write_folder(tmp_path), masked_lm()
    bits = {name: (value.view("uint32") >> 16).astype("<u2") for name, value in hf.items()}  # cut off, so still exact
    write_raw(folder / "model.safetensors", {n: ("BF16", b.shape, b.tobytes()) for n, b in bits.items()})
    read = Bert.from_pretrained(folder).params["word_embedding"]
    expected = hf["bert.embeddings.word_embeddings.weight"]
    numpy.testing.assert_array_equal(read.view("uint32"), expected.view("uint32") & 0xFFFF0000)
    numpy.testing.assert_allclose(read, expected, rtol=2**-7)
