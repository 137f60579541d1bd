"""Bars of progress, where somebody watches: standard error is a terminal."""

import sys

from tqdm import tqdm


def progress(*iterable, **options) -> tqdm:
    """Return tqdm's bar, over an iterable where one is given, which shows nothing where standard error is no terminal."""
    return tqdm(*iterable, disable=not _is_watched(), **options)


def _is_watched() -> bool:
    """Return whether there is a terminal; tqdm by itself fails where standard error is missing, or was closed."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False
