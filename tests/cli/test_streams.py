"""Standard input, output and error that are closed, broken or full: the work goes on, and files hold what they should."""

import io
import json
import os
import shlex
import subprocess
import sys

import pytest

from minimapnet.cli import info
from minimapnet.cli.main import main
from minimapnet.errors import tell
from minimapnet.progress import progress
from tests.helpers import training_cases as cases
from tests.helpers.command_cases import environment, text_file, train

CLOSED = (">&-", "2>&-", ">&- 2>&-", "<&- >&-", "<&- 2>&-", "<&- >&- 2>&-")
every_way = pytest.mark.parametrize("closed", CLOSED)


def shell(closed, *arguments) -> subprocess.CompletedProcess:
    line = shlex.join([sys.executable, "-m", "minimapnet", *map(str, arguments)])
    return subprocess.run(f"{line} {closed}", shell=True, capture_output=True, text=True, env=environment())


@every_way
def test_training_goes_on(tmp_path, closed):
    text_file(tmp_path)
    result = shell(closed, *train(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    records = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]  # and nothing else
    assert [record["step"] for record in records] == [0, 6]
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *(".lock", "log.jsonl", "options.toml", "step-00000000", "step-00000006")
    }


@every_way
def test_a_refusal_has_its_exit_code_and_never_goes_to_standard_output(tmp_path, closed):
    result = shell(closed, "info", tmp_path / "nowhere")
    line = "" if "2>" in closed else f"minimapnet: error: there is no folder {tmp_path}/nowhere"
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(line) and result.stderr.count("\n") == bool(line)
    result = shell(closed, "info", "--nonsense")
    assert (result.returncode, result.stdout, "Traceback" in result.stderr) == (2, "", False)


@every_way
def test_variance_measures(tmp_path, closed):
    result = shell(closed, "variance", "--preset", "smoke", "--cache", tmp_path / "cache", "--out", tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "out/variance.json").exists()


@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")])
@pytest.mark.parametrize("kind", ["none", "closed"])
def test_streams_that_a_program_has_taken_away(tmp_path, monkeypatch, streams, kind):
    def closed():
        stream = io.StringIO()
        stream.close()
        return stream

    text_file(tmp_path)
    for name in streams:
        monkeypatch.setattr(sys, name, None if kind == "none" else closed())
    assert main(train(tmp_path)) == 0
    assert main(["info", str(tmp_path / "nowhere")]) == 2
    assert len(cases.trainer().run()) > 0  # without the command line
    assert list(progress(range(3), unit="step")) == [0, 1, 2]
    tell("nobody reads this")


@pytest.mark.parametrize("kind", ["pipe", "full"])
def test_an_error_line_that_nobody_reads_leaves_the_exit_code(kind):
    if kind == "full":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        unread, target = os.pipe()
        os.close(unread)
    line = [sys.executable, "-m", "minimapnet", "info", "nowhere"]
    result = subprocess.run(line, stdout=subprocess.PIPE, stderr=target, env=environment())
    os.close(target)
    assert (result.returncode, result.stdout) == (2, b"")


def test_nothing_is_redirected_afterwards(monkeypatch):
    monkeypatch.setattr(info, "run", lambda options: None)
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["info"]) == 0
    assert sys.stdout is None
