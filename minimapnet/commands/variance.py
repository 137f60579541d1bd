"""`minimapnet variance`."""

from pathlib import Path

from minimapnet import backend
from minimapnet.commands import options as option
from minimapnet.commands.folders import check_writable
from minimapnet.lab import variance, variance_output
from minimapnet.text import corpus

DESCRIPTION = (
    "Train a small BERT briefly, or read one, and take the variance of its gradient apart for masks of 1, "
    "2, 5 and 15 % of the tokens; then hold proposals against uniform masks. Prints tables and writes variance.json, "
    "variance.png and variance.svg into a folder."
)


def add(command) -> None:
    """Add the command's options."""
    sizes = ", ".join(
        f"{name} has {p.sentences} rows of {p.masks} masks after {p.training.steps} training steps"
        for name, p in variance.PRESETS.items()
    )
    option.add_config(command)
    option.add(command, "--preset", sizes, "default", choices=list(variance.PRESETS))
    shown = "Python's own documentation"
    option.add(command, "--text", "a UTF-8 text file", type=Path, metavar="PATH", shown=shown)
    what = "a BERT in Hugging Face's format, with its tokenizer.json, to look at"
    option.add(command, "--checkpoint", what, type=Path, metavar="FOLDER", shown="train a small one")
    option.add_out(command, "runs/variance", "for results")
    option.add_seed(command, "of the model, the rows and the masks")
    option.add_backend(command)


def run(options) -> None:
    """Take the variance apart, and print the tables."""
    backend.use(options.backend)
    check_writable(options.out)
    text = corpus.from_file(options.text) if options.text else corpus.python_docs()
    found = variance.variance(text, variance.PRESETS[options.preset], options.seed, options.out, options.checkpoint)
    print(variance_output.text(found))
    print(f"\nWritten to {options.out}: variance.json, variance.png, variance.svg")
