"""`minimapnet fill-mask`.

Axis letters: B sentences, T tokens, V vocabulary.
"""

import argparse
from dataclasses import dataclass

import numpy
from scipy import special

from minimapnet import backend
from minimapnet.cli import options as option
from minimapnet.cli.model_folder import Found, read_model
from minimapnet.cli.text_lines import check_utf8, name_of, read_lines, row_of
from minimapnet.errors import InputError
from minimapnet.files import write_json
from minimapnet.text.tokenizer import encode_masked, known_ids, special_tokens
from minimapnet.training.setting_fields import whole

DESCRIPTION = "Print a model's best guesses for each [MASK] of a text, or of every line of a file, with their probabilities."
TOP = 5
TOGETHER = 4096  # tokens that go through the model at once


@dataclass(frozen=True)
class Question:
    """A text with [MASK]: the number of its line, its ids (T,), and where [MASK] is among them."""

    line: int
    text: str
    ids: numpy.ndarray
    masked: numpy.ndarray


def add(command) -> None:
    """Add the command's options."""
    help = (
        "a run of minimapnet train, whose newest checkpoint is taken, or a BERT in Hugging Face's format: config.json, "
        "model.safetensors, tokenizer.json"
    )
    command.add_argument("folder", type=option.path, metavar="FOLDER", help=help)
    help = "the text, with [MASK] once or more, each for one token; or else --file"
    text = command.add_argument("text", metavar="TEXT", help=help)
    option.add_config(command)
    help = (
        "a file with a text on each line, or - for standard input; printed is a line for each guess, with tabs between the "
        "number of the text's line, that of the [MASK], the probability and the token; blank lines are left out"
    )
    option.add(command, "--file", help, type=option.path, metavar="FILE", shown="no file", action=_instead_of(text))
    help = "tokens to choose among, with commas between; each must be a single token of the model"
    option.add(command, "--targets", help, type=option.named, metavar="WORDS", shown="all tokens")
    shown = f"{TOP}; with --targets all of these"
    option.add_number(command, "--top", "how many guesses for each [MASK]", None, whole(1), shown)
    option.add_seed(command, option.NO_CHANCE)
    option.add_backend(command)
    option.add_out_file(command, "the guesses")


def _instead_of(argument: argparse.Action) -> type[argparse.Action]:
    """Return the action of an option that stands in for an argument: nargs "?" would not find that behind other options."""

    class Instead(argparse.Action):
        def __call__(self, parser, options, value, name=None):
            setattr(options, self.dest, value)
            argument.required = False

    return Instead


def run(options) -> None:
    """Print the guesses."""
    if options.text is not None and options.file is not None:
        raise InputError("give a TEXT with [MASK], or a file of them with --file, not both")
    backend.use(options.backend)
    model_files = read_model(options.folder)
    questions = _questions(options, model_files)
    among = _targets(options.targets, model_files) if options.targets else known_ids(model_files.tokenizer)
    top = options.top or (len(among) if options.targets else TOP)
    answers = [
        [_best(row, among, model_files.tokenizer, top) for row in probabilities]
        for together in _together(questions)
        for probabilities in _probabilities(model_files.model, together)
    ]
    if options.out:
        tables = [_as_table(question, best) for question, best in zip(questions, answers, strict=True)]
        write_json(options.out, {"texts": tables} if options.file else tables[0])
    for question, best in zip(questions, answers, strict=True):
        (_print_row if options.file else _print_text)(question, best)


def _as_table(question: Question, best) -> dict:
    masks = [[{"token": token, "probability": share} for token, share in guesses] for guesses in best]
    return {"text": question.text, "masks": masks}


def _print_text(question: Question, best) -> None:
    for number, guesses in enumerate(best, 1):
        if len(best) > 1:
            print(f"[MASK] {number} of {len(best)}")
        for token, share in guesses:
            print(f"{100 * share:8.2f} %  {_shown(token)}")


def _print_row(question: Question, best) -> None:
    for number, guesses in enumerate(best, 1):
        for token, share in guesses:
            print(f"{question.line}\t{number}\t{share:.6g}\t{_shown(token)}")


def _questions(options, model_files: Found) -> list[Question]:
    """Return the texts that were given. Raises InputError for one without [MASK] or too long, and where there is none."""
    if options.file is None:
        return [_question(1, options.text, "the text", model_files)]
    name = name_of(options.file)
    lines = [(number, line) for number, line in enumerate(read_lines(options.file), 1) if line.strip()]
    if not lines:
        raise InputError(f"{name} has no text: put one with [MASK] on each line")
    return [_question(number, line, f"line {number} of {name}", model_files) for number, line in lines]


def _question(line: int, text: str, name: str, model_files: Found) -> Question:
    check_utf8(text, name)
    tokens = encode_masked(model_files.tokenizer, [text])[0]
    ids = row_of(tokens, model_files.tokenizer, model_files.model.config.max_position_embeddings, name)
    masked = numpy.flatnonzero(ids == model_files.model.config.mask_token_id)
    if not len(masked):
        raise InputError(f"{name} has no [MASK]: put one, in capitals and brackets, where a token is to be guessed")
    return Question(line, text, ids, masked)


def _together(questions: list[Question]) -> list[list[Question]]:
    """Return the questions in their order, as many together as go through the model at once."""
    groups: list[list[Question]] = []
    for question in questions:
        longest = max(len(one.ids) for one in [question, *(groups[-1] if groups else [])])
        if not groups or longest * (len(groups[-1]) + 1) > TOGETHER:
            groups.append([])
        groups[-1].append(question)
    return groups


def _probabilities(model, questions: list[Question]) -> list[numpy.ndarray]:
    """Return the probabilities (number of [MASK], V) of every question, float64."""
    lengths, counts = (
        [len(array) for array in arrays] for arrays in zip(*((q.ids, q.masked) for q in questions), strict=True)
    )
    inside = numpy.arange(max(lengths)) < numpy.array(lengths)[:, None]  # (B, T)
    places = numpy.arange(max(counts)) < numpy.array(counts)[:, None]  # (B, K)
    ids, positions = numpy.zeros(inside.shape, numpy.int64), numpy.full(places.shape, -1)
    ids[inside] = numpy.concatenate([question.ids for question in questions])
    positions[places] = numpy.concatenate([question.masked for question in questions])
    logits = backend.to_host(model.masked_logits(ids, positions, inside.astype(numpy.int8)))  # (N, V)
    return numpy.split(special.softmax(logits.astype(numpy.float64), axis=1), numpy.cumsum(counts)[:-1])


def _best(probabilities: numpy.ndarray, among, tokenizer, top: int) -> list[tuple[str | None, float]]:
    """Return the most probable tokens of `among` and their probabilities: probabilities (V,) -> at most `top` pairs."""
    order = among[numpy.argsort(-probabilities[among], kind="stable")[:top]]
    return [(tokenizer.id_to_token(int(guess)), float(probabilities[guess])) for guess in order]


def _targets(targets: str, model_files: Found) -> numpy.ndarray:
    """Return the ids of words with commas between. Raises InputError, naming them, for those that are no single token."""
    ids, others = {}, []
    for word in filter(None, map(str.strip, targets.split(","))):
        known = model_files.tokenizer.token_to_id(word)
        encoded = model_files.tokenizer.encode(word, add_special_tokens=False)
        coded = encoded.ids if known is None else [known]
        if len(coded) == 1 and (known is not None or coded[0] != special_tokens(model_files.tokenizer).unk.id):
            ids[coded[0]] = word
        else:
            others.append(f"{word} ({' '.join(encoded.tokens)})")
    if others or not ids:
        what = f"not {', '.join(others)}" if others else f"and {targets!r} has none"
        raise InputError(f"--targets takes words that are a single token of the model in {model_files.folder}, {what}")
    return numpy.array(sorted(ids))


def _shown(token: str | None) -> str:
    """Return a token as it can be shown: what would be invisible, or move the cursor, in quotes and escaped."""
    return token if token and token.isprintable() and not token.isspace() else repr(token)
