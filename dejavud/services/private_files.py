"""Files of the daemon's own that nobody else may read: they name keys, digests of tokens, and addresses that may hold passwords."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_private(path: Path, content: object) -> None:
    """Write a file, as JSON, whole or not at all, for the daemon's user alone; raises OSError."""
    beside = path.with_suffix(".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
