"""`minimapnet info`."""

import importlib.metadata
import math
import platform
from pathlib import Path

from threadpoolctl import threadpool_info

from minimapnet import backend
from minimapnet.cli import options as option
from minimapnet.cli.model_folder import tokenizer_file
from minimapnet.errors import InputError
from minimapnet.files import printable, write_json
from minimapnet.kernels import pool
from minimapnet.model.bert import Bert
from minimapnet.text import tokenizer
from minimapnet.training import checkpoint, log

PACKAGES = ("minimapnet", "numpy", "scipy", "tokenizers", "safetensors", "cupy-cuda12x", "cupy-cuda13x")
LOSSES = 4  # the last ones, shown
MIB = 1 << 20

DESCRIPTION = (
    "Without a folder: versions, the array library, device and threads. With one: the model's size and parameters, its "
    "tokenizer, and where its training stands."
)


def add(command) -> None:
    """Add the command's options."""
    help = "a run of minimapnet train, or a BERT in Hugging Face's format (default: none)"
    command.add_argument("folder", type=option.path, nargs="?", metavar="FOLDER", help=help)
    option.add_config(command)
    option.add_seed(command, option.NO_CHANCE)
    option.add_backend(command, "auto")
    option.add_out_file(command, "what is printed")


def run(options) -> None:
    """Print what is known."""
    backend.use(options.backend)
    if options.folder is None:
        known, shapes = _machine(), {}
    else:
        folder = checkpoint.model_folder(options.folder)
        model = Bert.from_pretrained(folder)
        known = [("model", printable(folder)), *_size(model), *_tokenizer(folder), *_training(folder)]
        shapes = {"parameters": model.shapes}
    if options.out:
        write_json(options.out, dict(known) | shapes)
    _print(known)
    if shapes:
        print()
        _print(_parameters(model))


def _print(lines: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")


def _machine() -> list[tuple[str, str]]:
    blas = [
        f"{library['internal_api']} {library['version']}" for library in threadpool_info() if library["user_api"] == "blas"
    ]
    versions = [(name, _version(name)) for name in PACKAGES]
    return [
        ("python", platform.python_version()),
        *((name, version) for name, version in versions if version),
        ("backend", backend.name),
        ("device", _device()),
        ("threads", f"{pool.threads()}  (set OMP_NUM_THREADS for another number)"),
        ("BLAS", ", ".join(dict.fromkeys(blas)) or "unknown"),
        ("GPU", _gpu()),
    ]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed, run from its folder" if name == "minimapnet" else None


def _device() -> str:
    return _gpu() if backend.name == "cupy" else f"CPU, {platform.machine()}"


def _gpu() -> str:
    """Name the GPU that CuPy would use, or say why there is none."""
    before = backend.name
    try:
        backend.use("cupy")
        properties = backend.xp.cuda.runtime.getDeviceProperties(backend.xp.cuda.Device().id)
        return f"{properties['name'].decode()}, {properties['totalGlobalMem'] / MIB / 1024:.1f} GiB"
    except InputError as reason:
        return str(reason)
    finally:
        backend.use(before)


def _size(model: Bert) -> list[tuple[str, str]]:
    c = model.config
    head = "masked-language-model head" + (", tied to the word embedding" if c.tie_word_embeddings else "")
    return [
        (
            "layers",
            f"{c.num_hidden_layers}, {c.hidden_size} wide, {c.num_attention_heads} heads, {c.intermediate_size} between",
        ),
        ("reads", f"up to {c.max_position_embeddings} tokens of a vocabulary of {c.vocab_size:,}"),
        ("output", head if c.mlm_head else "encoder alone, no masked-language-model head"),
        ("dropout", f"{c.hidden_dropout_prob:g} of values, {c.attention_probs_dropout_prob:g} of attention"),
        ("size", f"{model.flat.size:,} parameters, {model.flat.nbytes / MIB:,.1f} MiB in {c.dtype}"),
    ]


def _tokenizer(folder: Path) -> list[tuple[str, str]]:
    file = tokenizer_file(folder)
    if file is None:
        return [("tokenizer", "none in the folder")]
    read = tokenizer.read(file)
    kind, mask = type(read.model).__name__, tokenizer.special_tokens(read).mask
    return [("tokenizer", f"{file.name}: {kind} of {read.get_vocab_size():,} pieces, {mask.text} is {mask.id}")]


def _training(folder: Path) -> list[tuple[str, str]]:
    """Return how far training is, by a checkpoint's own record and the log of its run."""
    if not (folder / checkpoint.RUN).is_file():
        return []
    run = checkpoint.read_run(folder)
    step, about = run["step"], run["about"]
    records = log.read(folder.parent / log.LOG, step)
    lines = [("step", f"{step:,}, after {about['tokens']:,} tokens and {about['seconds'] / 60:.1f} minutes")]
    for name, label in (("loss", "training loss"), ("validation_loss", "validation loss")):
        losses = [f"{r[name]:.3f} ({r['step']:,})" for r in records if isinstance(r.get(name), int | float)]
        if losses:
            lines.append((label, ", ".join(losses[-LOSSES:]) + "  nats per masked token (step)"))
    return lines


def _parameters(model: Bert) -> list[tuple[str, str]]:
    """Return the table of parameters: name, shape, number of values. Layers are alike, so the first stands for all."""
    rows = []
    for name, shape in model.shapes.items():
        if not name.startswith("layer") or name.startswith("layer0."):
            count = model.config.num_hidden_layers if name.startswith("layer0.") else 1
            rows.append((name.replace("layer0.", "layer<i>."), shape, count))
    texts = [" x ".join(map(str, shape)) for _, shape, _ in rows]
    width = max(map(len, texts))
    counts = [f"{math.prod(shape) * count:,}" for _, shape, count in rows]
    digits = max(map(len, counts))
    return [
        (name, f"{text:<{width}}  {number:>{digits}}" + (f"  in {count} layers" if count > 1 else ""))
        for (name, _, count), text, number in zip(rows, texts, counts, strict=True)
    ]
