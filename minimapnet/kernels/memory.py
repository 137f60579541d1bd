"""Memory that is asked for again at once should not go back to the operating system in between.

A step makes and drops the same arrays again and again. The C library returns large ones to the system when they are dropped,
and the next step pays for fresh pages, each of them cleared: measured at up to half of a small model's step. Told to keep
them, it hands the same pages out again. So no code above has to carry buffers about.
"""

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt's parameters: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
KEPT = 1 << 30  # bytes at the top of the heap that are kept
LARGEST = 1 << 28  # bytes of the largest array that is taken from the heap


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for this process; give False where it is not glibc and cannot be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(TRIM_THRESHOLD, KEPT)) and bool(mallopt(MMAP_THRESHOLD, LARGEST))
