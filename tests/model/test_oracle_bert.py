"""Our BERT against transformers' with the same random weights: logits, gradients, and folders read both ways."""

import logging
import os
import shlex
from dataclasses import dataclass

import numpy
import pytest

from minimapnet import Bert, BertConfig, InputError, backend, gradients, token_losses
from tests.helpers.pretrained_folders import refusal

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before transformers looks at it
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors_torch = pytest.importorskip("safetensors.torch")
transformers.utils.logging.disable_progress_bar()

pytestmark = pytest.mark.oracle

MASK, V, K = 4, 61, 5
CASES = {
    "one layer": {"num_hidden_layers": 1, "T": 40},
    "two layers, tanh, untied": {"num_hidden_layers": 2, "hidden_act": "gelu_new", "tie_word_embeddings": False, "T": 12},
    "three layers, tanh": {"num_hidden_layers": 3, "hidden_act": "gelu_pytorch_tanh", "num_attention_heads": 8, "T": 9},
    "relu": {"num_hidden_layers": 2, "hidden_act": "relu", "T": 12},
    "erf by another name": {"num_hidden_layers": 1, "hidden_act": "gelu_python", "T": 12},
    "tanh by another name": {"num_hidden_layers": 1, "hidden_act": "gelu_fast", "T": 12},
    "four layers, untied": {"num_hidden_layers": 4, "tie_word_embeddings": False, "layer_norm_eps": 1e-5, "T": 17},
}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def hugging_face(kind, dtype="float64", seed=0, **changes):
    """Make one of transformers' models with every parameter random, biases and LayerNorms too."""
    sizes = {"vocab_size": V, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
    config = transformers.BertConfig(**{**sizes, "max_position_embeddings": 40, "mask_token_id": MASK, **changes})
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.2 if parameter.ndim == 2 else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
            if name.endswith("LayerNorm.weight"):
                parameter.add_(1.0)
    return model.to(DTYPES[dtype])


@dataclass
class Batch:
    """Three sentences (B, T), the second and third padded; positions (B, K) padded with -1; random weights (B, K)."""

    ids: numpy.ndarray
    mask: numpy.ndarray
    types: numpy.ndarray
    positions: numpy.ndarray
    weights: numpy.ndarray


def random_batch(T, padded, seed=1):
    rng = numpy.random.default_rng(seed)
    lengths = (T, T // 2, T - 1) if padded else (T, T, T)
    mask = (numpy.arange(T) < numpy.array(lengths)[:, None]).astype(int)
    ids = numpy.where(
        mask, rng.integers(5, V, (3, T)), 0
    )  # 0, the padding, is no real token: transformers gives it no gradient
    positions = numpy.full((3, K), -1)
    for row, length, count in zip(positions, lengths, (K, 2, 3), strict=True):
        row[:count] = rng.permutation(length)[:count]
    return Batch(ids, mask, rng.integers(0, 2, (3, T)), positions, rng.uniform(0.2, 2.0, (3, K)))


def their_logits(model, ids, mask=None, types=None):
    tensors = (None if a is None else torch.as_tensor(a) for a in (ids, mask, types))
    return model(**dict(zip(("input_ids", "attention_mask", "token_type_ids"), tensors, strict=True))).logits


def their_losses(model, batch):
    """Return -log P of every masked token: {(b, j): scalar tensor}."""
    inputs = batch.ids.copy()
    masked = [(b, j, position) for (b, j), position in numpy.ndenumerate(batch.positions) if position != -1]
    for b, _, position in masked:
        inputs[b, position] = MASK
    logits = their_logits(model, inputs, batch.mask, batch.types)  # (B, T, V)
    losses = -torch.log_softmax(logits, -1)
    return {(b, j): losses[b, position, batch.ids[b, position]] for b, j, position in masked}


def assert_near(ours, theirs, tolerance, what=""):
    """Hold |ours - theirs| against the largest |theirs|."""
    ours, theirs = backend.to_host(ours), theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    assert ours.shape == theirs.shape, what
    distance = numpy.abs(ours - theirs).max() / numpy.abs(theirs).max()
    assert distance <= tolerance, f"{what}: {distance:.3g}"


def saved(model, folder, **kwargs):
    model.save_pretrained(folder, **kwargs)
    return folder


@pytest.fixture(params=CASES)
def case(request):
    changes = dict(CASES[request.param])
    return changes.pop("T"), changes


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("padded", [False, True])
def test_logits(tmp_path, xp, case, dtype, tolerance, padded):
    T, changes = case
    theirs = hugging_face(transformers.BertForMaskedLM, dtype, **changes)
    ours = Bert.from_pretrained(saved(theirs, tmp_path), dtype=dtype)
    batch = random_batch(T, padded)
    expected = their_logits(theirs, batch.ids, batch.mask, batch.types)
    assert_near(ours.logits(batch.ids, batch.mask, batch.types), expected, tolerance)
    if not padded:
        assert_near(ours.logits(batch.ids), their_logits(theirs, batch.ids), tolerance)
    hidden = theirs.bert(torch.as_tensor(batch.ids), torch.as_tensor(batch.mask), torch.as_tensor(batch.types))[0]
    assert_near(ours.encode(batch.ids, batch.mask, batch.types), hidden, tolerance)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-4), ("float64", 1e-9)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(tmp_path, xp, case, dtype, tolerance, padded, weighted):
    T, changes = case
    theirs = hugging_face(transformers.BertForMaskedLM, dtype, **changes)
    ours = Bert.from_pretrained(saved(theirs, tmp_path / "model"), dtype=dtype)
    batch = random_batch(T, padded)
    counts = (batch.positions != -1).sum(axis=1)
    losses = their_losses(theirs, batch)
    loss = sum(x * (batch.weights[b, j] if weighted else 1 / counts[b]) for (b, j), x in losses.items()) / 3
    loss.backward()

    each = numpy.zeros((3, K))
    for place, value in losses.items():
        each[place] = value.item()
    assert_near(token_losses(ours, batch.ids, batch.positions, batch.mask, batch.types), each, tolerance, "token losses")
    weights = batch.weights if weighted else None
    our_loss, our_gradients = gradients(ours, batch.ids, batch.positions, weights, batch.mask, batch.types)
    assert our_loss == pytest.approx(loss.item(), rel=tolerance)
    expected = in_our_names(theirs, tmp_path / "gradients", dtype)
    assert our_gradients.keys() == expected.keys() == ours.params.keys()
    for name, gradient in our_gradients.items():
        assert_near(gradient, expected[name], tolerance, name)


def in_our_names(theirs, folder, dtype):
    """Return autograd's gradients under our parameters' names.

    They are written as if they were a model's weights, then read as one.
    """
    saved(theirs, folder)
    grads = {
        name: parameter.grad.contiguous() for name, parameter in theirs.named_parameters() if parameter.grad is not None
    }
    safetensors_torch.save_file(grads, folder / "model.safetensors")
    return {name: backend.to_host(value) for name, value in Bert.from_pretrained(folder, dtype=dtype).params.items()}


# --- their folders


def test_pretraining_and_sharded_folders(tmp_path):
    theirs = hugging_face(transformers.BertForPreTraining, num_hidden_layers=2)
    batch = random_batch(12, padded=True)
    expected = theirs(*map(torch.as_tensor, (batch.ids, batch.mask, batch.types))).prediction_logits
    for folder, size in ((tmp_path / "whole", "1GB"), (tmp_path / "shards", "20KB")):
        ours = Bert.from_pretrained(saved(theirs, folder, max_shard_size=size), dtype="float64")
        assert_near(ours.logits(batch.ids, batch.mask, batch.types), expected, 1e-10)
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2


@pytest.mark.parametrize("kind", ["BertModel", "BertForSequenceClassification"])
def test_folders_without_a_head(tmp_path, kind):
    theirs = hugging_face(getattr(transformers, kind), num_hidden_layers=2)
    ours = Bert.from_pretrained(saved(theirs, tmp_path), dtype="float64")
    batch = random_batch(12, padded=True)
    encoder = getattr(theirs, "bert", theirs)
    hidden = encoder(*map(torch.as_tensor, (batch.ids, batch.mask, batch.types))).last_hidden_state
    assert_near(ours.encode(batch.ids, batch.mask, batch.types), hidden, 1e-10)
    assert "no masked-language-model head" in refusal(ours.logits, batch.ids)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_read_as_torch_reads_it(tmp_path, dtype):
    theirs = hugging_face(transformers.BertForMaskedLM, num_hidden_layers=1).to(getattr(torch, dtype))
    ours = Bert.from_pretrained(saved(theirs, tmp_path / "half"))
    whole = Bert.from_pretrained(saved(theirs.to(torch.float32), tmp_path / "whole"))
    assert backend.to_host(ours.flat).tobytes() == backend.to_host(whole.flat).tobytes()


def test_the_command_that_converts_a_pickle(tmp_path, monkeypatch):
    theirs = hugging_face(transformers.BertForMaskedLM, "float32", num_hidden_layers=1)
    expected = Bert.from_pretrained(saved(theirs, tmp_path / "whole"))
    folder = saved(theirs, tmp_path / "it's a pickle")
    (folder / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), folder / "pytorch_model.bin")  # its tied weights share memory
    command = shlex.split(refusal(Bert.from_pretrained, folder).split("convert it: ")[1])
    assert command[:5] == ["cd", str(folder), "&&", "python", "-c"]
    monkeypatch.chdir(folder)
    exec(command[5], {})
    assert backend.to_host(Bert.from_pretrained(folder).flat).tobytes() == backend.to_host(expected.flat).tobytes()


def test_ids_that_their_tokenizer_saved(tmp_path):
    theirs = hugging_face(transformers.BertForMaskedLM, mask_token_id=None, pad_token_id=None, num_hidden_layers=1)
    assert Bert.from_pretrained(saved(theirs, tmp_path)).config.mask_token_id is None
    words = ["a", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "b", "<blank>"]
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, mask_token="<blank>")
    tokenizer.save_pretrained(tmp_path)
    config = Bert.from_pretrained(tmp_path).config
    assert (config.mask_token_id, config.pad_token_id) == (tokenizer.mask_token_id, tokenizer.pad_token_id) == (6, 1)


@pytest.mark.parametrize("changes", [{"hidden_act": "silu"}, {"is_decoder": True}])
def test_their_models_that_are_not_ours(tmp_path, changes):
    theirs = hugging_face(transformers.BertForMaskedLM, num_hidden_layers=1, **changes)
    with pytest.raises(InputError, match=next(iter(changes))):
        Bert.from_pretrained(saved(theirs, tmp_path))


# --- our folders


@pytest.fixture
def warned():
    """Return the list of what transformers logs as warnings while the test runs."""
    records = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: records.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    yield records
    logging.getLogger("transformers").removeHandler(handler)


def loaded_by_them(kind, folder, warned, **kwargs):
    """Load a folder there, with nothing missing, unexpected or mismatched, and without a warning."""
    model, info = kind.from_pretrained(folder, output_loading_info=True, **kwargs)
    assert not any(info.values()), info
    assert not warned, warned
    return model.eval()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_what_we_save_loads_there(tmp_path, xp, case, warned, dtype, tolerance):
    T, changes = case
    sizes = {"vocab_size": V, "hidden_size": 32, "intermediate_size": 48, "max_position_embeddings": 40}
    ours = Bert(BertConfig(**sizes, **changes, mask_token_id=MASK, pad_token_id=0, dtype=dtype), seed=5)
    ours.save_pretrained(tmp_path / "ours")
    theirs = loaded_by_them(transformers.BertForMaskedLM, tmp_path / "ours", warned)
    assert theirs.dtype == DTYPES[dtype] and theirs.config.mask_token_id == MASK
    batch = random_batch(T, padded=True)
    expected = their_logits(theirs, batch.ids, batch.mask, batch.types)
    assert_near(ours.logits(batch.ids, batch.mask, batch.types), expected, tolerance)
    again = Bert.from_pretrained(saved(theirs, tmp_path / "theirs"), dtype=dtype)
    assert again.config == ours.config
    assert backend.to_host(again.flat).tobytes() == backend.to_host(ours.flat).tobytes()


@pytest.mark.filterwarnings("error")
def test_an_encoder_that_we_save_loads_there(tmp_path, warned):
    ours = Bert(BertConfig(vocab_size=V, hidden_size=32, intermediate_size=48, mlm_head=False, dtype="float64"))
    ours.save_pretrained(tmp_path)
    theirs = loaded_by_them(transformers.BertModel, tmp_path, warned, add_pooling_layer=False)
    batch = random_batch(12, padded=True)
    hidden = theirs(*map(torch.as_tensor, (batch.ids, batch.mask, batch.types))).last_hidden_state
    assert_near(ours.encode(batch.ids, batch.mask, batch.types), hidden, 1e-10)
