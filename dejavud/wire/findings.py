"""What an examination finds: as ``dejavuctl doctor`` prints it, and as the process says it that examines the machine for it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

OK, WARN, FAIL = "ok", "warn", "fail"
EXAMINE = "examine"
"""The word by which the daemon's program becomes what examines the machine."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing is.

    check : what was looked at.
    state : "ok"; "warn", where most works; "fail".
    said : how it is, in words.
    mend : the command, or the deed, that mends it; empty where nothing has to be.
    """

    check: str
    state: str
    said: str
    mend: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return asdict(self)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Finding:
        """Return the finding that JSON shows."""
        return cls(str(values["check"]), str(values["state"]), str(values["said"]), str(values.get("mend", "")))
