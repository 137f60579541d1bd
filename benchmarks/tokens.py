"""How memory and time grow with the text: a file of N and of ten times N megabytes becomes rows, each in a fresh process.

The text is made up: words of a vocabulary of 20,000 by Zipf's law, in sentences of 5 to 30 words. A process reads the file,
trains a WordPiece tokenizer of 2,048 pieces, writes the tokens, makes rows and reads 200 batches of them. "peak" is the most
memory the process held, "before" what it held when its libraries were imported.

    python benchmarks/tokens.py [--megabytes 10]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy

from minimapnet import backend
from minimapnet.text.batches import rows_of_step
from minimapnet.text.load import load_text

MIB = 1 << 20


def write_text(file: Path, megabytes: float) -> None:
    """Write made-up text of that size."""
    rng = backend.generator(0, "benchmark text")
    letters = numpy.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = numpy.array(["".join(rng.choice(letters[: 12 + i % 15], rng.integers(1, 11))) for i in range(20_000)])
    shares = 1 / numpy.arange(1, len(words) + 1)
    shares /= shares.sum()
    with open(file, "w", encoding="utf-8") as opened:
        while opened.tell() < megabytes * 1e6:
            drawn = words[rng.choice(len(words), 200_000, p=shares)]
            ends = numpy.cumsum(rng.integers(5, 31, 10_000))
            for sentence in numpy.split(drawn, ends[ends < len(drawn)]):
                opened.write(" ".join(sentence).capitalize() + ".\n\n")


def peak() -> float:
    """Give the most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(file: str, cache: str, packed: bool) -> dict:
    """Do the work in this process and give its figures."""
    before, started = peak(), time.perf_counter()
    text = load_text(file, Path(cache), packed=packed)
    seconds = time.perf_counter() - started
    for step in range(200):
        text.train.batch(rows_of_step(text.train, 32, 0, step))
    tokens = sum(path.stat().st_size for path in Path(cache).rglob("*.npy"))
    return {"before": before, "peak": peak(), "seconds": seconds, "rows": len(text.train), "disk": tokens / MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=10.0, help="the smaller size (default: %(default)s)")
    parser.add_argument("--measure", nargs=3, metavar=("FILE", "CACHE", "PACKED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        file, cache, packed = options.measure
        print(json.dumps(measure(file, cache, packed == "packed")))
        return
    print("| text, MB | rows          | rows to train on | before, MiB | peak, MiB | seconds | MB/s | on disk, MiB |")
    print("| -------: | ------------- | ---------------: | ----------: | --------: | ------: | ---: | -----------: |")
    for megabytes in (options.megabytes, 10 * options.megabytes):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "text.txt"
            write_text(file, megabytes)
            for kind in ("packed", "sentences"):
                command = [sys.executable, __file__, "--measure", str(file), f"{folder}/{kind}", kind]
                found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                size = file.stat().st_size / 1e6
                print(
                    f"| {size:8.1f} | {kind:13} | {found['rows']:16,} | {found['before']:11.0f} | {found['peak']:9.0f} "
                    f"| {found['seconds']:7.1f} | {size / found['seconds']:4.1f} | {found['disk']:12.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
