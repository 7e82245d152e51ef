"""Programs that use the library: away from this machine's configuration, with a little music."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from api_music import PIECES, piece_file

from dejavud import Dejavu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no conf file, no environment and no working directory that say anything."""
    for variable in [name for name in os.environ if name.startswith(("DEJAVUD_", "XDG_")) or name == "DATABASE_URL"]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the pieces of `PIECES`, at 44.1 kHz."""
    folder = tmp_path_factory.mktemp("music")
    for seed in PIECES:
        piece_file(folder / f"piece{seed}.wav", seed)
    return folder


@pytest.fixture
def library(music: Path) -> Iterator[Dejavu]:
    """Give a library in memory that knows the music."""
    with Dejavu(dburl="memory://") as library:
        for path in sorted(music.iterdir()):
            library.fingerprint_file(path)
        yield library
