"""The log of a run: one JSON object a line, each a record of one step, in the order of the steps."""

import json
import math
import os
from pathlib import Path

from minimapnet.errors import InputError
from minimapnet.files import read_lines, written_whole

LOG = "log.jsonl"


class Log:
    """The records of a run, in memory as `records`, and in `folder`/log.jsonl where a folder is given.

    A line is given to the system whole and at once, so that a process which is killed leaves whole lines; `sync` waits until
    they are on the disk.
    """

    def __init__(self, folder: Path | None, last_step: int | None = None):
        """Begin anew, or go on after the records up to `last_step`, and cut off those after it.

        Raises InputError where the file cannot be written.
        """
        self.records, self.path = [], None if folder is None else Path(folder) / LOG
        if self.path is None:
            return
        if last_step is not None:
            self.records = read(self.path, last_step)
        with written_whole(self.path) as temporary:
            temporary.write_text("".join(map(_line, self.records)), encoding="utf-8")

    def add(self, record: dict) -> None:
        """Write a record. Raises InputError where that fails: the disk is full, say."""
        self.records.append(record)
        if self.path is not None:
            self._write(_line(record).encode())

    def sync(self) -> None:
        """Wait until every record is on the disk."""
        if self.path is not None:
            self._write(b"", sync=True)

    def _write(self, line: bytes, sync: bool = False) -> None:
        try:
            with open(self.path, "ab", buffering=0) as file:
                if file.write(line) < len(line):
                    raise OSError("no room left for a whole line")
                if sync:
                    os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror or error}") from error


def _line(record: dict) -> str:
    """Write a record as JSON, which knows no infinity and no NaN: they become null."""
    plain = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in record.items()}
    return json.dumps(plain, allow_nan=False) + "\n"


def read(path: Path, last_step: int) -> list[dict]:
    """Return the records up to `last_step`: those before the first line that is none, or is of a later step."""
    try:
        lines = read_lines(path, errors="replace")
    except InputError:
        if path.exists():
            raise
        return []
    records = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            break
        step = record.get("step") if isinstance(record, dict) else None
        if type(step) is not int or step > last_step:
            break
        records.append(record)
    return records
