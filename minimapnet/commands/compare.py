"""`minimapnet compare`."""

import dataclasses
from pathlib import Path

from minimapnet import backend
from minimapnet.commands import options as option
from minimapnet.commands.folders import check_writable
from minimapnet.lab import compare, report
from minimapnet.text import corpus

DESCRIPTION = (
    "Train the same small BERT with masks of several proposals, over several seeds, and compare their "
    "validation losses. Writes results.json, losses.csv, losses.png and losses.svg into a folder."
)


def add(command) -> None:
    """Add the command's options."""
    sizes = ", ".join(f"{name} has {p.seeds} seeds of {p.steps} steps" for name, p in compare.PRESETS.items())
    option.add_config(command)
    option.add(command, "--preset", sizes, "default", choices=list(compare.PRESETS))
    shown = "Python's own documentation"
    option.add(command, "--text", "a UTF-8 text file", type=Path, metavar="PATH", shown=shown)
    option.add_out(command, "runs/compare", "for results")
    option.add(command, "--steps", "training steps of each run", type=option.whole(1), metavar="N", shown="the preset's")
    option.add_seed(command, "the first seed, which the others follow")
    option.add_backend(command)


def run(options) -> None:
    """Compare, and print the verdicts."""
    settings = compare.PRESETS[options.preset]
    if options.steps is not None:
        settings = dataclasses.replace(settings, steps=options.steps, evaluations=min(settings.evaluations, options.steps))
    backend.use(options.backend)
    check_writable(options.out)
    text = corpus.from_file(options.text) if options.text else corpus.python_docs()
    print(report.text(compare.compare(text, settings, options.seed, options.out)))
    print(f"\nWritten to {options.out}: results.json, losses.csv, losses.png, losses.svg")
