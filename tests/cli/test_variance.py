"""What `minimapnet variance` refuses: one line, exit code 2, and nothing left behind."""

import gzip
import json

import pytest

from tests.helpers.command_cases import assert_refused, called, text_file, train


def variance(folder, *more):
    places = ("--text", folder / "text.txt", "--cache", folder / "cache", "--out", folder / "out")
    return ("variance", "--preset", "smoke", *places, *more)


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("empty.txt", b"", "is empty"),
        ("blank.txt", b"  \n\n", "is empty"),
        ("binary.txt", b"\x89PNG\r\n\x1a\n\0\0", "is not a text file"),
        ("latin.txt", "Größe. ".encode("latin-1") * 100, "is not UTF-8"),
        ("cut.txt.gz", gzip.compress(b"A sentence. " * 1000, mtime=0)[:-20], "is not a whole gzip file"),
        ("none.txt.gz", b"no gzip at all", "is not a whole gzip file"),
        ("given/picture.png", b"\x89PNG", "has no text"),
    ],
)
def test_text_that_cannot_be_used(tmp_path, capsys, name, content, part):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    given = file.parent if "/" in name else file
    assert_refused(called(capsys, *variance(tmp_path, "--text", given)), part)
    assert not (tmp_path / "out").exists()


def test_out_inside_a_file(tmp_path, capsys):
    text = text_file(tmp_path)
    result = called(capsys, *variance(tmp_path, "--out", text / "out"))
    assert_refused(result, "cannot write to the folder", "--out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt"]


def test_a_damaged_model(tmp_path, capsys):
    text_file(tmp_path)
    assert called(capsys, *train(tmp_path, "--steps", 1)).returncode == 0
    weights = tmp_path / "run/step-00000001/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert_refused(called(capsys, *variance(tmp_path, "--checkpoint", weights.parent)), "is damaged or cut short")
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_whole_checkpoint(tmp_path, capsys):
    text_file(tmp_path)
    assert called(capsys, *train(tmp_path, "--steps", 1)).returncode == 0
    for changes, file in zip(({"about": None}, {"about": {}}), (tmp_path / "run").glob("step-*/run.json"), strict=True):
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    result = called(capsys, *variance(tmp_path, "--checkpoint", tmp_path / "run"))
    assert (result.returncode, result.stdout) == (2, "")
    *warnings, line = result.stderr.splitlines()
    assert [" is damaged: run.json has no about" in warning for warning in warnings] == [True, True]
    assert line.startswith("minimapnet: error: no checkpoint in ")
    assert not (tmp_path / "out").exists()
