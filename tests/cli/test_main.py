"""The command line as a whole: its help, its exit codes, and what happens where it cannot read or print."""

import argparse
import contextlib
import io
import os
import re
import signal
import subprocess
import sys

import pytest

from minimapnet.cli import info, main
from tests.helpers.command_cases import ROOT, assert_refused, called, command, environment


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of a command with all its options."""
    found = []

    class Seen(main.Parser):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            found.append(self)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(main, "Parser", Seen)
        main._options([name, "-h"])
    return next(one for one in found if one.prog == f"minimapnet {name}")


def test_help_names_every_command(capsys):
    result = called(capsys, "-h")
    assert result.returncode == 0
    for name, summary in main.COMMANDS.items():
        assert re.search(rf"^ +{name}\s+{' '.join(summary.split()[:4])}", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_explains_every_option_with_its_default(name, capsys):
    result = called(capsys, name, "-h")
    assert (result.returncode, result.stderr) == (0, "")
    words = " ".join(result.stdout.split())
    options = [action for action in parser_of(name)._actions if action.option_strings and action.dest != "help"]
    assert {"--config", "--backend"} <= {text for action in options for text in action.option_strings}
    for action in options:
        explained = action.help.replace("%%", "%")
        found = re.search(r"^.{3,} \(default: (.+)\)$", explained, re.DOTALL)
        assert found, f"{action.option_strings}: {explained}"
        if action.default not in (None, False):
            assert str(action.default) == found.group(1)
        assert action.option_strings[0] in words
        assert f"(default: {found.group(1)})".replace("- ", "-") in words.replace("- ", "-")
    for action in parser_of(name)._actions:
        assert action.help, action.dest


def test_a_command_runs_where_output_is_no_terminal_nor_file():
    with contextlib.redirect_stdout(io.StringIO()) as output:  # as in a notebook
        assert main.main(["info"]) == 0
    assert "python" in output.getvalue()


@pytest.mark.parametrize("name", ["train", "compare", "variance", "evaluate", "fill-mask", "info"])
def test_the_options_that_all_commands_have(name):
    assert {"--backend", "--config", "--out", "--seed"} <= {
        text for action in parser_of(name)._actions for text in action.option_strings
    }


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((), "COMMAND"),
        (("nonsense",), "invalid choice: 'nonsense'"),
        (("--nonsense",), "COMMAND"),
        (("--nonsense", "info"), "--nonsense"),
        (("info", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("info", "--backend", "torch"), "--backend: invalid choice"),
        (("info", "--back", "numpy"), "unrecognized arguments: --back"),
        (("info", "two\nlines"), "there is no folder two lines"),
        (("info", "--two\nlines"), "unrecognized arguments: --two lines"),
    ],
)
def test_wrong_arguments(arguments, part, capsys):
    assert_refused(called(capsys, *arguments), part)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_no_path_is_empty(name, capsys, monkeypatch, tmp_path):
    """It would silently be the folder that one is in."""
    monkeypatch.chdir(tmp_path)
    options = [action for action in parser_of(name)._actions if action.metavar in ("FOLDER", "FILE", "TEXT")]
    for option in (text for action in options for text in action.option_strings):
        more = {"fill-mask": ("folder", "[MASK]"), "evaluate": ("folder",)}.get(name, ())
        assert_refused(called(capsys, name, *more, option, ""), f"{option}: must not be empty; the current folder is .")
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_of_the_module_itself():
    assert_refused(command("info", "--nonsense"), "unrecognized arguments")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_a_backend_that_does_not_work_here(name, capsys, monkeypatch, tmp_path):
    """CuPy is made impossible to import, so the answer is the same where a GPU works."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.chdir(tmp_path)
    more = {"fill-mask": ("folder", "[MASK]"), "evaluate": ("folder",)}.get(name, ())
    assert_refused(called(capsys, name, *more, "--backend", "cupy"), "the cupy backend cannot be used")
    assert list(tmp_path.iterdir()) == []


def raising(error):
    def run(options):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "minimapnet: stopped before the end"),
        (MemoryError(), 2, "minimapnet: error: this does not fit into memory"),
        (PermissionError(13, "Permission denied", "some/file"), 2, "minimapnet: error: some/file: Permission denied"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_what_stops_a_command_is_a_line_and_an_exit_code(monkeypatch, capsys, error, code, line):
    monkeypatch.setattr(info, "run", raising(error))
    result = called(capsys, "info")
    assert (result.returncode, result.stdout) == (code, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == (1 if line else 0)


def test_sigterm_lets_a_command_clear_away(monkeypatch, capsys):
    cleared = []

    def run(options):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it went on")
        finally:
            cleared.append("all")

    monkeypatch.setattr(info, "run", run)
    result = called(capsys, "info")
    assert (result.returncode, result.stdout, result.stderr) == (143, "", "minimapnet: stopped before the end\n")
    assert cleared == ["all"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_an_error_of_ours_is_not_hidden(monkeypatch, capsys):
    monkeypatch.setattr(info, "run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        called(capsys, "info")


def test_a_reader_that_has_read_enough_ends_it_quietly():
    line = [sys.executable, "-m", "minimapnet", "info"]
    read, write = os.pipe()
    os.close(read)  # nobody reads at all
    result = subprocess.run(line, stdout=write, stderr=subprocess.PIPE, text=True, env=environment())
    os.close(write)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full, which is always full")
def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "minimapnet", "info"]
        result = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
    assert result.returncode == 2
    assert result.stderr == "minimapnet: error: cannot write what should be printed: No space left on device\n"


def test_a_terminal_that_lacks_a_character_gets_its_number(monkeypatch):
    block = "import sys; from minimapnet.cli import info; from minimapnet.cli.main import main; "
    block += "info.run = lambda options: print('gr\u00f6\u00dfe'); sys.exit(main(['info']))"
    plain = {**environment(), "PYTHONIOENCODING": "ascii"}
    result = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, env=plain)
    assert (result.returncode, result.stdout, result.stderr) == (0, "gr\\xf6\\xdfe\n", "")


def test_what_draws_is_loaded_only_where_something_is_drawn():
    block = "import sys; from minimapnet.cli.main import main; main(['info']); sys.exit('matplotlib' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, env=environment())
    assert (result.returncode, result.stderr) == (0, "")


def test_the_readmes_example_prints_what_stands_below_it():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code, printed = re.search(r"```python\n(.*?)```\n\nprints\n\n```\n(.*?)```", readme, re.DOTALL).groups()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (result.stdout, result.stderr) == (printed, "")
