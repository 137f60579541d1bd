"""A run's folder has one writer at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.training import checkpoint

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

LOCK = ".lock"


@contextmanager
def only_writer(folder: Path | None) -> Iterator[None]:
    """Make a run's folder, hold it against other processes, and clear away what writers that were killed have left.

    The system lets go of it when the process ends, however it ends. Without a folder there is nothing to hold.

    Raises InputError where another process holds it, and where it cannot be written to.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / LOCK, "wb")  # noqa: SIM115 - closed below, and apart from what the caller's own errors are
    except OSError as error:
        raise InputError(f"cannot write to the folder {folder}: {error.strerror}; choose another") from error
    with lock:
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process is training in {folder}: wait for it, or choose another folder") from None
        except OSError:  # a file system without locks
            pass
        checkpoint.clear(folder)
        yield
