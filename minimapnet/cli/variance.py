"""`minimapnet variance`."""

from minimapnet import backend
from minimapnet.cli import model_folder
from minimapnet.cli import options as option
from minimapnet.experiments import variance
from minimapnet.files import printable
from minimapnet.reports import variance as report
from minimapnet.text import sources
from minimapnet.training.settings import CorpusSettings

DESCRIPTION = (
    "Train a small BERT briefly, or read one, and take the variance of its gradient apart for masks of 1, 2, 5 and 15 of "
    "about 100 tokens; then hold proposals against uniform masks. Prints tables and writes variance.json, variance.png and "
    "variance.svg into a folder."
)


def add(command) -> None:
    """Add the command's options."""
    sizes = ", ".join(
        f"{name} has {p.sentences} rows of {p.masks} masks after {p.training.all_steps} training steps"
        for name, p in variance.PRESETS.items()
    )
    option.add_config(command)
    option.add(command, "--preset", sizes, "default", choices=list(variance.PRESETS))
    option.add_settings(command, CorpusSettings, only=("text", "cache"))
    help = (
        "the model to look at: a run of minimapnet train, whose newest checkpoint is taken, or a BERT in Hugging Face's "
        "format with its tokenizer"
    )
    option.add(command, "--checkpoint", help, type=option.path, metavar="FOLDER", shown="train a small one")
    option.add_out(command, "runs/variance", "for results")
    option.add_seed(command, "of the model, the rows and the masks")
    option.add_backend(command)


def run(options) -> None:
    """Take the variance apart, and print the tables."""
    backend.use(options.backend)
    model_folder.check_writable(options.out)
    options.text = sources.kept(options.text, options.cache)
    settings = variance.PRESETS[options.preset]
    results = variance.variance(_subject(options, settings), settings, options.seed)
    report.write(results, options.out)
    print(report.text(results))
    print(f"\nWritten to {options.out}: variance.json, variance.png, variance.svg")


def _subject(options, settings) -> variance.ModelUnderTest:
    if options.checkpoint is None:
        return variance.train_model(options.text, options.cache, settings.training, options.seed)
    model_files = model_folder.read_model(options.checkpoint)
    tokenizer = model_folder.tokenizer_file(model_files.folder)
    return variance.load_model(model_files.model, printable(options.checkpoint), options.text, options.cache, tokenizer)
