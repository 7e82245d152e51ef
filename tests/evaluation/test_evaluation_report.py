from __future__ import annotations

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from dejavud.evaluation.charts import CHARTS
from dejavud.evaluation.failures import CannotWrite
from dejavud.evaluation.report import as_text, open_folder, write_report

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.evaluation.run import Results

VOID = {"meta", "img"}
LOADING = {"link", "script", "iframe", "object", "embed", "base", "a"}
PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """A page that is taken apart; raises where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and what it loads."""
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data", "action"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the tag that was opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note what is read."""
        self.words.append(data)


@pytest.fixture(scope="module")
def folder(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the report of `results`."""
    out = open_folder(tmp_path_factory.mktemp("out") / "deep" / "er")
    write_report(results, out)
    return out


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    """Return the report's page."""
    return Page((folder / "report.html").read_text("utf-8"))


def test_the_page_is_whole(page: Page, results: Results) -> None:
    """Its tags nest, and every condition and length is in its table."""
    assert page.open == []
    assert {*results.settings.conditions, "1 s", "3 s"} <= set(page.words)


def test_the_page_needs_no_network(page: Page, folder: Path) -> None:
    """Nothing is loaded: every picture is within it, a PNG, and no address stands anywhere."""
    text = (folder / "report.html").read_text("utf-8")
    assert not page.tags & LOADING
    assert len(page.sources) >= len(CHARTS) + 2
    for source in page.sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(PNG)
    without_pictures = re.sub(r'src="data:[^"]*"', "", text)
    assert not re.search(r"https?:|//\w|@import|url\(", without_pictures)


def test_the_folder_holds_what_the_page_shows(folder: Path, results: Results) -> None:
    """The figures, the queries, each chart and each example, of which the PNG files open."""
    names = {path.name for path in folder.iterdir()}
    assert {"summary.json", "queries.csv", "report.html", *(f"{name}.png" for name in CHARTS)} <= names
    pictures = list(folder.glob("*.png"))
    assert len(pictures) == len(CHARTS) + len(list(folder.glob("example-*.png"))) >= len(CHARTS) + 2
    for path in pictures:
        with Image.open(path) as picture:
            picture.verify()
    figures = json.loads((folder / "summary.json").read_text("ascii"))
    assert figures["queries"] == len(results.queries)
    assert len((folder / "queries.csv").read_text("utf-8").splitlines()) == 1 + len(results.queries)


def test_a_later_report_replaces_the_former(results: Results, tmp_path: Path) -> None:
    """Of two reports in one folder the second is left, without examples of the first."""
    write_report(results, open_folder(tmp_path))
    assert list(tmp_path.glob("example-*.png"))
    unknown = [query for query in results.queries if not query.known]
    write_report(dataclasses.replace(results, queries=unknown), open_folder(tmp_path))
    assert list(tmp_path.glob("example-*.png")) == []
    assert json.loads((tmp_path / "summary.json").read_text("ascii"))["queries"] == len(unknown)


def test_names_are_shown_as_text(results: Results, tmp_path: Path) -> None:
    """A file whose name looks like markup, or is no text, is a name on the page and nothing else."""
    named = dataclasses.replace(results.settings, folder='<script>alert("&")</script>\udcff')
    write_report(dataclasses.replace(results, settings=named), open_folder(tmp_path))
    shown = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "script" not in shown.tags
    assert any('<script>alert("&")</script>?' in words for words in shown.words)


def test_a_report_of_little_is_drawn(results: Results, tmp_path: Path) -> None:
    """Of one query, of unknown music only, and of none that matched: whatever was measured until Ctrl-C makes a page."""
    unmatched = [query for query in results.queries if query.condition == "noise-40"]
    for number, queries in enumerate(
        (results.queries[:1], [q for q in results.queries if not q.known], unmatched), start=1
    ):
        part = dataclasses.replace(results, queries=queries, interrupted=True)
        write_report(part, open_folder(tmp_path / str(number)))
        shown = Page((tmp_path / str(number) / "report.html").read_text("utf-8"))
        assert any("interrupted" in words for words in shown.words)


def test_the_terminal_shows_the_table(results: Results) -> None:
    """A row a condition, and what became of unknown music."""
    lines = as_text(results).splitlines()
    assert lines[0].split() == ["1", "s", "3", "s"]
    assert lines[1].split() == ["clean", "100", "%", "100", "%"]
    assert lines[-1] == "unknown music: 0 of 12 clips answered"


def test_a_folder_that_cannot_be_written_is_explained(results: Results, tmp_path: Path) -> None:
    """Before anything is measured; and afterwards, should it have gone meanwhile."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be written"):
        open_folder(tmp_path / "file" / "report")
    with pytest.raises(CannotWrite, match="name another place with --out"):
        write_report(results, tmp_path / "gone")
