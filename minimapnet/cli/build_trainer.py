"""What `minimapnet train` is given, made into a trainer: a text, a model, a proposal, settings."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy

from minimapnet.cli import options as option
from minimapnet.cli.model_folder import tokenizer_file
from minimapnet.errors import InputError
from minimapnet.model.bert import Bert
from minimapnet.text.load import Corpus, load_corpus
from minimapnet.training import checkpoint, proposal_registry
from minimapnet.training.evaluation import MASK_RATE, Evaluation
from minimapnet.training.settings import CorpusSettings, MaskSettings, ModelSettings, TrainSettings
from minimapnet.training.trainer import Trainer

ROWS = 4096  # of a text that are looked at together


def build_trainer(options, folder: Path | None) -> Trainer:
    """Make the trainer of a command's options. Raises InputError for whatever does not fit together."""
    start = options.checkpoint and checkpoint.model_folder(options.checkpoint)
    model = _read_model(options, start) if start else None
    settings, masks = option.settings_of(options, TrainSettings), option.settings_of(options, MaskSettings)
    text = read_text(option.settings_of(options, CorpusSettings), start)
    _check_mask_rate(text, masks.mask_rate)
    if model is None:
        model = _new_model(option.settings_of(options, ModelSettings), text, options.max_length, settings.seed)
    else:
        _add_special_tokens(model, text)
    parameters = dataclasses.asdict(masks)
    name, replacement = parameters.pop("proposal"), parameters.pop("replacement")
    proposal = proposal_registry.make(name, model, settings.seed, tokenizer=text.tokenizer, **parameters)
    evaluation = Evaluation(text.validation, MASK_RATE)  # whatever the proposal, so that losses compare
    return Trainer(model, text, proposal, settings, folder, evaluation, replacement=replacement)


def read_text(settings: CorpusSettings, start: Path | None) -> Corpus:
    """Read a text, by the tokenizer in the folder `start` where the settings name none."""
    tokenizer = settings.tokenizer or (start and tokenizer_file(start)) or "wordpiece"
    sizes = (settings.vocab_size, settings.max_length)
    return load_corpus(
        settings.text, settings.cache, tokenizer, *sizes, settings.layout, settings.validation, settings.field
    )


def _read_model(options, start: Path) -> Bert:
    """Read the model to start from. Raises InputError for options that only a new model can have."""
    for field in dataclasses.fields(ModelSettings):
        if getattr(options, field.name) is not None:
            flag = "--" + field.name.replace("_", "-")
            raise InputError(f"{flag} is for a new model, and the one in {start} has its own: leave out one of the two")
    model = Bert.from_pretrained(start)
    if not model.config.mlm_head:
        raise InputError(f"the model in {start} has no masked-language-model head: it cannot be trained to guess masks")
    return model


def _add_special_tokens(model: Bert, text: Corpus) -> None:
    """Set a model's [MASK] and [PAD] where it has none; that a known one is the text's, the trainer checks."""
    known = {"mask_token_id": text.mask_token_id, "pad_token_id": text.pad_token_id}
    unknown: dict[str, Any] = {name: value for name, value in known.items() if getattr(model.config, name) is None}
    model.config = dataclasses.replace(model.config, **unknown)


def _new_model(settings: ModelSettings, text: Corpus, max_length: int, seed: int) -> Bert:
    if settings.hidden_size % settings.heads:
        raise InputError(f"--hidden-size {settings.hidden_size} cannot be shared by --heads {settings.heads}")
    return settings.new_model(text, max_length, seed)


def _check_mask_rate(text: Corpus, k: int | float | None) -> None:
    """Raise InputError now, not when the row comes up, for a row that has fewer than k tokens to mask."""
    if k is None or isinstance(k, float) or k == 1:
        return
    for first in range(0, len(text.train), ROWS):
        batch = text.train.batch(numpy.arange(first, min(first + ROWS, len(text.train))))
        least = int(batch.maskable.sum(axis=1).min())
        if least < k:
            raise InputError(
                f"--mask-rate {k} is too many: {text.name} has a row of {least} tokens that can be masked; give a share, "
                "such as 0.15, or a smaller number"
            )
