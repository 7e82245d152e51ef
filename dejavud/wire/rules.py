"""What a parameter may be beyond its type: said once, where the parameter is, for whoever checks it and whoever describes it.

A field of a command's parameters carries them: ``limit: Annotated[int, Between(1, 1000)] = 100``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol


class Rule(Protocol):
    """One thing that holds for a value of the right type."""

    def check(self, name: str, value: Any) -> None:  # noqa: ANN401 - of whichever type the parameter has
        """Raise `ValueError`, which names the parameter, unless it holds."""
        ...

    def schema(self) -> dict[str, Any]:
        """Return it as JSON Schema says it."""
        ...


@dataclass(frozen=True, slots=True)
class Between:
    """A number in a range, its ends included; `unit` is what is counted, where the name does not say it."""

    least: float
    most: float
    unit: str = ""

    def check(self, name: str, value: float) -> None:
        """Raise `ValueError` unless `value` is in the range."""
        if not self.least <= value <= self.most:  # so written it catches NaN
            msg = f"{name!r} must be {self.unit}from {self.least:.12g} to {self.most:.12g}, not {value}"
            raise ValueError(msg)

    def schema(self) -> dict[str, Any]:
        """Return its bounds."""
        return {"minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of a few texts."""

    values: tuple[str, ...]

    def check(self, name: str, value: str) -> None:
        """Raise `ValueError` unless `value` is one of them."""
        if value not in self.values:
            msg = f"{name!r} must be one of {', '.join(filter(None, self.values))}, not {value[:60]!r}"
            raise ValueError(msg)

    def schema(self) -> dict[str, Any]:
        """Return them."""
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Matching:
    """A text that is, as a whole, of a form.

    pattern : a regular expression that Python and ECMAScript read alike.
    says : what it is, for the error.
    """

    pattern: str
    says: str

    def check(self, name: str, value: str) -> None:
        """Raise `ValueError` unless `value` is of the form."""
        if re.fullmatch(self.pattern, value) is None:
            msg = f"{name!r} must be {self.says}, not {value[:60]!r}"
            raise ValueError(msg)

    def schema(self) -> dict[str, Any]:
        """Return it, anchored at both ends."""
        return {"pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class AtMost:
    """A list, or a text, of a bounded length."""

    n: int
    least: int = 0

    def check(self, name: str, value: str | tuple[object, ...]) -> None:
        """Raise `ValueError` unless `value` is of such a length."""
        if not self.least <= len(value) <= self.n:
            what = "characters" if isinstance(value, str) else "entries"
            msg = (
                f"{name!r} holds {len(value)} {what}; send at most {self.n} at a time"
                + f", and {self.least} at least" * bool(self.least)
            )
            raise ValueError(msg)

    def schema(self) -> dict[str, Any]:
        """Return its bounds, as of a list."""
        return {"minItems": self.least, "maxItems": self.n} if self.least else {"maxItems": self.n}


@dataclass(frozen=True, slots=True)
class Form:
    """A text of a form that has a name of ours, which the command itself reads: only described here."""

    name: str
    says: str
    example: str = ""

    def check(self, name: str, value: str) -> None:
        """Leave it to the command."""

    def schema(self) -> dict[str, Any]:
        """Return its name and an example."""
        return {"format": self.name, "description": self.says} | ({"examples": [self.example]} if self.example else {})


SECONDS = Between(0.5, 1e7, "a number of seconds ")
"""A length of audio that something can be known of."""
