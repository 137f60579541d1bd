"""A tiny text, model and run for the tests of training: a step takes a millisecond or two."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy
from tokenizers import Tokenizer, models

from minimapnet import Bert, BertConfig
from minimapnet.mapnet.learner import MapNetScore
from minimapnet.mapnet.network import MapNet, MapNetConfig
from minimapnet.proposals import PoolProposal, UniformProposal
from minimapnet.text.tokenizer import never_at_random
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer

VOCABULARY, LONGEST, PAD, MASK = 13, 8, 0, 4


@dataclass(frozen=True)
class TinyBatch:
    ids: numpy.ndarray
    attention_mask: numpy.ndarray
    maskable: numpy.ndarray


class TinyRows:
    """Rows as of text.batches, in memory: tokens of which the second half of a row repeats the first."""

    def __init__(self, count: int, seed: int):
        rng = numpy.random.default_rng(seed)
        self.lengths = 2 + 2 * rng.integers(1, LONGEST // 2, count)  # 4 .. 8 with [CLS] and [SEP]
        self.ids = numpy.full((count, LONGEST), PAD)
        for row, length in zip(self.ids, self.lengths, strict=True):
            half = rng.integers(5, VOCABULARY, (length - 2) // 2)
            row[:length] = [2, *half, *half, 3]

    def __len__(self):
        return len(self.ids)

    def batch(self, which):
        lengths, ids = self.lengths[which][:, None], self.ids[which]
        places = numpy.arange(self.lengths[which].max())
        mask = (places < lengths).astype(numpy.int8)
        return TinyBatch(ids[:, : len(places)], mask, (places > 0) & (places < lengths - 1))


class TinyText:
    name = "tiny"
    pad_token_id, mask_token_id, vocab_size = PAD, MASK, VOCABULARY

    def __init__(self, seed: int = 0):
        self.train, self.validation = TinyRows(40, seed), TinyRows(20, 1000 + seed)
        words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
        words |= {letter: 5 + i for i, letter in enumerate("abcdefgh")}
        self.tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
        self.never_at_random = never_at_random(self.tokenizer)


def model(dtype: str = "float32", seed: int = 0, **changes) -> Bert:
    fields = {
        "vocab_size": VOCABULARY,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": LONGEST,
        "mask_token_id": MASK,
        "pad_token_id": PAD,
        "dtype": dtype,
    }
    return Bert(BertConfig(**(fields | changes)), seed)


def settings(**changes) -> TrainSettings:
    fields = {"steps": 12, "batch_size": 6, "learning_rate": 1e-2, "log_every": 2, "checkpoint_every": 3, "eval_every": 6}
    return TrainSettings(**(fields | changes))


def trainer(folder: Path | None = None, *, made=None, proposal=None, text=None, options=None, **changes) -> Trainer:
    """Make a trainer of the tiny model and text; `changes` are of the settings, `options` of the trainer."""
    text = text or TinyText()
    evaluation = Evaluation(text.validation, 0.3, seed=1)
    made, proposal = made or model(), proposal or UniformProposal(0.3)
    return Trainer(made, text, proposal, settings(**changes), folder, **({"evaluation": evaluation} | (options or {})))


def without_time(records: list[dict]) -> list[dict]:
    """Return the records without what a clock has said."""
    return [{name: value for name, value in record.items() if name != "seconds"} for record in records]


class Learner(UniformProposal):
    """Uniform masks whose weights follow from a number that is learned from the norms of all steps so far."""

    learn_every = 1

    def __init__(self, k=0.3, masks=1):
        super().__init__(k, masks)
        self.number, self.told = numpy.zeros(()), []

    def draw(self, model, ids, rng, maskable=None, attention_mask=None):
        drawn = super().draw(model, ids, rng, maskable, attention_mask)
        return replace(drawn, weights=drawn.weights * (1 + numpy.tanh(self.number) / 10))

    def learns_after(self, steps):
        return steps % self.learn_every == 0

    def learn(self, batch, norms, lr_scale=1.0):
        self.told.append((norms, lr_scale))
        self.number = numpy.asarray(0.9 * self.number + norms.mean())
        return {"number": float(self.number)}

    def state(self):
        return {"number": self.number}

    def load_state(self, state):
        self.number = state["number"]


def long_trainer(folder: Path) -> Trainer:
    """Make the run that is killed twenty times: long enough for that, with all that a run can have, a MAPNet too."""
    made = model(hidden_dropout_prob=0.1)
    proposal = PoolProposal(0.3, MapNetScore(MapNet(MapNetConfig.for_model(made.config))), 3, 0.3)
    changes = {"steps": 120, "gradient_accumulation": 2, "checkpoint_every": 1, "eval_every": 50}
    return trainer(folder, made=made, proposal=proposal, **changes)
