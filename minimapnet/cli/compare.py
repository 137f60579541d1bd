"""`minimapnet compare`."""

from minimapnet import backend
from minimapnet.cli import options as option
from minimapnet.cli.model_folder import check_writable
from minimapnet.experiments import compare
from minimapnet.experiments.presets import PRESETS
from minimapnet.reports import compare as report
from minimapnet.text import sources
from minimapnet.training.setting_fields import whole
from minimapnet.training.settings import CorpusSettings

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
    option.add_settings(command, CorpusSettings, only=("text", "cache"))
    option.add_out(command, "runs/compare", "for results")
    option.add_number(command, "--seeds", "of each experiment", None, whole(1), "the preset's")
    option.add_seed(command, "the first seed, which the others follow")
    option.add_backend(command)


def run(options) -> None:
    """Compare, write the report, and print what it says in short."""
    backend.use(options.backend)
    check_writable(options.out)
    options.text = sources.kept(options.text, options.cache)
    results = compare.compare(options.text, options.preset, options.seed, options.cache, options.out, options.seeds)
    report.write(*results, options.out)
    print(report.text(*results))
    print(f"\nWritten to {options.out}: {', '.join(report.FILES)}")
