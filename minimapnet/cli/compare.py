"""`minimapnet compare`."""

from pathlib import Path

from minimapnet import backend
from minimapnet.cli import options as option
from minimapnet.cli.model_folder import check_writable
from minimapnet.experiments import compare
from minimapnet.experiments.presets import PRESETS
from minimapnet.reports import compare as report
from minimapnet.text import sources

DESCRIPTION = (
    "Two experiments on one text. From scratch: the same model, from the same start, with several mask proposals. Branches: "
    "one warm start with uniform masks, from which every proposal goes on. Writes report.html, results.json, results.csv, "
    "times.json and figures into a folder."
)


def add(command) -> None:
    """Add the command's options."""
    option.add_config(command)
    sizes = "; ".join(
        f"{name} has {p.scratch.seeds} seeds of {p.scratch.steps} steps from scratch, and {p.branches.seeds} of "
        f"{p.branches.steps} from a start of {p.branches.warm_steps} + {p.branches.restart_steps}"
        for name, p in PRESETS.items()
    )
    option.add(command, "--preset", sizes, "default", choices=list(PRESETS))
    names = ", ".join(sources.NAMES)
    what = f"the text: {names}; or a UTF-8 file, a folder of them, or a .gz"
    option.add(command, "--text", what, "python-docs", type=option.named, metavar="TEXT")
    kept = "where the text's tokens are kept, to be read faster the next time"
    option.add(command, "--cache", kept, Path("runs/cache"), type=option.path, metavar="FOLDER")
    option.add_out(command, "runs/compare", "for results")
    option.add(command, "--seeds", "of each experiment", type=option.whole(1), metavar="N", shown="the preset's")
    option.add_seed(command, "the first seed, which the others follow")
    option.add_backend(command)


def run(options) -> None:
    """Compare, write the report, and print what it says in short."""
    backend.use(options.backend)
    check_writable(options.out)
    found = compare.compare(options.text, options.preset, options.seed, options.cache, options.out, options.seeds)
    report.write(*found, options.out)
    print(report.text(*found))
    print(f"\nWritten to {options.out}: {', '.join(report.FILES)}")
