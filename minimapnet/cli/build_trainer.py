"""What `minimapnet train` is given, made into what a trainer needs: a text, a model, a proposal, settings."""

import dataclasses
from pathlib import Path

import numpy

from minimapnet.cli.model_folder import tokenizer_file
from minimapnet.errors import InputError
from minimapnet.model.bert import Bert
from minimapnet.text.load import Corpus, load_corpus
from minimapnet.training import checkpoint, proposal_registry
from minimapnet.training.evaluation import Evaluation
from minimapnet.training.settings import ModelSettings, TrainSettings
from minimapnet.training.trainer import Trainer

SIZES = {"hidden_size": 128, "layers": 2, "heads": 4}  # of a new model
ROWS_TOGETHER = 4096
PARAMETERS = ("mask_rate", "masks", "candidates", "uniform_mix")  # of proposals, that are options


def trainer(options, folder: Path | None) -> Trainer:
    """Make the trainer of a command's options. Raises InputError for whatever does not fit together."""
    start = options.checkpoint and checkpoint.model_folder(options.checkpoint)
    model = start and _read_model(options, start)
    text = _text(options, start)
    _check_mask_rate(text, options.mask_rate)
    model = _with_special_tokens(model, text) if model else _new_model(options, text)
    parameters = {name: getattr(options, name) for name in PARAMETERS}
    proposal = proposal_registry.make(options.proposal, model, options.seed, tokenizer=text.tokenizer, **parameters)
    evaluation = Evaluation(text.validation, proposal_registry.MASK_RATE)  # whatever k is, so that losses can be compared
    return Trainer(model, text, proposal, _settings(options), folder, evaluation)


def _text(options, start: Path | None) -> Corpus:
    tokenizer = options.tokenizer or (start and tokenizer_file(start)) or "wordpiece"
    packed = options.layout == "packed"
    return load_corpus(options.text, options.cache, tokenizer, options.vocab_size, options.max_length, packed)


def _read_model(options, start: Path) -> Bert:
    """Read the model to start from. Raises InputError for options that only a new model can have."""
    for name in SIZES:
        if getattr(options, name) is not None:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} is for a new model, and the one in {start} has its size: leave out one of the two")
    model = Bert.from_pretrained(start)
    if not model.config.mlm_head:
        raise InputError(f"the model in {start} has no masked-language-model head: it cannot be trained to guess masks")
    if options.dropout is not None:
        _set_dropout(model, options.dropout)
    return model


def _set_dropout(model: Bert, share: float) -> None:
    model.config = dataclasses.replace(model.config, hidden_dropout_prob=share, attention_probs_dropout_prob=share)


def _with_special_tokens(model: Bert, text: Corpus) -> Bert:
    """Tell a model that does not know where its [MASK] and [PAD] are; that a known one is the text's, the trainer checks."""
    known = {"mask_token_id": text.mask_token_id, "pad_token_id": text.pad_token_id}
    unknown = {name: value for name, value in known.items() if getattr(model.config, name) is None}
    model.config = dataclasses.replace(model.config, **unknown)
    return model


def _new_model(options, text: Corpus) -> Bert:
    chosen = {name: usual if getattr(options, name) is None else getattr(options, name) for name, usual in SIZES.items()}
    if chosen["hidden_size"] % chosen["heads"]:
        raise InputError(f"--hidden-size {chosen['hidden_size']} cannot be shared by --heads {chosen['heads']}")
    model = Bert(ModelSettings(**chosen).config(text, options.max_length), options.seed)
    _set_dropout(model, options.dropout or 0.0)
    return model


def _settings(options) -> TrainSettings:
    return TrainSettings(
        steps=options.steps,
        batch_size=options.batch_size,
        gradient_accumulation=options.gradient_accumulation,
        learning_rate=options.learning_rate,
        warmup_ratio=options.warmup_ratio,
        schedule=options.schedule,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        eval_every=options.eval_every,
        checkpoint_every=options.checkpoint_every,
        max_minutes=options.max_minutes,
        seed=options.seed,
    )


def _check_mask_rate(text: Corpus, k: int | float | None) -> None:
    """Raise InputError now, not when the row comes up, for a row that has fewer than k tokens to mask."""
    if k is None or isinstance(k, float) or k == 1:
        return
    for first in range(0, len(text.train), ROWS_TOGETHER):
        batch = text.train.batch(numpy.arange(first, min(first + ROWS_TOGETHER, len(text.train))))
        least = int(batch.maskable.sum(axis=1).min())
        if least < k:
            raise InputError(
                f"--mask-rate {k} is too many: {text.name} has a row of {least} tokens that can be masked; give a share, "
                "such as 0.15, or a smaller number"
            )
