"""What an evaluation leaves in its folder, and what it says on the terminal."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from dejavud.evaluation.charts import CHARTS
from dejavud.evaluation.examples import examples
from dejavud.evaluation.failures import CannotWrite
from dejavud.evaluation.measures import cells, false_answers, song_accuracy, summary
from dejavud.evaluation.page import page
from dejavud.evaluation.queries import write_queries

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.evaluation.run import Results


def open_folder(out: Path) -> Path:
    """Return the report's folder, made if it is not there; raises `CannotWrite`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(path=str(out), reason=error.strerror) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise CannotWrite(path=str(out), reason="permission denied")
    return out


def write_report(results: Results, out: Path) -> dict[str, Any]:
    """Write summary.json, queries.csv, the charts and examples as PNG and report.html into `out`; return the summary.

    Raises `CannotWrite`.
    """
    figures = summary(results)
    charts = {name: draw(results) for name, draw in CHARTS.items()}
    shown = examples(results)
    pictures = charts | {f"example-{number}": example.picture for number, example in enumerate(shown, start=1)}
    try:
        text = json.dumps(figures, indent=2, ensure_ascii=True) + "\n"
        (out / "summary.json").write_text(text, encoding="ascii")
        write_queries(out / "queries.csv", results.queries)
        for gone in out.glob("example-*.png"):  # of a report that was here before
            gone.unlink()
        for name, png in pictures.items():
            (out / f"{name}.png").write_bytes(png)
        (out / "report.html").write_text(page(results, charts, shown), encoding="utf-8")
    except OSError as error:
        raise CannotWrite(path=str(out), reason=error.strerror) from error
    return figures


def as_text(results: Results) -> str:
    """Return the accuracy as a table for a terminal: right tracks in per cent, a row a condition."""
    by_cell = cells(results.queries)
    lengths = results.settings.lengths_s
    width = max(len(name) for name in ("unknown", *results.settings.conditions))
    lines = [f"{'':{width}}" + "".join(f"{f'{length_s:g} s':>8}" for length_s in lengths)]
    for condition in results.settings.conditions:
        shares = [song_accuracy(by_cell.get((condition, length_s), [])) for length_s in lengths]
        shown = [f"{100 * share.value:.0f} %" if share.whole else "-" for share in shares]
        lines.append(f"{condition:{width}}" + "".join(f"{text:>8}" for text in shown))
    unknown = false_answers(results.queries)
    lines.append(f"unknown music: {unknown.part} of {unknown.whole} clips answered")
    return "\n".join(lines)
