"""The library's page, held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dejavud.errors
from dejavud import Dejavu
from dejavud.api import SongDatabase

PAGE = (Path(__file__).parents[2] / "docs" / "library.md").read_text(encoding="utf-8")
KEYS = {"song_id", "song_name", "file_sha1"}


@pytest.mark.parametrize("owner", [Dejavu, SongDatabase])
def test_every_call_is_on_the_page(owner: type) -> None:
    """Each public method is in the page by its name."""
    prefix = "db." if owner is SongDatabase else ""
    missing = [name for name in vars(owner) if not name.startswith("_") and not re.search(rf"`{prefix}{name}\b", PAGE)]
    assert missing in ([], ["delete_songs_by_id"])  # of the database; it is that of Dejavu


def test_every_key_of_an_answer_is_explained(library: Dejavu, music: Path) -> None:
    """The example on the page has the keys that an answer has, and the table explains each that does not speak for itself."""
    answer = library.recognize_file(music / "piece1.wav")
    keys = {*answer, *answer["results"][0]}
    example = PAGE.split("## The answer")[1].split("```")[1]
    assert set(re.findall(r'"(\w+)":', example)) == keys
    explained = set(re.findall(r"`(\w+)`", PAGE.split("| key |")[1].split("## Errors")[0]))
    assert keys - KEYS <= explained


def test_the_errors_on_the_page_exist() -> None:
    """Every name of an error on the page is one."""
    names = re.findall(r"`([A-Z]\w+)`", PAGE.split("## Errors")[1])
    assert names
    assert [name for name in names if not hasattr(dejavud.errors, name)] == []
