"""Settings as dataclass fields: name, type, range, default and help are written once, and all else is derived from them.

The command line's options and the TOML file (`cli/options.py`), the checks of a dataclass, and what a resumed run compares
(`run_fingerprint.py`) read the metadata that `setting` writes.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minimapnet.errors import InputError

LARGEST = 10**9  # of whole numbers: more is a slip, and would not fit any machine


@dataclass(frozen=True)
class Number:
    """A range of numbers: `words` describe it, `kinds` are the types that a value may have, `fits` tells those within."""

    words: str
    kinds: tuple[type, ...]
    fits: Callable[[float], bool]

    def holds(self, value) -> bool:
        """Return whether a value is of the range, and of a type that it may have."""
        numeric = (int, float) if float in self.kinds else self.kinds
        return type(value) in numeric and math.isfinite(value) and self.fits(value)

    def parse(self, text: str) -> int | float:
        """Return the number that a text writes. Raises ValueError, with a line for the user, for others."""
        for kind in self.kinds:
            try:
                value = kind(text)
            except ValueError:
                continue
            if self.holds(value):
                return value
        raise ValueError(f"must be {self.words}, not {text!r}")


def whole(least: int, most: int = LARGEST) -> Number:
    """Return the whole numbers from `least` to `most`."""
    words = f"a whole number of at least {least}" + (f" and at most {most}" if most != LARGEST else "")
    return Number(words, (int,), lambda value: least <= value <= most)


POSITIVE = Number("a number above 0", (float, int), lambda value: value > 0)
NOT_NEGATIVE = Number("a number of at least 0", (float, int), lambda value: value >= 0)
SHARE = Number("a number from 0 to 1", (float, int), lambda value: 0 <= value <= 1)
BELOW_ONE = Number("a number of at least 0 and below 1", (float, int), lambda value: 0 <= value < 1)
MASK_RATE = Number(
    "a whole number of at least 1, or a share above 0 and below 1",
    (int, float),
    lambda value: 1 <= value <= LARGEST if isinstance(value, int) else 0 < value < 1,
)


def setting(
    default,
    help: str,
    number: Number | None = None,
    choices: tuple[str, ...] | None = None,
    names: tuple[str, ...] | None = None,
    shown: str | None = None,
    free: bool = False,
):
    """Return a dataclass field with what is to be known of a setting.

    It is a `number`, one of `choices`, one of `names` or a path, or else any word. `shown` describes the default where
    that is not its value; `free` settings change no number of a run, so a resumed run may have others.
    """
    metadata = {"help": help, "number": number, "choices": choices, "names": names, "shown": shown, "free": free}
    return dataclasses.field(default=default, metadata=metadata)


def check_settings(settings) -> None:
    """Raise InputError for the first field of a dataclass that is out of its range; None is what is not set."""
    for field in dataclasses.fields(settings):
        value, known = getattr(settings, field.name), field.metadata
        if value is None and field.default is None:
            continue
        if known["number"] and not known["number"].holds(value):
            raise InputError(f"{field.name} must be {known['number'].words}, not {value!r}")
        if known["choices"] and value not in known["choices"]:
            raise InputError(f"{field.name} must be one of {', '.join(known['choices'])}, not {value!r}")
        if known["names"] is not None and not isinstance(value, str | Path):
            raise InputError(f"{field.name} must be a name or a path, not {value!r}")
        if field.type is str and (not isinstance(value, str) or not value):
            raise InputError(f"{field.name} must be a word, not {value!r}")


def compared_settings(settings) -> dict:
    """Return the settings that a resumed run must share, by name."""
    return {
        field.name: getattr(settings, field.name) for field in dataclasses.fields(settings) if not field.metadata["free"]
    }
