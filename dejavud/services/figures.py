"""Figures that grow while the daemon lives, and the page on which Prometheus reads them (its text format 0.0.4).

Of our own, as the official client takes 0.2 s to import on a machine that is busy, and locks that nobody here needs: all is counted in the event
loop's thread, and what worker processes did comes with their results.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Labels = tuple[str, ...]
    Sample = tuple[Mapping[str, str], float | None]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Counter:
    """Counts by labels; a value of a label has to be one of few, or the page grows for ever."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        self.name, self.text, self._labels = name, text, labels
        self._counts: dict[Labels, float] = {} if labels else {(): 0}

    def add(self, *values: str, by: float = 1) -> None:
        """Count `by` more for these values of the labels."""
        self._counts[values] = self._counts.get(values, 0) + by

    def show(self, page: Page) -> None:
        """Write it on a page."""
        page.counter(
            self.name, self.text, ((dict(zip(self._labels, k, strict=True)), n) for k, n in self._counts.items())
        )


class Histogram:
    """Counts values by how large they are, for each value of one label.

    bounds : upper ends of the buckets, ascending; the last, infinity, is added.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float], label: str = "") -> None:
        self.name, self.text = name, text
        self._label, self._bounds = label, tuple(bounds)
        self._rows: dict[str, list[int]] = {} if label else {"": self._row()}
        self._sums: dict[str, float] = {}

    def _row(self) -> list[int]:
        return [0] * (len(self._bounds) + 1)

    def observe(self, value: float, of: str = "") -> None:
        """Count one value."""
        row = self._rows.get(of)
        if row is None:
            row = self._rows[of] = self._row()
        row[bisect_left(self._bounds, value)] += 1
        self._sums[of] = self._sums.get(of, 0.0) + value

    def show(self, page: Page) -> None:
        """Write it on a page."""
        page.head(self.name, self.text, "histogram")
        for of, row in self._rows.items():
            labels, n = {self._label: of} if self._label else {}, 0
            for bound, count in zip((*self._bounds, math.inf), row, strict=True):
                n += count
                page.sample(f"{self.name}_bucket", {**labels, "le": _number(bound)}, n)
            page.sample(f"{self.name}_sum", labels, self._sums.get(of, 0.0))
            page.sample(f"{self.name}_count", labels, n)


class Page:
    """The text that Prometheus reads, family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def gauge(self, name: str, text: str, samples: Iterable[Sample] | float | None) -> None:
        """Write what goes up and down; a sample that is None is left out."""
        self._family(name, text, "gauge", samples)

    def counter(self, name: str, text: str, samples: Iterable[Sample] | float | None) -> None:
        """Write what only grows; its name ends in ``_total``."""
        self._family(name, text, "counter", samples)

    def _family(self, name: str, text: str, kind: str, samples: Iterable[Sample] | float | None) -> None:
        self.head(name, text, kind)
        for labels, value in (({}, samples),) if isinstance(samples, int | float | None) else samples:
            if value is not None:
                self.sample(name, labels, value)

    def head(self, name: str, text: str, kind: str) -> None:
        """Begin a family."""
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def sample(self, name: str, labels: Mapping[str, str], value: float) -> None:
        """Write one line."""
        shown = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
        self._lines.append(f"{name}{{{shown}}} {_number(value)}" if shown else f"{name} {_number(value)}")

    def text(self) -> str:
        """Return the page."""
        return "\n".join(self._lines) + "\n"


def _number(value: float) -> str:
    """Return a number as Prometheus writes it."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(int(value)) if isinstance(value, int) else {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "NaN")
    return f"{value:.10g}" if value != int(value) or abs(value) >= 1e15 else str(int(value))  # noqa: PLR2004 - whole up to there
