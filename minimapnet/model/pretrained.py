"""Hugging Face's BERT folders: config.json and model.safetensors, under Hugging Face's own names.

`Bert.from_pretrained` and `Bert.save_pretrained` are the way in. Read are `BertForMaskedLM` and `BertForPreTraining` (whose
pooler and next-sentence head are left aside) and encoders alone, such as `BertModel`; written are `BertForMaskedLM`, and
`BertModel` without its pooler for an encoder alone.
"""

import math
import re
from pathlib import Path

import numpy

from minimapnet import backend, special_tokens
from minimapnet.errors import InputError
from minimapnet.files import as_path, read_json, read_lines
from minimapnet.model import parameters, safetensors_files
from minimapnet.model.config import BertConfig
from minimapnet.model.safetensors_files import CONFIG, StoredTensor

# What Hugging Face's BertConfig takes where config.json is silent. The type of a default is the type of the field.
DEFAULTS = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "tie_word_embeddings": True,
}
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
ONLY = {"model_type": "bert", "position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
WITH_HEAD = ("BertForMaskedLM", "BertForPreTraining")

# Our parameters and theirs. A linear weight is (in, out) here and (out, in) there; qkv is three of theirs side by side.
MODULES = {
    "word_embedding": ("embeddings.word_embeddings",),
    "position_embedding": ("embeddings.position_embeddings",),
    "type_embedding": ("embeddings.token_type_embeddings",),
    "embedding_norm": ("embeddings.LayerNorm",),
    "layer<i>.qkv": tuple(f"encoder.layer.<i>.attention.self.{part}" for part in ("query", "key", "value")),
    "layer<i>.attention_out": ("encoder.layer.<i>.attention.output.dense",),
    "layer<i>.attention_norm": ("encoder.layer.<i>.attention.output.LayerNorm",),
    "layer<i>.feed_in": ("encoder.layer.<i>.intermediate.dense",),
    "layer<i>.feed_out": ("encoder.layer.<i>.output.dense",),
    "layer<i>.feed_norm": ("encoder.layer.<i>.output.LayerNorm",),
    "head.transform": ("cls.predictions.transform.dense",),
    "head.norm": ("cls.predictions.transform.LayerNorm",),
    "head.decoder": ("cls.predictions.decoder",),
}
HEAD = "cls.predictions."
BIAS, OTHER_BIAS = "cls.predictions.decoder.bias", "cls.predictions.bias"  # two names for one vector
DECODER, WORDS = "cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"
WRAPPERS = {
    "module",
    "model",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
}  # parts of names, of PyTorch's
ROUNDING = {"F64": 0.0, "F32": 2.0**-23, "F16": 2.0**-10, "BF16": 2.0**-7}  # what a dtype may change, of a value
SMALLEST = 2.0**-24  # above 0 in half precision
COUNTERS = {"embeddings.position_ids", "embeddings.token_type_ids"}  # 0, 1, 2, ... and zeros, in files of old


def load(folder, mask_token_id=None, pad_token_id=None, dtype="float32") -> tuple[BertConfig, numpy.ndarray]:
    """Read a folder: return the config and the parameters as a flat host buffer of `dtype` (see `parameters.flat_views`).

    Raises InputError, in one line that names the file and the field or the tensor, for whatever is missing or does not fit.
    """
    folder = as_path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: fetch the model first, with its {CONFIG} and its weights")
    fields = read_json(folder / CONFIG)
    stored = _by_plain_name(safetensors_files.stored_tensors(folder))
    architectures = fields.get("architectures")
    claims_head = isinstance(architectures, list) and any(name in architectures for name in WITH_HEAD)
    has_head = any(name.startswith(HEAD) for name in stored)
    ids = {
        "mask_token_id": token_id(folder, fields, "mask_token", mask_token_id),
        "pad_token_id": token_id(folder, fields, "pad_token", pad_token_id),
    }
    config = _config(folder / CONFIG, fields, **ids, dtype=dtype, mlm_head=has_head or claims_head)
    return config, _read_parameters(config, stored, folder)


def save(folder, config: BertConfig, params: dict) -> None:
    """Write a model's config and params as a folder that `load` and transformers read, to the last bit.

    Raises InputError where it cannot be written; what was there before then still is.
    """
    fields = {name: getattr(config, name) for name in (*DEFAULTS, "mask_token_id", "pad_token_id", "dtype")}
    architecture = "BertForMaskedLM" if config.mlm_head else "BertModel"
    fields |= {"architectures": [architecture], "model_type": "bert"}
    tensors = {}
    for name, value in params.items():
        value = backend.to_host(value)
        value = value.T if _lies_transposed(name, value.shape) else value
        theirs = _their_names(name)
        for their_name, part in zip(theirs, numpy.split(value, len(theirs)), strict=True):
            tensors[_full_name(their_name, config.mlm_head)] = numpy.ascontiguousarray(part)
    if config.mlm_head:
        tensors[OTHER_BIAS] = tensors[BIAS]
        if config.tie_word_embeddings:  # transformers expects both names only where nothing is tied
            del tensors[BIAS]
    safetensors_files.write_folder(as_path(folder), fields, tensors)


def _config(path: Path, fields: dict, **ours) -> BertConfig:
    """Make a BertConfig of the fields of config.json."""
    for name, wanted in ONLY.items():
        if fields.get(name, wanted) != wanted:
            raise InputError(f"{path} has {name} {fields[name]!r}: only {wanted!r} can be loaded")
    values = {name: fields.get(name, default) for name, default in DEFAULTS.items()}
    for name, value in values.items():
        kind = type(DEFAULTS[name])
        fits = type(value) is kind or (kind is float and type(value) is int)
        if not fits or (kind is float and not abs(value) < math.inf):  # JSON in Python may hold NaN
            raise InputError(f"{path} has {name} {value!r}, which is not {KINDS[kind]}")
    try:
        return BertConfig(**values, **ours)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _by_plain_name(stored: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Return the tensors by today's names without `bert.` and what wrappers of PyTorch put into names.

    Old files say gamma and beta, and some have two names for one.
    """
    plain = {}
    for name, tensor in stored.items():
        name = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name.removeprefix("bert."))
        name = re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)
        if name in plain:
            raise InputError(f"{tensor.path} has both {plain[name].name} and {tensor.name}, two names for one tensor")
        plain[name] = tensor
    other = plain.pop(OTHER_BIAS, None)
    if other is not None:
        plain.setdefault(BIAS, other)  # where the two differ, the decoder's own is the one that transformers adds
    return plain


def _read_parameters(config: BertConfig, stored: dict[str, StoredTensor], folder: Path) -> numpy.ndarray:
    """Check every tensor by the files' headers, and only then read them into a flat buffer."""
    shapes = parameters.parameter_shapes(config)
    for name, shape in shapes.items():
        for their_name in _their_names(name):
            _check(their_name, stored, _their_shape(name, shape), config, folder)
    _check_unused(config, stored, shapes)
    flat = numpy.empty(sum(map(math.prod, shapes.values())), config.dtype)
    for name, view in parameters.flat_views(flat, shapes).items():
        theirs = _their_names(name)
        for their_name, part in zip(theirs, numpy.split(view, len(theirs), axis=-1), strict=True):
            with numpy.errstate(over="ignore"):  # double to single precision, which is looked at below
                value = stored[their_name].read().astype(config.dtype, copy=False)
            _check_finite(value, stored[their_name])
            part[...] = value.T if _lies_transposed(name, view.shape) else value
    if config.mlm_head and config.tie_word_embeddings and DECODER in stored:
        _check_tied(stored, config, folder)
    return flat


def _check(name: str, stored: dict[str, StoredTensor], shape: tuple[int, ...], config: BertConfig, folder: Path) -> None:
    """Raise InputError unless the tensor is there, of this shape, and made of floating-point numbers that we can read."""
    if name not in stored:
        prefixed = any(tensor.name.startswith("bert.") for tensor in stored.values())
        name = OTHER_BIAS if name == BIAS else _full_name(name, prefixed)
        raise InputError(f"the weights in {folder} lack the tensor {name}, which {CONFIG} asks for")
    tensor = stored[name]
    if tensor.shape != shape:
        vocabulary = f" (vocab_size {config.vocab_size})" if name in (WORDS, DECODER, BIAS) else ""
        raise InputError(
            f"{tensor.path} has {tensor.name} of shape {tensor.shape}, but by {CONFIG}{vocabulary} it must be {shape}"
        )
    if tensor.dtype not in safetensors_files.DTYPES:
        known = ", ".join(safetensors_files.DTYPES)
        raise InputError(f"{tensor.path} has {tensor.name} as {tensor.dtype}, which is none of {known}")


def _check_finite(value: numpy.ndarray, tensor: StoredTensor) -> None:
    if not numpy.isfinite(value).all():
        raise InputError(
            f"{tensor.path} has {tensor.name} with values that are NaN, infinite or too large for {value.dtype}: take a "
            "checkpoint from before training diverged, or fetch it again"
        )


def _check_tied(stored: dict[str, StoredTensor], config: BertConfig, folder: Path) -> None:
    """Raise InputError unless a decoder that is stored beside the words is the same, but for the rounding of its dtype."""
    words, decoder = stored[WORDS], stored[DECODER]
    _check(DECODER, stored, words.shape, config, folder)
    value = decoder.read()
    _check_finite(value, decoder)
    rounding = abs(ROUNDING[words.dtype] - ROUNDING[decoder.dtype]) and max(ROUNDING[words.dtype], ROUNDING[decoder.dtype])
    if not numpy.allclose(value, words.read(), rtol=rounding, atol=SMALLEST if rounding else 0.0):
        raise InputError(
            f"{decoder.path} has {decoder.name} that differs from {words.name}, but {CONFIG} ties the two: set "
            "tie_word_embeddings to false there"
        )


def _check_unused(config: BertConfig, stored: dict[str, StoredTensor], shapes: dict) -> None:
    """Raise InputError for a tensor of the encoder or the head that would be left aside: the model would not be the same."""
    used = {their_name for name in shapes for their_name in _their_names(name)} | COUNTERS
    if config.mlm_head and config.tie_word_embeddings:
        used.add(DECODER)
    for name, tensor in stored.items():
        if name.startswith(("embeddings.", "encoder.", HEAD)) and name not in used:
            raise InputError(f"{tensor.path} has {tensor.name}, for which {CONFIG} leaves no place")


def _their_names(name: str) -> list[str]:
    """Return Hugging Face's names, without `bert.`, of the tensors that are side by side in our parameter."""
    module, kind = name.rsplit(".", 1) if "." in name else (name, "weight")
    number = re.match(r"layer(\d+)\.", module)
    i = number.group(1) if number else ""
    module = re.sub(r"^layer\d+\.", "layer<i>.", module)
    return [f"{theirs.replace('<i>', i)}.{kind}" for theirs in MODULES[module]]


def _full_name(name: str, prefixed: bool) -> str:
    return f"bert.{name}" if prefixed and not name.startswith(HEAD) else name


def _lies_transposed(name: str, shape: tuple[int, ...]) -> bool:
    """Return whether a parameter is a linear layer's weight; tables of V, P or Y rows are alike in both."""
    return len(shape) == 2 and name.endswith(".weight") and name != "head.decoder.weight"


def _their_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape there of each part of our parameter."""
    part = (*shape[:-1], shape[-1] // len(_their_names(name)))
    return part[::-1] if _lies_transposed(name, shape) else part


def token_id(folder: Path, config: dict, token: str, given: int | None) -> int | None:
    """Return the id of `token` ("mask_token" or "pad_token"), or None where nobody knows it.

    What the folder says (its config.json, read as `config`, else its tokenizer's files) comes first, then what the caller
    has `given`.

    Raises InputError where the two contradict each other, or a file cannot be read.
    """
    token_id, where = config.get(f"{token}_id"), CONFIG
    if token_id is None:
        token_id, where = _from_tokenizer(folder, token)
    if token_id is None:
        return given
    if isinstance(token_id, bool) or not isinstance(token_id, int):
        raise InputError(f"{folder / where} gives {token}_id {token_id!r}, which is not a whole number")
    if given not in (None, token_id):
        raise InputError(
            f"{token}_id {given} was given, but {folder / where} says {token_id}; leave it out, or mend the file"
        )
    return token_id


def _from_tokenizer(folder: Path, token: str) -> tuple[int | None, str]:
    """Return the id that the tokenizer's files have for the token, and the name of the file that says so."""
    role, declared = token.removesuffix("_token"), _spelling(folder, token)
    for name, ids in (("tokenizer.json", _ids_of_tokenizer_json), ("vocab.txt", _ids_of_vocab_txt)):
        if (folder / name).is_file():
            special = special_tokens.find(ids(folder / name), {role: declared}).get(role)
            if special is not None:
                return special.id, name
    return None, ""


def _spelling(folder: Path, token: str) -> str | None:
    """Return the token as the files beside the tokenizer's write it, or None where they do not say."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            entry = read_json(folder / name).get(token)
            spelling = entry.get("content") if isinstance(entry, dict) else entry
            if isinstance(spelling, str):
                return spelling
    return None


def _ids_of_tokenizer_json(path: Path) -> dict[str, int]:
    tokenizer = read_json(path)
    model, added = tokenizer.get("model"), tokenizer.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = dict(vocabulary) if isinstance(vocabulary, dict) else {}
    if isinstance(vocabulary, list):  # Unigram's: a token's place is its id
        ids = {entry[0]: number for number, entry in enumerate(vocabulary) if isinstance(entry, list) and entry}
    for entry in added if isinstance(added, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("content"), str):
            ids[entry["content"]] = entry.get("id")
    return ids


def _ids_of_vocab_txt(path: Path) -> dict[str, int]:
    return {line: number for number, line in enumerate(read_lines(path))}
