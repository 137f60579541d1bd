"""What a training run is made of, each setting once: its default, range and help."""

import math
from dataclasses import dataclass
from pathlib import Path

from minimapnet.masks.replacement import KINDS as REPLACEMENTS
from minimapnet.model.bert import Bert
from minimapnet.model.config import BertConfig
from minimapnet.model.initialisation import INITS
from minimapnet.text import sources
from minimapnet.text.load import LAYOUTS, Corpus
from minimapnet.text.tokenizer import VOCAB_SIZE
from minimapnet.training import evaluation, proposal_registry
from minimapnet.training.proposal_registry import RANGES
from minimapnet.training.setting_fields import BELOW_ONE, NOT_NEGATIVE, POSITIVE, SHARE, check_settings, setting, whole

TOKENIZERS = ("wordpiece", "characters")
OF_A_NEW_MODEL = "of a new model"


@dataclass(frozen=True)
class CorpusSettings:
    """The text, and how it becomes rows of tokens."""

    text: str | Path = setting(
        "python-docs",
        f"the text: {', '.join(sources.NAMES)}; or a UTF-8 file, a folder of them, a .jsonl, any of these with .gz, .bz2 or "
        ".xz behind; or - for standard input",
        names=sources.ALL_NAMES,
    )
    validation: str | Path | None = setting(
        None,
        "another text, given as --text is, to validate on; its sentences are not trained on",
        names=sources.NAMES,
        shown="a tenth of the text",
    )
    field: str = setting("text", "the field of a .jsonl that is read")
    tokenizer: str | Path | None = setting(
        None,
        "wordpiece or characters, made from the text; or a tokenizer.json or vocab.txt",
        names=TOKENIZERS,
        shown="the checkpoint's; for a new model wordpiece",
    )
    vocab_size: int = setting(VOCAB_SIZE, "the most tokens that a new tokenizer knows", whole(16, 10**6))
    max_length: int = setting(64, "tokens of a row", whole(3, 2**16))
    layout: str = setting(
        "packed",
        "packed, rows full of text; or sentences, or lines: each in a row of its own, with padding",
        choices=tuple(LAYOUTS),
    )
    cache: Path = setting(Path("runs/cache"), "where the text's tokens are kept, to be read faster the next time", names=())

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True)
class ModelSettings:
    """The size of a new model, and what its parameters begin as."""

    hidden_size: int = setting(128, f"channels of a token; {OF_A_NEW_MODEL}", whole(1, 2**16))
    layers: int = setting(2, f"layers; {OF_A_NEW_MODEL}", whole(1, 1000))
    heads: int = setting(4, f"attention heads of a layer; {OF_A_NEW_MODEL}", whole(1, 2**16))
    init: str = setting(
        "mimetic",
        f"what the parameters begin as: mimetic, with heads that look at neighbours, or random; {OF_A_NEW_MODEL}",
        choices=INITS,
    )

    def __post_init__(self):
        check_settings(self)

    def config(self, text: Corpus, max_length: int) -> BertConfig:
        """Return the model's config for a text in rows of at most `max_length`."""
        return BertConfig(
            vocab_size=text.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            intermediate_size=4 * self.hidden_size,
            max_position_embeddings=max_length,
            pad_token_id=text.pad_token_id,
            mask_token_id=text.mask_token_id,
        )

    def new_model(self, text: Corpus, max_length: int, seed: int) -> Bert:
        """Return a new model for a text in rows of at most `max_length`, its parameters drawn from `seed`."""
        return Bert(self.config(text, max_length), seed, self.init)


@dataclass(frozen=True)
class MaskSettings:
    """How masks are drawn; what a proposal of the registry has no use for must not be set."""

    proposal: str = setting(
        "uniform", f"how masks are drawn. {proposal_registry.summaries()}", choices=tuple(proposal_registry.KINDS)
    )
    mask_rate: int | float | None = setting(
        None,
        "tokens of a row to mask: a share below 1, or a whole number",
        RANGES["mask_rate"],
        shown=f"{proposal_registry.MASK_RATE}; 1 where the proposal masks one position",
    )
    masks: int | None = setting(
        None, "masks of a row, all of them used", RANGES["masks"], shown=proposal_registry.defaults("masks")
    )
    candidates: int | None = setting(
        None, "masks of a row that a pool chooses from", RANGES["candidates"], shown=proposal_registry.defaults("candidates")
    )
    uniform_mix: float | None = setting(
        None,
        "share of uniform masks, where masks are drawn by scores",
        RANGES["uniform_mix"],
        shown=proposal_registry.defaults("uniform_mix"),
    )
    replacement: str = setting(
        "bert",
        "what the model reads at masked tokens: mask, always [MASK]; or bert, [MASK] at 80 %, a random token at 10 %, and "
        "the token itself at 10 %. Evaluations and scores of masks have [MASK] always",
        choices=REPLACEMENTS,
    )

    def __post_init__(self):
        check_settings(self)


@dataclass(frozen=True)
class TrainSettings:
    """The numbers of a run; with the model, the text and the proposal they fix every bit of it.

    Raises InputError for a value outside its range.
    """

    steps: int = setting(2000, "training steps", whole(1))
    batch_size: int = setting(24, "rows of text that the proposal gets for a step", whole(1))
    gradient_accumulation: int = setting(
        1, "parts of a step that go through the model one after the other, for less memory", whole(1)
    )
    learning_rate: float = setting(2e-3, "AdamW's, at its highest", POSITIVE)
    warmup_ratio: float = setting(0.1, "share of the steps in which the learning rate rises", SHARE)
    schedule: str = setting(
        "linear", "the learning rate after the warm-up: down to 0 in a line, or constant", choices=("linear", "constant")
    )
    weight_decay: float = setting(0.01, "AdamW's, on weights and tables alone", NOT_NEGATIVE)
    max_grad_norm: float = setting(1.0, "the largest norm of a gradient; a longer one is scaled down to it", POSITIVE)
    dropout: float | None = setting(
        None, "share of values dropped in training", BELOW_ONE, shown="the checkpoint's; for a new model 0"
    )
    eval_every: int = setting(
        250,
        f"steps between evaluations on fixed uniform masks of {evaluation.MASK_RATE:.0%}, whatever the mask rate is; "
        "0: before the first step and after the last",
        whole(0),
    )
    log_every: int = setting(10, "steps between records of the log", whole(1))
    checkpoint_every: int = setting(500, "steps between checkpoints; 0: at the end alone", whole(0), free=True)
    max_minutes: float | None = setting(
        None, "stop with a checkpoint after so many minutes of training", POSITIVE, shown="no limit", free=True
    )
    seed: int = setting(0, "of the model, the order of rows and the masks", whole(0))

    def __post_init__(self):
        check_settings(self)

    def lr_scale(self, step: int) -> float:
        """Return the learning rate of update `step` of 0 .. steps - 1 as a share of its peak, above 0 and at most 1.

        "constant" stays at the peak after the warm-up, "linear" goes down towards zero from there.
        """
        warmup = math.ceil(self.warmup_ratio * self.steps)
        if self.schedule == "constant":
            return min(1.0, (step + 1) / max(1, warmup))
        return learning_rate(step, self.steps, 1.0, warmup)


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Return the learning rate of update `step` of 0 .. steps - 1: a line up to `peak` in `warmup` updates, a line down.

    The first update has peak / warmup, the last peak / (steps - warmup): none is zero.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / max(1, steps - warmup)
