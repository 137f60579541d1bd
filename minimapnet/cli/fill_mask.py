"""`minimapnet fill-mask`.

Axis letters: B sentences, T tokens, V vocabulary.
"""

import numpy
from scipy import special

from minimapnet import backend
from minimapnet.cli import options as option
from minimapnet.cli.model_folder import read_model
from minimapnet.errors import InputError
from minimapnet.files import write_json
from minimapnet.text.batches import GivenRows
from minimapnet.text.tokenizer import encode_masked, known_ids
from minimapnet.training.setting_fields import whole

DESCRIPTION = "Print a model's best guesses for each [MASK] of a text, with their probabilities."


def add(command) -> None:
    """Add the command's options."""
    help = (
        "a run of minimapnet train, whose newest checkpoint is taken, or a BERT in Hugging Face's format: config.json, "
        "model.safetensors, tokenizer.json"
    )
    command.add_argument("folder", type=option.path, metavar="FOLDER", help=help)
    command.add_argument("text", metavar="TEXT", help="the text, with [MASK] once or more, each for one token")
    option.add_config(command)
    option.add_number(command, "--top", "how many guesses for each [MASK]", 5, whole(1))
    option.add_seed(command, option.NO_CHANCE)
    option.add_backend(command)
    option.add_out_file(command, "the guesses")


def run(options) -> None:
    """Print the guesses."""
    backend.use(options.backend)
    model_files = read_model(options.folder)
    ids = _ids(options.text, model_files)
    masked = numpy.flatnonzero(ids == model_files.model.config.mask_token_id)
    logits = backend.to_host(model_files.model.logits(ids[None]))[0, masked]  # (number of [MASK], V)
    probabilities = special.softmax(logits.astype(numpy.float64), axis=1)
    known = known_ids(model_files.tokenizer)
    best = [_best(row, model_files.tokenizer, known, options.top) for row in probabilities]
    if options.out:
        as_tables = [[{"token": token, "probability": share} for token, share in guesses] for guesses in best]
        write_json(options.out, {"text": options.text, "masks": as_tables})
    for number, guesses in enumerate(best, 1):
        if len(best) > 1:
            print(f"[MASK] {number} of {len(best)}")
        for token, share in guesses:
            print(f"{100 * share:8.2f} %  {_shown(token)}")


def _best(probabilities: numpy.ndarray, tokenizer, known: numpy.ndarray, top: int) -> list[tuple[str | None, float]]:
    """Return the most probable tokens and their probabilities: probabilities (V,) -> `top` pairs.

    The model may have places for ids that are no token's: only the `known` ones are guessed.
    """
    order = known[numpy.argsort(-probabilities[known], kind="stable")[:top]]
    return [(tokenizer.id_to_token(int(guess)), float(probabilities[guess])) for guess in order]


def _ids(text: str, model_files) -> numpy.ndarray:
    """Return the token ids of the text (T,). Raises InputError where it has no [MASK], or is too long for the model."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError("the text is not UTF-8: type it in a terminal that writes UTF-8") from None
    rows = GivenRows(encode_masked(model_files.tokenizer, [text]), model_files.tokenizer)
    ids = rows.batch([0]).ids[0]  # as in training
    if model_files.model.config.mask_token_id not in ids:
        raise InputError("the text has no [MASK]: put one, in capitals and brackets, where a token is to be guessed")
    longest = model_files.model.config.max_position_embeddings
    if len(ids) > longest:
        raise InputError(
            f"the text has {len(ids)} tokens, [CLS] and [SEP] counted, and the model reads {longest}: shorten it"
        )
    return ids


def _shown(token: str | None) -> str:
    """Return a token as it can be shown: what would be invisible, or move the cursor, in quotes and escaped."""
    return token if token and token.isprintable() and not token.isspace() else repr(token)
