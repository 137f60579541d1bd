"""What it costs to train on rows in random order: a permutation of all of them, or places worked out as they are needed.

    python benchmarks/shuffle.py [--rows 1000000 100000000]

Rows are asked for as training does, for 16 steps of 32 rows at a time. "first" is the time until the first of these are
known, "next" that of each 16 steps after them, "peak" the memory that it took.
"""

import argparse
import itertools
import resource
import sys
import time
from multiprocessing import get_context

import numpy
import timing

from minimapnet import backend
from minimapnet.text.batches import shuffled

STRETCHES, ROWS = 25, 16 * 32


def permutation(count: int):
    """Return what gives the rows at places of one order, all of which is drawn at once."""
    order = backend.generator(0, "order").permutation(count)
    return lambda places: order[places]


def cipher(count: int):
    """Return what gives the rows at places, as training does."""
    return lambda places: shuffled(places, count, 0, 0)


def peak() -> float:
    """Return the most memory that this process has held, in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def measured(way, count: int) -> list[str]:
    """Return a line of the table."""
    before, start = peak(), time.perf_counter()
    rows_at = way(count)
    rows_at(numpy.arange(ROWS))
    first = time.perf_counter() - start
    start = time.perf_counter()
    for stretch in range(STRETCHES):
        rows_at(numpy.arange(stretch * ROWS, (stretch + 1) * ROWS))
    each = (time.perf_counter() - start) / STRETCHES
    return [f"{count:,}", way.__name__, f"{first:.3f}", f"{1000 * each:.3f}", f"{peak() - before:.0f}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 10**8])
    table = []
    for count, way in itertools.product(parser.parse_args().rows, (permutation, cipher)):
        with get_context("spawn").Pool(1) as process:  # its own, so that its peak is its own
            table.append(process.apply(measured, (way, count)))
    print(timing.table(["rows", "order", "first, s", "next, ms", "peak, MiB"], table))


if __name__ == "__main__":
    main()
