"""``dejavuctl check``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Interrupted
from dejavuctl.long_work import add_quiet, under_way
from dejavuctl.output import clock, count, printable
from dejavuctl.progress import NewsLine, postings_text
from dejavud.wire.codes import EXIT_MATCHED, EXIT_NO_MATCH

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.session import Session

DESCRIPTION = """\
Checks the index: that every track has its constellation, whole, and exactly the postings that it makes; that nothing is there of no track or twice;
that the resident view is undamaged and answers as the database does.  The daemon works meanwhile.

With --repair, postings are made of the constellation again; a track whose constellation is damaged is fingerprinted again where its file
is still there; what belongs to no track is deleted; the resident view is made anew."""
EXAMPLES = """\
examples:
  dejavuctl check
  dejavuctl check --repair
  dejavuctl check --json

Ctrl-C ends it; what was repaired stays so.
exit status: 0 all is well, or was repaired; 1 something is wrong; 4 failed; 130 interrupted."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("--repair", action="store_true", help="repair what can be")
    add_quiet(parser)


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Have the index checked, and say what is wrong with it."""
    out = session.out
    line = NewsLine(out.remarks, postings_text, enabled=not options.quiet)
    with session.connect() as connection, under_way(line, lambda: Interrupted("what was repaired stays so")):
        report = connection.call("check", {"repair": options.repair}, line.note)
    out.show(report, "\n".join(_lines(report)))
    return EXIT_MATCHED if report["n_repaired"] == report["n_findings"] else EXIT_NO_MATCH


def _lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report for a person: a row a finding, and a sentence."""
    rows = [
        (
            "" if finding["track_id"] is None else str(finding["track_id"]),
            finding["kind"].replace("_", " "),
            printable(finding["reason"]),
            finding["repair"] or "not repaired",
        )
        for finding in report["findings"]
    ]
    if rows:
        rows.insert(0, ("track", "what", "why", "repair"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    table = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    more = report["n_findings"] - len(report["findings"])
    if more:
        table.append(f"and {more} more")
    took = f"{count(report['n_tracks'], 'track')} checked in {clock(report['elapsed_s'])}"
    if not report["n_findings"]:
        return [f"{took}: all is well"]
    left = report["n_findings"] - report["n_repaired"]
    return [*table, f"{took}: {count(report['n_findings'], 'finding')}, {report['n_repaired']} repaired, {left} left"]
