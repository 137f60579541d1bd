"""Folders as Hugging Face writes them, made here by hand so that the tests need neither PyTorch nor transformers."""

import json

import numpy
import pytest
from safetensors.numpy import save_file

from minimapnet import InputError, backend

FIELDS = {
    "architectures": ["BertForMaskedLM"],
    "model_type": "bert",
    "vocab_size": 11,
    "hidden_size": 4,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 7,
    "type_vocab_size": 3,
    "mask_token_id": 5,
    "pad_token_id": 0,
}
V, C, F, P, Y = 11, 4, 6, 7, 3

EMBEDDINGS = {
    "embeddings.word_embeddings.weight": (V, C),
    "embeddings.position_embeddings.weight": (P, C),
    "embeddings.token_type_embeddings.weight": (Y, C),
    "embeddings.LayerNorm.weight": (C,),
    "embeddings.LayerNorm.bias": (C,),
}
LAYER = {
    "attention.self.query.weight": (C, C),
    "attention.self.query.bias": (C,),
    "attention.self.key.weight": (C, C),
    "attention.self.key.bias": (C,),
    "attention.self.value.weight": (C, C),
    "attention.self.value.bias": (C,),
    "attention.output.dense.weight": (C, C),
    "attention.output.dense.bias": (C,),
    "attention.output.LayerNorm.weight": (C,),
    "attention.output.LayerNorm.bias": (C,),
    "intermediate.dense.weight": (F, C),
    "intermediate.dense.bias": (F,),
    "output.dense.weight": (C, F),
    "output.dense.bias": (C,),
    "output.LayerNorm.weight": (C,),
    "output.LayerNorm.bias": (C,),
}
HEAD = {
    "cls.predictions.transform.dense.weight": (C, C),
    "cls.predictions.transform.dense.bias": (C,),
    "cls.predictions.transform.LayerNorm.weight": (C,),
    "cls.predictions.transform.LayerNorm.bias": (C,),
    "cls.predictions.bias": (V,),
}


def random_tensors(shapes, seed=0):
    """Draw {name: float32 array} of these shapes."""
    rng = numpy.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}


def encoder(prefix="bert."):
    """Return the tensors of a BertModel without its pooler, under `prefix`."""
    shapes = EMBEDDINGS | {f"encoder.layer.{i}.{name}": shape for i in range(2) for name, shape in LAYER.items()}
    return {prefix + name: value for name, value in random_tensors(shapes).items()}


def masked_lm(prefix="bert."):
    """Return the tensors of a BertForMaskedLM with a tied decoder."""
    return encoder(prefix) | random_tensors(HEAD, seed=1)


def write_json(path, content):
    path.write_text(json.dumps(content), encoding="utf-8")


def write_folder(folder, tensors=None, **changes):
    """Write config.json, FIELDS with `changes` (None: without the field), and model.safetensors; return the folder."""
    folder.mkdir(exist_ok=True)
    fields = FIELDS | changes
    write_json(folder / "config.json", {name: value for name, value in fields.items() if value is not None})
    save_file(masked_lm() if tensors is None else tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def write_shards(folder, tensors, **changes):
    """Write the same in two shards with an index."""
    write_folder(folder, tensors, **changes)
    (folder / "model.safetensors").unlink()
    names, weight_map = sorted(tensors), {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    return folder


def refusal(action, *args, **kwargs):
    """Return the message of the InputError that the action must raise; it must be one line."""
    with pytest.raises(InputError) as caught:
        action(*args, **kwargs)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def same_params(model, other):
    """Hold two models' parameters against each other, to the last bit."""
    assert model.params.keys() == other.params.keys()
    for name, value in model.params.items():
        numpy.testing.assert_array_equal(backend.to_host(value), backend.to_host(other.params[name]), err_msg=name)
