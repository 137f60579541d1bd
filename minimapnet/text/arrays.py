"""Arrays that are written piece by piece and read through a memory map: NumPy's own .npy files, of any length."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy

from minimapnet.files import written_whole


class Growing:
    """An array on disk that grows along its first axis; only what is added at a time is in memory."""

    def __init__(self, file, dtype, columns: tuple[int, ...]):
        self._file, self._dtype, self._columns, self.length = file, numpy.dtype(dtype), columns, 0
        self.write_header()

    def add(self, values) -> None:
        """Add values (n, *columns) at the end."""
        values = numpy.ascontiguousarray(values, self._dtype).reshape(-1, *self._columns)
        self._file.write(values.tobytes())
        self.length += len(values)

    def write_header(self) -> None:
        """Write the header with the length as it is now; NumPy leaves room in it for a longer first axis."""
        self._file.seek(0)
        shape = (self.length, *self._columns)
        about = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
        numpy.lib.format.write_array_header_1_0(self._file, about)


@contextmanager
def growing(file: Path, dtype, columns: tuple[int, ...] = ()) -> Iterator[Growing]:
    """Write an array of yet unknown length to `file`, which is whole or not there.

    Raises InputError where it cannot be written.
    """
    with written_whole(file) as temporary, open(temporary, "wb") as opened:
        array = Growing(opened, dtype, columns)
        yield array
        array.write_header()


def mapped(file: Path) -> numpy.ndarray:
    """Read an array through a memory map. Raises OSError or ValueError where it is not there, or damaged."""
    try:
        return numpy.load(file, mmap_mode="r", allow_pickle=False)
    except EOFError as error:
        raise ValueError(f"{file} is empty") from error
