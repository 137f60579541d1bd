"""`minimapnet evaluate`."""

import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from minimapnet import backend
from minimapnet.cli import options as option
from minimapnet.cli.build_trainer import read_text
from minimapnet.cli.model_folder import Found, read_model, tokenizer_file
from minimapnet.cli.text_lines import name_of, read_lines, row_of
from minimapnet.errors import InputError, tell
from minimapnet.files import write_json
from minimapnet.progress import progress
from minimapnet.text import sources
from minimapnet.text.batches import unigram_entropy
from minimapnet.text.load import warn_of_unknown, whole_text
from minimapnet.text.parts import PARTS, VALIDATION
from minimapnet.text.tokenizer import for_plain_text
from minimapnet.training import setting_fields
from minimapnet.training.evaluation import MASK_RATE, Evaluation
from minimapnet.training.pseudo_likelihood import pseudo_log_likelihoods
from minimapnet.training.setting_fields import whole
from minimapnet.training.settings import CorpusSettings

DESCRIPTION = (
    "Say how well a model guesses the masked tokens of a text: loss, perplexity and accuracy at uniform masks that the seed "
    "fixes. Or, with --sentences, how probable it finds each line: the pseudo-log-likelihood, every token guessed from all "
    "the others of its line."
)
WHOLE = "all"  # of a text, and not one of its parts
BAR = "{desc} {percentage:3.0f} %|{bar:10}| {elapsed}, {remaining} left"


def add(command) -> None:
    """Add the command's options."""
    help = (
        "a run of minimapnet train, whose newest checkpoint is taken, or a BERT in Hugging Face's format: config.json, "
        "model.safetensors, tokenizer.json"
    )
    command.add_argument("folder", type=option.path, metavar="FOLDER", help=help)
    option.add_config(command)
    option.add_settings(command, CorpusSettings, only=("text", "field", "layout", "cache"))
    help = "tokens of a row"
    option.add_number(command, "--max-length", help, None, whole(2, 2**16), "64, or fewer where the model reads fewer")
    help = f"all of the text, or a part of it, as train divides it: {', '.join((WHOLE, *PARTS))}"
    shown = f"{VALIDATION} of a text by name, {WHOLE} of a file or a folder"
    option.add(command, "--part", help, None, shown, choices=(WHOLE, *PARTS), metavar="NAME")
    help = "tokens of a row to mask: a share below 1, or a whole number"
    option.add_number(command, "--mask-rate", help, MASK_RATE, setting_fields.MASK_RATE)
    option.add_number(command, "--rows", "the most rows, chosen at random where there are more", 1024, whole(1))
    help = (
        "score each line of the file --text, or of standard input for -: print its pseudo-log-likelihood in nats, a tab and "
        "its number of tokens; what concerns rows and masks then changes nothing"
    )
    option.add_flag(command, "--sentences", help)
    option.add_seed(command, "of the masks, and of the rows where some are chosen")
    option.add_backend(command)
    option.add_out_file(command, "what is printed")


def run(options) -> None:
    """Print how good the model is."""
    backend.use(options.backend)
    if options.sentences:
        _score_lines(options)
        return
    model_files = read_model(options.folder)
    result = _evaluate(options, model_files)
    if options.out:
        write_json(options.out, result)
    print(
        f"{result['text']}, {result['part']}: {result['rows']:,} of {result['rows_of_the_part']:,} rows, "
        f"masked: {result['mask_rate']:g}"
    )
    print(f"loss             {result['loss']:.4f} nats per masked token")
    print(f"perplexity       {result['perplexity']:.2f}")
    print(
        f"accuracy         {100 * result['accuracy']:.2f} % right, {100 * result['top5']:.2f} % among the five best guesses"
    )
    print(f"unigram entropy  {result['unigram_entropy']:.4f} nats: the loss of frequencies alone")


def _evaluate(options, model_files: Found) -> dict:
    model, longest = model_files.model, model_files.model.config.max_position_embeddings
    length = options.max_length or min(CorpusSettings.max_length, longest)
    if length > longest:
        raise InputError(f"--max-length {length} is too long: the model in {model_files.folder} reads {longest} tokens")
    of_rows = {"layout": options.layout, "field": options.field, "max_length": length}
    settings = CorpusSettings(text=options.text, cache=options.cache, **of_rows)
    settings = replace(settings, tokenizer=tokenizer_file(model_files.folder))
    part = options.part or (VALIDATION if options.text in sources.NAMES else WHOLE)
    if part == WHOLE:
        name, rows = whole_text(settings.text, settings.cache, settings.tokenizer, **of_rows)
        counted = rows
    else:
        corpus = read_text(settings, None)
        name, rows, counted = corpus.name, getattr(corpus, part), corpus.train
    evaluation = Evaluation(rows, options.mask_rate, options.seed, options.rows)
    if part != WHOLE:
        warn_of_unknown(corpus)
    quality = evaluation.quality(model, partial(progress, desc="evaluate", bar_format=BAR, leave=False))
    if not math.isfinite(quality.loss):
        raise InputError(f"the loss of the model in {model_files.folder} is {quality.loss}: its weights cannot be used")
    return {
        "model": str(model_files.folder),
        "text": name,
        "part": part,
        "rows": evaluation.rows,
        "rows_of_the_part": len(rows),
        "max_length": length,
        "mask_rate": options.mask_rate,
        "seed": options.seed,
        "loss": quality.loss,
        "perplexity": _exp(quality.loss),
        "accuracy": quality.top1,
        "top5": quality.top5,
        "unigram_entropy": unigram_entropy(counted, rows, model.config.vocab_size),
    }


def _score_lines(options) -> None:
    """Print a line for each line of the text; what holds for all of them goes to standard error."""
    file = Path(options.text)
    if str(options.text) in sources.NAMES:
        raise InputError(
            f"--sentences scores the lines of a file: name one with --text, or - for standard input, not {file}"
        )
    model_files = read_model(options.folder)
    lines = read_lines(file)
    if not lines:
        raise InputError(f"{name_of(file)} is empty: there is no line to score")
    longest = model_files.model.config.max_position_embeddings
    encodings = for_plain_text(model_files.tokenizer).encode_batch(lines, add_special_tokens=False)
    rows = [
        row_of(one.ids, model_files.tokenizer, longest, f"line {i} of {name_of(file)}") for i, one in enumerate(encodings, 1)
    ]
    watch = partial(progress, desc="evaluate", bar_format=BAR, leave=False)
    scores = pseudo_log_likelihoods(model_files.model, rows, watch)
    counts = [len(row) - 2 for row in rows]
    overall = _exp(-scores.sum() / max(1, sum(counts)))
    if options.out:
        table = [
            {"text": line, "tokens": count, "pseudo_log_likelihood": float(score)}
            for line, count, score in zip(lines, counts, scores, strict=True)
        ]
        result = {"model": str(model_files.folder), "pseudo_perplexity": overall, "tokens": sum(counts), "lines": table}
        write_json(options.out, result)
    for count, score in zip(counts, scores, strict=True):
        print(f"{score:.4f}\t{count}")
    tell(f"pseudo-perplexity {overall:.2f} over {sum(counts):,} tokens of {len(lines):,} lines")


def _exp(nats: float) -> float:
    """Return exp(nats), as large as a float can be where it is larger."""
    return math.exp(min(nats, math.log(sys.float_info.max)))
