"""Run the steps as a learner does, one process each, and hold every number that a text quotes against what is printed.

python tutorials/check.py          all steps, with the time that each takes
python tutorials/check.py 03 07    some of them
"""

import argparse
import contextlib
import io
import json
import linecache
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import quotes

FOLDER = Path(__file__).parent
SECONDS, TOGETHER = 120, 720  # a step's limit, and that of all
RUN = "--run"


def main(arguments: list[str]) -> int:
    """Check the steps with the given numbers, all without one; return the number of those that fail."""
    if arguments[:1] == [RUN]:
        return _run(Path(arguments[1]), Path(arguments[2]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", metavar="NN", help="numbers of steps, such as 03")
    steps = chosen(parser.parse_args(arguments).numbers)
    failed, start = 0, time.monotonic()
    for step in steps:
        began = time.monotonic()
        said = _complaints(step)
        seconds = time.monotonic() - began
        said += [f"it took longer than {SECONDS} s"] if seconds > SECONDS else []
        print(f"{step.name:36} {seconds:5.0f} s  {'fails' if said else 'holds'}", *said, sep="\n    ", flush=True)
        failed += bool(said)
    seconds = time.monotonic() - start
    print(f"{len(steps)} steps, {seconds / 60:.1f} minutes, {failed} failed")
    return failed + (seconds > TOGETHER)


def chosen(numbers: list[str]) -> list[Path]:
    """Return the scripts of the steps with these numbers; of all where none is given."""
    steps = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
    unknown = set(numbers) - {step.name[:2] for step in steps}
    if unknown:
        sys.exit(f"there is no step {', '.join(sorted(unknown))}: there are {', '.join(step.name[:2] for step in steps)}")
    return [step for step in steps if not numbers or step.name[:2] in numbers]


def _complaints(step: Path) -> list[str]:
    """Run a step in a process of its own, as a file is run."""
    with tempfile.TemporaryDirectory() as folder:
        printed = Path(folder) / "outputs.json"
        environment = os.environ | {"MPLBACKEND": "agg"}  # no window
        command = [sys.executable, __file__, RUN, step, printed]
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            return done.stderr.splitlines()[-12:]
        return quotes.complaints(quotes.cells(step), json.loads(printed.read_text()))


def _run(step: Path, printed: Path) -> int:
    """Run a step's code cell by cell in this process, and write what each prints."""
    namespace, outputs = {"__name__": "__main__", "__file__": str(step)}, []
    for number, cell in enumerate(quotes.cells(step), start=1):
        outputs.append("")
        if cell.kind == "code":
            name = f"{step.name}, cell {number}"
            linecache.cache[name] = len(cell.text), None, cell.text.splitlines(keepends=True), name  # for tracebacks
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(cell.text, name, "exec"), namespace)
            outputs[-1] = output.getvalue()
    printed.write_text(json.dumps(outputs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
