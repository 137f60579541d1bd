"""The report's files: whole, deterministic, self-contained, escaped; and the lines that the command prints."""

import base64
import csv
import json
import re
import shutil
import xml.etree.ElementTree
from html.parser import HTMLParser

import pytest

from minimapnet.errors import InputError
from minimapnet.reports import compare, html, tables
from tests.helpers.compare_results import TOKENS, outcome

FIGURES = ["calibration", "cost", "headroom", "loss_branches", "loss_scratch", "mapnet", "ratios", "variance_parts"]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed in order; keeps tags with their attributes, and the text."""

    def __init__(self, source: str):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes)
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    compare.write(*outcome(), folder)
    return folder


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text(encoding="utf-8"))


def test_files(written):
    names = [f"figures/{name}.{ending}" for name in FIGURES for ending in ("png", "svg")]
    found = sorted(str(path.relative_to(written)) for path in written.rglob("*") if path.is_file())
    assert found == sorted([*names, "report.html", "results.csv", "results.json", "times.json"])
    results, times = outcome()
    assert json.loads((written / "results.json").read_text()) == results
    assert json.loads((written / "times.json").read_text()) == times


def test_the_csv_has_a_line_for_every_evaluation(written):
    with (written / "results.csv").open(newline="", encoding="utf-8") as stream:
        header, *lines = csv.reader(stream)
    assert header[:4] == ["experiment", "proposal", "seed", "step"]
    results, _ = outcome()
    expected = [
        [experiment, proposal["name"], seed, str(step), repr(loss)]
        for experiment, run in results["experiments"].items()
        for proposal in run["proposals"]
        for seed, curve in proposal["curves"].items()
        for step, loss in curve
    ]
    assert lines == expected


def test_the_same_outcome_gives_the_same_bytes(written, tmp_path):
    compare.write(*outcome(), tmp_path)
    for path in written.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / path.relative_to(written)).read_bytes(), path.name


def test_the_page_is_whole_html_and_needs_nothing_else(page):
    assert page.open == []
    assert page.tags[0][0] == "html"
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            if name in attributes:
                value = attributes[name]
                assert value.startswith("data:image/svg+xml;base64,") if tag == "img" else value[1:] in ids, value
    style = " ".join(word for word in page.words if "max-width" in word)
    assert "url(" not in style
    assert "@import" not in style


def test_every_figure_is_on_the_page_once_with_words(page, written):
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len(FIGURES)
    assert all(one["alt"] for one in images)
    shown = {base64.b64decode(one["src"].partition(",")[2]) for one in images}
    assert shown == {(written / f"figures/{name}.svg").read_bytes() for name in FIGURES}


def test_figures_load_nothing_and_say_their_units(written):
    for name in FIGURES:
        root = xml.etree.ElementTree.parse(written / f"figures/{name}.svg").getroot()
        for element in root.iter():
            for key, value in element.attrib.items():
                if key.endswith("href"):
                    assert value.startswith(("#", "data:")), value
        assert (written / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    words = " ".join(xml.etree.ElementTree.parse(written / "figures/loss_scratch.svg").getroot().itertext())
    for expected in ("nats per masked token", "training step", "MAPNet positions (biased)", "left of the line: better"):
        assert expected in words


def test_tokens_are_escaped_and_carry_their_numbers(page, written):
    source = (written / "report.html").read_text(encoding="utf-8")
    assert "<b> tag" not in source
    assert "</script>" not in source
    assert "<2 cores>" not in source
    assert "a laptop <2 cores>" in "".join(page.words)
    shaded = [attributes["title"] for tag, attributes in page.tags if tag == "span" and "title" in attributes]
    assert [title.partition(": ")[0] for title in shaded] == 2 * TOKENS
    first = outcome()[0]["sentences"][0]
    at = TOKENS.index("<b>")
    assert f"norm {first['norms'][at]:.3g}; optimal {first['optimal'][at]:.3g}" in shaded[at]


def test_shades_grow_darker_and_letters_stay_readable():
    def lightness(colour):
        digits = colour if len(colour) == 6 else "".join(2 * one for one in colour)
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    grounds = []
    for i in range(101):
        ground, ink = re.findall(r"#([0-9a-f]+)", html.shade(i / 100))
        ground, ink = lightness(ground), lightness(ink)
        grounds.append(ground)
        low, high = sorted((ground, ink))
        assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2, level AA
    assert grounds == sorted(grounds, reverse=True)
    assert (html.shade(-1), html.shade(2)) == (html.shade(0), html.shade(1))


def test_each_experiment_tells_its_own_seeds():
    results, _ = outcome(3)
    for one in results["experiments"]["branches"]["proposals"]:
        one["curves"] |= {"7": one["curves"]["0"]}
    assert "3 seeds" in html.experiment_words(results, "scratch")
    assert "4 seeds" in html.experiment_words(results, "branches")


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_lines_are_aligned_and_name_every_proposal(seeds):
    results, times = outcome(seeds)
    found = compare.text(results, times)
    assert len(found.splitlines()) < 35
    assert max(map(len, found.splitlines())) <= 150
    for run in results["experiments"].values():
        for proposal in run["proposals"]:
            assert f"\n{tables.label(proposal)} " in found
    assert ("one seed: no verdict" in found) == (seeds == 1)
    block = found[found.index("From scratch") :].split("\n\n")[0].splitlines()[1:]
    assert len(set(map(len, block))) == 1  # every line ends at the last column's right edge


def test_one_seed_makes_a_whole_report(tmp_path):
    compare.write(*outcome(seeds=1), tmp_path)
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert found.open == []
    assert "one seed: no verdict" in found.words


def test_what_was_not_measured_is_left_out(tmp_path):
    results, _ = outcome()
    results |= {"stages": [], "calibration": {"predicted": [], "exact": []}, "sentences": []}
    assert list(compare.draw(results, {})) == ["loss_scratch", "loss_branches", "ratios"]
    compare.write(results, {}, tmp_path)
    assert "not measured" in Page((tmp_path / "report.html").read_text(encoding="utf-8")).words
    assert "not measured" in compare.text(results, {})


def test_a_true_entropy_and_a_lack_of_diagnostics_are_told():
    results, times = outcome()
    results["text"]["true_entropy"] = 2.345
    assert "true entropy 2.345" in compare.text(results, times)
    assert tables.of_diagnostics(results, "branches")[0] == ["proposal", "effective sample size", "largest weight", "tau"]


def test_a_failure_leaves_the_older_files_whole(written, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    shutil.copytree(written, folder)
    monkeypatch.setattr(html, "page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        compare.write(*outcome(seeds=1), folder)
    assert (folder / "report.html").read_bytes() == (written / "report.html").read_bytes()
    now = json.loads((folder / "results.json").read_text())
    assert now == outcome(seeds=1)[0]  # the numbers are safe before pictures are drawn
    assert not [path for path in folder.rglob(".*")]


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        compare.write(*outcome(seeds=1), tmp_path / "file")
