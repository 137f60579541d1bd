"""Our contender: steps of the trainer, from a memory-mapped text to updated parameters."""

from pathlib import Path
from types import SimpleNamespace

import numpy
from tokenizers import Tokenizer, models

from minimapnet import backend
from minimapnet.proposals import MaskBatch, Proposal, UniformProposal
from minimapnet.text.batches import PackedRows
from minimapnet.text.tokens import Tokens, mapped
from minimapnet.training.settings import TrainSettings
from minimapnet.training.trainer import Trainer


class FixedMasks(Proposal):
    """The same sentences and masks at every step, whatever the text gives: ids (B, T), positions (B, K)."""

    unbiased = False

    def __init__(self, ids, positions):
        weights = numpy.full(positions.shape, 1 / positions.shape[1])
        mask, sentences = numpy.ones(ids.shape, numpy.int8), numpy.arange(len(ids))
        self._drawn = MaskBatch(ids, mask, positions, weights, sentences)

    def draw(self, *batch):
        return self._drawn


class OurTraining:
    """A step of `Trainer`: rows, masks, gradient, clipping and AdamW; every tenth with its variance, for the log."""

    def __init__(self, size, loop, folder: str):
        words = {"[PAD]": 0, "[MASK]": loop.mask, "[CLS]": loop.cls, "[SEP]": loop.sep}
        words |= {f"word {i}": i for i in range(len(words), size.vocabulary)}
        tokenizer = Tokenizer(models.WordLevel(words, unk_token="[PAD]"))
        part = Tokens(mapped(Path(folder) / loop.tokens), numpy.zeros((0, 2), int), Path(folder), "train")
        rows = PackedRows(part, tokenizer, size.tokens)
        text = SimpleNamespace(name="random", tokenizer=tokenizer, mask_token_id=loop.mask, train=rows, validation=rows)
        settings = TrainSettings(
            steps=10_000,
            batch_size=size.sentences,
            learning_rate=loop.learning_rate,
            warmup_ratio=0,
            schedule="constant",
            weight_decay=loop.weight_decay,
            max_grad_norm=loop.max_grad_norm,
        )
        proposal = FixedMasks(*size.batch()) if loop.fixed else UniformProposal(size.masked_tokens)
        self.trainer = Trainer(size.model(), text, proposal, settings)

    def step(self) -> float:
        return self.trainer.make_step(log=self.trainer.step % 10 == 9)["loss"]

    def gradient_norm(self) -> float:
        """Return the norm of all parameters instead: it tells whether the optimizers agree."""
        return float(numpy.sqrt((backend.to_host(self.trainer.model.flat).astype("float64") ** 2).sum()))

    def gpu_peak_mib(self):
        return None
