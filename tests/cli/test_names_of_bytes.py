"""Names of files and folders that are not UTF-8, as old archives have them: they are read, written, and printed."""

import json
import os
import tomllib

import pytest

from minimapnet import InputError
from minimapnet.cli import config_file
from minimapnet.files import printable
from minimapnet.text import plain_files
from minimapnet.text.load import load_corpus
from tests.helpers.command_cases import assert_refused, command, text_file, train

NAMES = [os.fsdecode(name) for name in (b"caf\xe9", b"\xff\xfe", b"a\x80 b\xe9'c", "größe".encode("latin-1"))]


@pytest.fixture(params=NAMES, ids=ascii)
def named(request, tmp_path):
    """Return a folder of such a name."""
    try:
        (tmp_path / request.param).mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    return tmp_path / request.param


def fine(result):
    assert (result.returncode, result.stderr) == (0, "")
    return result


def test_every_path_of_every_command(named, tmp_path):
    text = text_file(tmp_path).rename(named / f"text{named.name}.txt")
    (named / f"{named.name}.toml").write_text("steps = 4", encoding="utf-8")
    config = ("--config", named / f"{named.name}.toml")
    options = train(named, "--text", text, *config)
    del options[options.index("--steps") : options.index("--steps") + 2]  # the file says how many
    result = fine(command(*options))
    assert printable(named / "run") in result.stdout
    fine(command("train", "--resume", "--out", named / "run"))
    assert len(os.listdir(named / "cache")) == 2  # the tokenizer is found there again
    start = ("--checkpoint", named / "run", "--tokenizer", named / "run/step-00000004/tokenizer.json")
    fine(command("train", "--text", text, "--cache", named / "cache", *start, "--max-length", 12, "--out", named / "next"))
    fine(command("info", named / "run", "--out", named / "info.json"))
    assert json.loads((named / "info.json").read_bytes())["model"] == printable(named / "run/step-00000004")
    fine(command("fill-mask", named / "run", "the [MASK]", "--out", named / "guesses.json"))
    assert_refused(command("info", named / "nowhere"), printable(named / "nowhere"))
    assert_refused(command("train", "--text", named / "nowhere"), "there is no text")
    assert_refused(command("train", "--tokenizer", named / "nowhere.json", "--text", text), "cannot read")


def test_a_working_directory(named):
    text_file(named, 900)
    fine(
        command(
            "train",
            "--text",
            "text.txt",
            "--max-length",
            101,
            "--hidden-size",
            16,
            "--batch-size",
            4,
            "--steps",
            2,
            cwd=named,
        )
    )
    fine(command("train", "--resume", cwd=named))
    options = ("--preset", "smoke", "--text", "text.txt")
    result = fine(command("variance", *options, "--checkpoint", named / "runs/train", cwd=named))
    assert printable(named / "runs/train") in result.stdout
    results = json.loads((named / "runs/variance/variance.json").read_text(encoding="utf-8"))
    assert results["model"]["checkpoint"] == printable(named / "runs/train")


def test_files_in_a_folder_and_the_name_of_a_text(named, tmp_path):
    text_file(named, 900).rename(named / f"{named.name}.txt")
    for source in (named, named / f"{named.name}.txt"):
        text = load_corpus(source, tmp_path / "cache", vocab_size=100, max_length=12)
        assert text.name == printable(source.name) and text.name.isascii()
        assert plain_files.fingerprint(source) == plain_files.fingerprint(source)


@pytest.mark.parametrize("named", NAMES[:1], indirect=True, ids=ascii)
def test_compare_says_whose_text_it_was(named, tmp_path):
    text = text_file(named, 1500).rename(named / f"{named.name}.txt")
    options = ("--preset", "smoke", "--text", text, "--cache", tmp_path / "cache", "--out", named / "out")
    result = fine(command("compare", *options))
    assert printable(text.name) in result.stdout
    assert printable(text.name) in (named / "out/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*NAMES, "größe", "\U0001f600"])
def test_options_are_written_as_they_are_and_read_again(tmp_path, name):
    class Options:
        def __init__(self):
            self.text, self.steps = name, 5

    config_file.write(Options(), tmp_path / "options.toml", ())
    assert config_file.read(tmp_path / "options.toml") == {"text": name, "steps": 5}
    if name not in NAMES:
        assert tomllib.loads((tmp_path / "options.toml").read_text(encoding="utf-8")) == {"text": name, "steps": 5}


def test_a_file_of_the_users_is_utf8_still(tmp_path):
    (tmp_path / "a.toml").write_bytes(b"text = 'caf\xe9'")
    with pytest.raises(InputError, match="is not UTF-8"):
        config_file.read(tmp_path / "a.toml")
