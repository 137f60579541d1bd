"""The exercises of step 12: pytest tests/tutorials/test_12_your_own_model.py --answers FOLDER"""

import json
from types import SimpleNamespace

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from minimapnet import Bert, BertConfig, backend, gradients


def test_mean_norms_are_those_of_gradients_built_one_by_one(answers):
    from tests.helpers import tiny

    model = tiny.model()
    maskable = numpy.ones(tiny.IDS.shape, bool)
    maskable[0, 0] = maskable[1, 4:] = maskable[2, 5] = False
    by_token = {}
    for row, place in zip(*numpy.nonzero(maskable), strict=True):
        _, built = gradients(model, tiny.IDS[row : row + 1], [[place]])
        norm = numpy.sqrt(sum((gradient**2).sum() for gradient in built.values()))
        by_token.setdefault(int(tiny.IDS[row, place]), []).append(norm)
    assert max(map(len, by_token.values())) > 1
    found = answers.mean_norms(model, tiny.IDS, maskable)
    assert {int(token) for token in found} == set(by_token)
    for token, norms in by_token.items():
        assert float(found[token]) == pytest.approx(numpy.mean(norms), rel=1e-9)


def report(data, mask, headroom):
    return SimpleNamespace(**{name: SimpleNamespace(value=value) for name, value in locals().items()})


def test_best_choice_has_less_noise_left_after_the_same_time(answers):
    reports = {"little": report(1.0, 10.0, 0.5), "much": report(1.0, 10.0, 9.0), "data": report(50.0, 10.0, 9.0)}
    time = 1200.0
    for cost in (1.0, 1.04, 1.1, 1.5, 2.0, 5.0, 6.0):
        for masks in (1, 3, 8):
            found = answers.best_choice(reports, cost, masks)
            assert found.keys() == reports.keys()
            for name, one in reports.items():
                uniform = (one.data.value + one.mask.value / masks) / time
                optimal = (one.data.value + (one.mask.value - one.headroom.value) / masks) / (time / cost)
                assert found[name] == ("optimal" if optimal < uniform else "uniform"), (name, cost, masks)


def test_best_choice_knows_both_answers(answers):
    reports = {"little": report(1.0, 10.0, 0.5), "much": report(1.0, 10.0, 9.0)}
    assert answers.best_choice(reports, 1.5, 1) == {"little": "uniform", "much": "optimal"}
    assert answers.best_choice(reports, 1.5, 100) == {"little": "uniform", "much": "uniform"}


LAYER = {  # what a layer's modules are called in a BERT, and in a DistilBERT
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
AROUND = {
    "bert.embeddings.word_embeddings": "distilbert.embeddings.word_embeddings",
    "bert.embeddings.position_embeddings": "distilbert.embeddings.position_embeddings",
    "bert.embeddings.LayerNorm": "distilbert.embeddings.LayerNorm",
    "cls.predictions.transform.dense": "vocab_transform",
    "cls.predictions.transform.LayerNorm": "vocab_layer_norm",
    "cls.predictions.decoder": "vocab_projector",
}


def as_distilbert(tensors, layers):
    """Return the arrays of a BERT of one token type under a DistilBERT's names."""
    modules = AROUND | {
        f"bert.encoder.layer.{i}.{theirs}": f"distilbert.transformer.layer.{i}.{name}"
        for i in range(layers)
        for theirs, name in LAYER.items()
    }
    words = {"cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"]}
    renamed = {}
    for name, array in (tensors | words).items():
        module, end = name.replace("cls.predictions.bias", "cls.predictions.decoder.bias").rsplit(".", 1)
        if module != "bert.embeddings.token_type_embeddings":
            renamed[f"{modules[module]}.{end}"] = array
    return renamed


def read(tensors, folder, fields):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(fields))
    save_file({name: numpy.ascontiguousarray(array) for name, array in tensors.items()}, folder / "model.safetensors")
    return Bert.from_pretrained(folder)


@pytest.mark.parametrize("layers", [1, 2, 11])
def test_a_distilbert_becomes_the_bert_that_it_is(answers, tmp_path, layers):
    """A BERT without token types is written, its arrays renamed by the table above, and named back by the answer."""
    config = BertConfig(
        vocab_size=13, hidden_size=8, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=9, type_vocab_size=1, mask_token_id=4, pad_token_id=0,
    )  # fmt: skip
    original = Bert(config, seed=2)
    original.flat[...] = numpy.random.default_rng(0).standard_normal(original.flat.size)  # biases and scales as well
    original.params["type_embedding"][...] = 0
    original.save_pretrained(tmp_path / "bert")
    fields = json.loads((tmp_path / "bert" / "config.json").read_text())
    distilled = as_distilbert(load_file(tmp_path / "bert" / "model.safetensors"), layers)
    again = read(answers.from_distilbert(distilled), tmp_path / "again", fields)
    for name, array in original.params.items():
        numpy.testing.assert_array_equal(again.params[name], array, err_msg=name)


@pytest.mark.oracle
def test_a_distilbert_of_transformers_gives_the_same_logits(answers, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"vocab_size": 30, "dim": 16, "n_layers": 3, "n_heads": 4, "hidden_dim": 24, "max_position_embeddings": 12}
    theirs = transformers.DistilBertForMaskedLM(transformers.DistilBertConfig(**sizes)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.2 * torch.randn_like(parameter)  # so that biases and scales are not 0 and 1
    fields = {
        "model_type": "bert", "architectures": ["BertForMaskedLM"], "vocab_size": 30, "hidden_size": 16,
        "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 24,
        "max_position_embeddings": 12, "type_vocab_size": 1,
    }  # fmt: skip
    tensors = {name: value.detach().numpy().copy() for name, value in theirs.state_dict().items()}
    ours = read(answers.from_distilbert(tensors), tmp_path / "bert", fields)
    ids = numpy.random.default_rng(1).integers(0, 30, (3, 12))
    with torch.no_grad():
        expected = theirs(torch.tensor(ids)).logits.numpy()
    found = backend.to_host(ours.logits(ids))
    numpy.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
