"""The pages: their links lead somewhere, and the code, tests and flags that they name exist."""

import pkgutil
import re
from pathlib import Path

import pytest

import minimapnet
from tests.helpers.command_cases import ROOT, called

PAGES = [
    *ROOT.glob("*.md"),
    *(page for folder in ("docs", "data", "benchmarks", "tutorials") for page in (ROOT / folder).glob("*.md")),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8")):
        assert re.match("https?:", target) or (page.parent / target).exists(), target


@every_page
def test_code_that_is_named_exists(page):
    for name in re.findall(r"`(?:tests|minimapnet)(?:\.\w+)+`", page.read_text(encoding="utf-8")):
        pkgutil.resolve_name(name.strip("`"))


@every_page
def test_files_and_tests_that_are_named_exist(page):
    named = r"`((?:minimapnet|tests|docs|benchmarks|tutorials|data)/[\w./-]*)(?:::(\w+))?`"
    for path, test in re.findall(named, page.read_text(encoding="utf-8")):
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_there_is_one_version(capsys):
    assert called(capsys, "--version").stdout == f"{minimapnet.__version__}\n"
    assert f"\nversion: {minimapnet.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {minimapnet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_picture_of_the_floors_has_every_room():
    drawn = (ROOT / "docs" / "draw_architecture.py").read_text(encoding="utf-8")
    rooms = [path.name for path in Path(minimapnet.__file__).parent.iterdir() if (path / "__init__.py").exists()]
    assert all(re.search(rf"\b{room}\b", drawn) for room in rooms)
