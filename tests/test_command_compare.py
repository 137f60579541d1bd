"""`minimapnet compare`, run as a user runs it: what it writes, what it says to bad input, and how it stops."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

import pytest
from command_cases import assert_refused, called, command, environment
from text_cases import made_up

from minimapnet.cli import main

FILES = ["losses.csv", "losses.png", "losses.svg", "results.json"]
QUICK = ("--preset", "smoke", "--steps", "3")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n\n".join(made_up(1500)), encoding="utf-8")
    return file


def test_compare_writes_whole_files_that_agree_with_each_other(text, tmp_path):
    result = command("compare", *QUICK, "--text", text, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no progress bar where nobody watches
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name for name in names if not name.startswith("tokenizer-")] == FILES
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert f"{results['unigram_entropy']:.3f}" in result.stdout
    assert [len(p["final"]) for p in results["proposals"].values()] == [2, 2, 2]
    lines = (tmp_path / "out/losses.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * 2 * 2  # proposals, seeds, evaluations
    assert (tmp_path / "out/losses.png").read_bytes().startswith(b"\x89PNG")
    svg = xml.etree.ElementTree.parse(tmp_path / "out/losses.svg")
    words = " ".join(svg.getroot().itertext())
    for expected in ("training step", "nats per masked token", "unigram entropy", *results["proposals"]):
        assert expected in words


def test_compare_is_reproduced_by_the_same_command_and_not_by_another_seed(text, tmp_path):
    for out, seed in (("a", 0), ("b", 0), ("c", 5)):
        assert main(["compare", *QUICK, "--text", str(text), "--out", str(tmp_path / out), "--seed", str(seed)]) == 0
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert (tmp_path / "a/losses.csv").read_bytes() != (tmp_path / "c/losses.csv").read_bytes()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "there is no file"),
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not a text file"),
        ("Größe. ".encode("latin-1") * 100, "is not UTF-8"),
        (b"A text of one sentence.", "is too short"),
    ],
)
def test_text_that_cannot_be_used(tmp_path, content, part):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    assert_refused(command("compare", "--text", file, "--out", tmp_path / "out"), part)


def test_a_folder_as_text(tmp_path):
    assert_refused(command("compare", "--text", tmp_path, "--out", tmp_path / "out"), "is a folder")


def test_out_inside_a_file(text):
    assert_refused(command("compare", *QUICK, "--text", text, "--out", text / "out"), "cannot write to the folder", "--out")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, where not even root can make a folder")
def test_out_where_nobody_may_write(text):
    assert_refused(command("compare", *QUICK, "--text", text, "--out", "/proc/out"), "cannot write to the folder /proc/out")


def test_a_disk_that_fills_up_leaves_older_results_whole(text, tmp_path):
    """A limit on the size of files makes the system refuse to write on, in the middle of a file, as a full disk does."""
    out = tmp_path / "out"
    assert command("compare", *QUICK, "--text", text, "--out", out).returncode == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    limit = len(before["losses.png"]) // 2

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    assert all(len(content) < limit for name, content in before.items() if not name.startswith("losses."))
    result = command("compare", *QUICK, "--seed", 7, "--text", text, "--out", out, preexec_fn=small_files)
    assert_refused(result, "cannot write", "losses.")
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    assert after.keys() == before.keys()
    assert after["losses.png"] == before["losses.png"]


def test_ctrl_c_is_one_line_and_leaves_nothing_half_written(text, tmp_path):
    line = [sys.executable, "-m", "minimapnet", "compare", "--text", str(text), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/tokenizer-*")) and time.monotonic() < deadline:
        time.sleep(0.05)  # until training is about to begin
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr == "minimapnet: stopped before the end\n"
    assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("tokenizer-")] == []


def test_training_teaches_more_than_an_untrained_model_knows(text, tmp_path):
    assert main(["compare", "--preset", "smoke", "--steps", "150", "--text", str(text), "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    for name, proposal in results["proposals"].items():
        for curve in proposal["curves"].values():
            (_, middle), (_, last) = curve
            assert last < middle, name
            assert last < math.log(results["vocabulary"]) - 0.5, name


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--steps", "0"), "--steps: must be a whole number of at least 1"),
        (("--steps", "many"), "--steps: must be a whole number"),
        (("--seed", "-1"), "--seed: must be a whole number of at least 0"),
        (("--preset", "huge"), "--preset: invalid choice"),
    ],
)
def test_wrong_arguments(arguments, part, capsys):
    assert_refused(called(capsys, "compare", *arguments), part)
