"""What a run of the client left behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run of the client ended."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> list[Any]:
        """The answers as JSON, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]
