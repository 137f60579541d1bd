"""`minimapnet compare`, run as a user runs it: what it writes, what it says to bad input, and how it stops."""

import errno
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from minimapnet import backend
from minimapnet.cli.main import main
from minimapnet.experiments import compare as lab
from minimapnet.experiments import presets
from minimapnet.reports import compare as report
from tests.helpers.command_cases import assert_refused, called, environment, text_file

FILES = ["figures", "report.html", "results.csv", "results.json", "times.json"]


@pytest.fixture
def small(monkeypatch):
    """Make the preset "smoke" smaller still."""
    preset = replace(
        presets.PRESETS["smoke"],
        model=presets.ModelSettings(hidden_size=16, layers=1, heads=2),
        scratch=presets.ScratchSettings(seeds=1, steps=3, batch_size=5, evaluations=3),
        branches=presets.BranchSettings(
            seeds=1, warm_steps=3, warm_batch_size=4, restart_steps=2, steps=3, masked=(1,), evaluations=3
        ),
        stages=presets.StageSettings(count=2, sentences=3, masks=2, quality_sentences=4, shown=2),
        timed_steps=1,
    )
    monkeypatch.setitem(presets.PRESETS, "smoke", preset)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return text_file(tmp_path_factory.mktemp("text"), 1500)


def compare(text, folder, *more):
    places = ("--text", text, "--cache", folder / "cache", "--out", folder / "out")
    return [str(part) for part in ("compare", "--preset", "smoke", *places, *more)]


def test_compare_writes_a_report_that_agrees_with_its_tables(small, text, tmp_path, capsys):
    assert main(compare(text, tmp_path)) == 0
    printed, complaint = capsys.readouterr()
    assert complaint == ""  # no progress bar where nobody watches
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    assert [path.name for path in (tmp_path / "out/figures").glob("*.png")]
    results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    assert (results["preset"], results["text"]["name"]) == ("smoke", "text.txt")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    for experiment in results["experiments"].values():
        for proposal in experiment["proposals"]:
            assert proposal["name"] in page and proposal["name"] in printed
    points = [
        p for e in results["experiments"].values() for one in e["proposals"] for c in one["curves"].values() for p in c
    ]
    assert len((tmp_path / "out/results.csv").read_text(encoding="utf-8").splitlines()) == 1 + len(points)


def test_seeds_are_counted_from_the_first(small, text, tmp_path):
    assert main(compare(text, tmp_path, "--seeds", "2", "--seed", "5")) == 0
    results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    seeds = {name: set(e["proposals"][0]["curves"]) for name, e in results["experiments"].items()}
    assert seeds == {"scratch": {"5", "6"}, "branches": {"6", "7"}}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "there is no text"),
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is not a text file"),
        ("Größe. ".encode("latin-1") * 100, "is not UTF-8"),
        (b"A text of one sentence.", "is too short"),
    ],
)
def test_text_that_cannot_be_used(tmp_path, content, part, capsys):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    assert_refused(called(capsys, *compare(file, tmp_path)), part)
    assert not (tmp_path / "out").exists()


def test_a_damaged_gz_and_a_folder_without_text(tmp_path, capsys):
    (tmp_path / "text.txt.gz").write_bytes(gzip.compress(b"A sentence. " * 1000)[:-20])
    (tmp_path / "given").mkdir()
    (tmp_path / "given/picture.png").write_bytes(b"\x89PNG")
    assert_refused(called(capsys, *compare(tmp_path / "text.txt.gz", tmp_path)), "is not a whole gzip file")
    assert_refused(called(capsys, *compare(tmp_path / "given", tmp_path)), "has no text")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("step = 5", "minimapnet compare has no option 'step'"),
        ("seed = 'one'", "seed must be a whole number, not 'one'"),
        ("preset = 'huge'", "preset must be one of"),
        ("seeds = ", "is not TOML"),
    ],
)
def test_configurations_that_cannot_be_used(text, tmp_path, capsys, content, part):
    (tmp_path / "config.toml").write_text(content, encoding="utf-8")
    assert_refused(called(capsys, *compare(text, tmp_path, "--config", tmp_path / "config.toml")), "config.toml", part)
    assert not (tmp_path / "out").exists()


def test_out_inside_a_file(text, tmp_path, capsys):
    found = called(capsys, "compare", "--text", text, "--cache", tmp_path, "--out", text / "out")
    assert_refused(found, "cannot write to the folder", "--out")


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc, where not even root can make a folder")
def test_out_where_nobody_may_write(text, tmp_path, capsys):
    found = called(capsys, "compare", "--text", text, "--cache", tmp_path, "--out", "/proc/out")
    assert_refused(found, "cannot write to the folder /proc/out")


def test_a_disk_that_fills_up_leaves_older_results_whole(small, text, tmp_path, capsys, monkeypatch):
    """A limit on the size of files makes the system refuse to write on, in the middle of a file, as a full disk does."""
    assert main(compare(text, tmp_path)) == 0
    out = tmp_path / "out"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit, write = len(before[out / "report.html"]) // 2, report.write

    def full_disk(*found):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        return write(*found)

    monkeypatch.setattr(report, "write", full_disk)
    try:
        found = called(capsys, *compare(text, tmp_path, "--seed", "7"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert_refused(found, "cannot write")
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert after.keys() == before.keys()
    assert after[out / "report.html"] == before[out / "report.html"]


def test_a_disk_that_is_full_at_the_end_leaves_no_folder(text, tmp_path, capsys, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def all_runs(settings, seed, job):
        (job.folder / "warm").mkdir()
        monkeypatch.setattr(os, "fsync", full)
        return {}, {}

    monkeypatch.setattr(lab, "_all_runs", all_runs)
    monkeypatch.setattr(lab, "_results", lambda *_: {"experiments": {}})
    found = called(capsys, *compare(text, tmp_path / "new", "--cache", tmp_path / "cache"))
    assert_refused(found, "new/out/results.json: No space left on device")
    assert not (tmp_path / "new").exists()


def test_what_a_killed_comparison_left_is_cleared_away(tmp_path):
    for name in (".runs-abc_1234", ".runs-mine", "figures"):
        (tmp_path / name / "warm").mkdir(parents=True)
    with lab._folder_of_runs(tmp_path) as kept:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([".runs-mine", "figures", Path(kept).name])
        with lab._folder_of_runs(tmp_path) as other:  # both live
            assert Path(kept).is_dir() and Path(other).is_dir()
        with lab._folder_of_runs(tmp_path):
            assert Path(kept).is_dir() and not Path(other).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".runs-mine", "figures"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes have no groups here")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_one_line_and_leaves_nothing_behind(tmp_path, number, code):
    """Sent to the whole group, as a terminal does."""
    line = [sys.executable, "-m", "minimapnet", *compare("grammar", tmp_path)]
    line[line.index("smoke")] = "full"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(line, **pipes, env=environment(), start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.runs-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(3)  # until training has begun
    os.killpg(process.pid, number)
    try:
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, stdout, stderr) == (code, "", "minimapnet: stopped before the end\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--seeds", "0"), "--seeds: must be a whole number of at least 1"),
        (("--seeds", "many"), "--seeds: must be a whole number"),
        (("--seed", "-1"), "--seed: must be a whole number of at least 0"),
        (("--preset", "huge"), "--preset: invalid choice"),
    ],
)
def test_wrong_arguments(arguments, part, capsys):
    assert_refused(called(capsys, "compare", *arguments), part)


def test_without_a_gpu(text, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(backend, "_why_no_cupy", lambda: "no GPU works here")
    found = called(capsys, *compare(text, tmp_path, "--backend", "cupy"))
    assert_refused(found, "the cupy backend cannot be used: no GPU works here")
