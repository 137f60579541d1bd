"""What a step's text says, held against what its code prints.

A number that the text takes from the output stands between backquotes: `0.219`, `84 %`. It must be printed by a cell above,
or by the one right below, up to one unit of its last digit: another processor rounds differently. A decimal number that is
neither quoted like this nor part of a formula would go stale unseen, and is reported.
"""

import re
from pathlib import Path
from typing import NamedTuple

import jupytext

QUOTE = re.compile(r"`(-?[\d,]*\d(?:\.\d+)?)( ?%)?`")
FORMULA = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]+\$|`[^`]*`|\]\([^)]*\)|arXiv [\d.]+", re.DOTALL)
DECIMAL = re.compile(r"\d+\.\d+")
PRINTED = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


class Cell(NamedTuple):
    """A piece of a step: "markdown" or "code", and its text."""

    kind: str
    text: str


def cells(step: Path) -> list[Cell]:
    """Read a script in the percent format, or a notebook."""
    return [Cell(cell.cell_type, cell.source) for cell in jupytext.read(step).cells]


def complaints(found: list[Cell], outputs: list[str]) -> list[str]:
    """Say which quoted numbers are not printed, and which numbers are not quoted; outputs go with the cells, "" for text."""
    said = []
    for place, cell in enumerate(found):
        if cell.kind != "markdown":
            continue
        below = next((i for i in range(place, len(found)) if found[i].kind == "code"), place)
        printed = numbers("\n".join(outputs[: below + 1]))
        for number, percent in QUOTE.findall(cell.text):
            if not any(_same(number, bool(percent), one) for one in printed):
                said.append(f"cell {place + 1} quotes {number}{percent}, which is not printed")
        loose = DECIMAL.findall(FORMULA.sub(" ", cell.text))
        said += [f"cell {place + 1} says {number} outside backquotes and formulas" for number in loose]
    return said


def numbers(text: str) -> list[float]:
    """Return all numbers of an output."""
    return [float(one.replace(",", "")) for one in PRINTED.findall(text)]


def _same(quoted: str, percent: bool, printed: float) -> bool:
    digits = len(quoted.partition(".")[2])
    unit = 10.0**-digits if digits or percent else 0.0
    return abs(round(printed, digits) - float(quoted.replace(",", ""))) <= unit * (1 + 1e-9)
