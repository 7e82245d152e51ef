"""The table and the upload store behind the transports under test."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from interfaces_table import Stage

from dejavud.services.uploads import UploadStore

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stage() -> Stage:
    """Return the commands' hands and ears."""
    return Stage()


@pytest.fixture
def uploads_folder(tmp_path: Path) -> Path:
    """Return the folder that must be empty when nothing is in work."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def uploads(uploads_folder: Path) -> UploadStore:
    """Return a store that takes up to 4 MiB an upload."""
    return UploadStore(uploads_folder, max_bytes=4 << 20, max_open=16)


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """Return a folder whose path is short enough for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="dj-") as folder:
        yield Path(folder)
