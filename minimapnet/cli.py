"""The command line: it reads arguments, calls the laboratory, and prints."""

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from minimapnet import backend
from minimapnet.errors import InputError
from minimapnet.lab import compare, report, variance, variance_output
from minimapnet.text import corpus

BACKEND_HELP = "array library: CPU, GPU, or GPU if one works (default: %(default)s)"
BAD_INPUT, INTERRUPTED = 2, 130  # exit codes; 130 is 128 + SIGINT


class _OneLineParser(argparse.ArgumentParser):
    """argparse, but a mistake is answered in one line, as all others are."""

    def error(self, message):
        self.exit(BAD_INPUT, f"minimapnet: error: {message} (see {self.prog} -h)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and give its exit code: 0, 2 for input that cannot be used, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"minimapnet: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("minimapnet: stopped before the end", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="minimapnet", description="Variance-reduced masked language modelling, from scratch.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_compare(commands)
    _add_variance(commands)
    return parser


def _add_compare(commands) -> None:
    command = commands.add_parser(
        "compare",
        help="train the same model with masks of several proposals and compare",
        description="Train the same small BERT with masks of several proposals, over several seeds, and compare their "
        "validation losses. Writes results.json, losses.csv, losses.png and losses.svg into a folder.",
    )
    sizes = ", ".join(f"{name} has {p.seeds} seeds of {p.steps} steps" for name, p in compare.PRESETS.items())
    option = command.add_argument
    option("--preset", choices=list(compare.PRESETS), default="default", help=f"{sizes} (default: %(default)s)")
    option("--text", metavar="PATH", type=Path, help="a UTF-8 text file (default: Python's own documentation)")
    option("--out", metavar="FOLDER", type=Path, default=Path("runs/compare"), help="for results (default: %(default)s)")
    option("--steps", type=_at_least(1), help="training steps of each run (default: the preset's)")
    option("--seed", type=_at_least(0), default=0, help="the first seed, which the others follow (default: %(default)s)")
    option("--backend", choices=backend.NAMES, default="numpy", help=BACKEND_HELP)
    command.set_defaults(run=_compare)


def _add_variance(commands) -> None:
    command = commands.add_parser(
        "variance",
        help="take a gradient's variance apart: data, masks, and what a choice of masks can remove",
        description="Train a small BERT briefly, or read one, and take the variance of its gradient apart for masks of 1, "
        "2, 5 and 15 % of the tokens; then hold proposals against uniform masks. Prints tables and writes variance.json, "
        "variance.png and variance.svg into a folder.",
    )
    sizes = ", ".join(
        f"{name} has {p.sentences} rows of {p.masks} masks after {p.training.steps} training steps"
        for name, p in variance.PRESETS.items()
    )
    option = command.add_argument
    option("--preset", choices=list(variance.PRESETS), default="default", help=f"{sizes} (default: %(default)s)")
    option("--text", metavar="PATH", type=Path, help="a UTF-8 text file (default: Python's own documentation)")
    option(
        "--checkpoint",
        metavar="FOLDER",
        type=Path,
        help="a BERT in Hugging Face's format, with its tokenizer.json, to look at (default: train a small one)",
    )
    option("--out", metavar="FOLDER", type=Path, default=Path("runs/variance"), help="for results (default: %(default)s)")
    option("--seed", type=_at_least(0), default=0, help="of the model, the rows and the masks (default: %(default)s)")
    option("--backend", choices=backend.NAMES, default="numpy", help=BACKEND_HELP)
    command.set_defaults(run=_variance)


def _variance(options) -> None:
    backend.use(options.backend)
    _check_folder(options.out)
    text = corpus.from_file(options.text) if options.text else corpus.python_docs()
    found = variance.variance(text, variance.PRESETS[options.preset], options.seed, options.out, options.checkpoint)
    print(variance_output.text(found))
    print(f"\nWritten to {options.out}: variance.json, variance.png, variance.svg")


def _compare(options) -> None:
    settings = compare.PRESETS[options.preset]
    if options.steps is not None:
        settings = dataclasses.replace(settings, steps=options.steps, evaluations=min(settings.evaluations, options.steps))
    backend.use(options.backend)
    _check_folder(options.out)
    text = corpus.from_file(options.text) if options.text else corpus.python_docs()
    print(report.text(compare.compare(text, settings, options.seed, options.out)))
    print(f"\nWritten to {options.out}: results.json, losses.csv, losses.png, losses.svg")


def _check_folder(folder: Path) -> None:
    """Raise InputError now, not after minutes of work, where nothing can be written to `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room?")
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror}; choose another with --out") from error


def _at_least(least: int):
    def number(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, not {text!r}")
        return int(text)

    return number
