"""How memory and time grow with the text: a file of N and of ten times N megabytes becomes rows, each in a fresh process.

The text is made up: words of a vocabulary of 20,000 by Zipf's law, in sentences of 5 to 30 words. A process reads the file,
trains a WordPiece tokenizer of 2,048 pieces, writes the tokens, makes rows of both kinds and reads 200 batches of each.

"peak" is the most memory of its own that the process held (RssAnon of Linux, looked at every 10 ms), "before" what it held
when its libraries were imported. Pages of memory-mapped files are "mapped": they are the system's cache, which it takes back
where memory is short.

    python benchmarks/tokens.py [--megabytes 10]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy

from minimapnet import backend
from minimapnet.text.batches import rows_of_step
from minimapnet.text.load import load_corpus

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


def resident(kind: str) -> float:
    """Return the memory that this process holds now, in MiB: "RssAnon" is its own, "RssFile" the pages of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


class Peak(threading.Thread):
    """Looks at this process's own memory every 10 ms; `most` is the largest value, in MiB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self):
        while True:
            self.most = max(self.most, resident("RssAnon"))
            time.sleep(0.01)


def measure(file: str, cache: str) -> dict:
    """Do the work in this process and give its figures."""
    before, started, peak = resident("RssAnon"), time.perf_counter(), Peak()
    peak.start()
    text = load_corpus(file, Path(cache))
    seconds = time.perf_counter() - started
    for rows in (text.train, load_corpus(file, Path(cache), layout="sentences").train):
        for step in range(200):
            rows.batch(rows_of_step(rows, 32, 0, step))
    tokens = sum(path.stat().st_size for path in Path(cache).rglob("*.npy"))
    mapped = resident("RssFile")
    figures = {"before": before, "peak": peak.most, "mapped": mapped, "seconds": seconds}
    return figures | {"rows": len(text.train), "disk": tokens / MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=10.0, help="the smaller size (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "CACHE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
        return
    print("| text, MB | rows to train on | before, MiB | peak, MiB | mapped, MiB | seconds | MB/s | on disk, MiB |")
    print("| -------: | ---------------: | ----------: | --------: | ----------: | ------: | ---: | -----------: |")
    for megabytes in (options.megabytes, 10 * options.megabytes):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "text.txt"
            write_text(file, megabytes)
            command = [sys.executable, __file__, "--measure", str(file), f"{folder}/cache"]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            size = file.stat().st_size / 1e6
            row = f"| {size:8.1f} | {found['rows']:16,} | {found['before']:11.0f} | {found['peak']:9.0f} "
            row += f"| {found['mapped']:11.0f} | {found['seconds']:7.1f} | {size / found['seconds']:4.1f} "
            print(f"{row}| {found['disk']:12.0f} |", flush=True)


if __name__ == "__main__":
    main()
