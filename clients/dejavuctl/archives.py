"""What ``export``, ``import``, ``backup`` and ``restore`` share: a file of the daemon's machine, and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Interrupted, Usage
from dejavuctl.long_work import add_quiet, under_way
from dejavuctl.output import count, size
from dejavuctl.progress import NewsLine, share_of
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Mapping

    from dejavuctl.connection import Connection
    from dejavuctl.progress import StatusLine
    from dejavuctl.session import Session

_DOING = {"writing": "written", "checking": "checked", "adding": "read", "removing": "compared"}


def add_file(parser: ArgumentParser, text: str) -> None:
    """Add the archive's name, and the wish for silence."""
    parser.add_argument("file", metavar="FILE", help=text)
    add_quiet(parser)


def converse(
    options: Namespace,
    session: Session,
    ask: Callable[[Connection, Callable[[dict[str, Any]], None]], Mapping[str, Any]],
    *,
    tell: Callable[[Mapping[str, Any]], str],
    interrupted: str,
) -> int:
    """Have the daemon work on an archive, and say what became of it.

    ask : asks the daemon, given what takes the progress.
    tell : what became of it, for a person.
    interrupted : what Ctrl-C left.
    """
    out = session.out
    line = NewsLine(out.remarks, _text, enabled=not options.quiet)
    with session.connect() as connection:
        if not connection.reads_our_files:
            raise Usage(reason="archives are files of the daemon's machine: run dejavuctl there, over its ipc socket")
        with under_way(line, lambda: Interrupted(interrupted)):
            report = ask(connection, line.note)["archive"]
    out.show(report, f"{options.file}: {tell(report)}")
    return EXIT_MATCHED


def absolute(options: Namespace) -> str:
    """Return the archive's path as the daemon takes it."""
    return str(Path(options.file).expanduser().absolute())


def written(report: Mapping[str, Any]) -> str:
    """Return what became of a file that was written."""
    plays = f", {count(report['n_plays'], 'play')} of the history" if report.get("n_plays") else ""
    return f"{count(report['n_tracks'], 'track')}{plays}, {size(report['n_bytes'])}"


def taken(report: Mapping[str, Any]) -> str:
    """Return what became of a library that a file was read into."""
    parts = [f"{count(report['n_added'], 'track')} added, {report['n_known']} known already"]
    parts += [f"{report['n_updated']} changed"] if report["n_updated"] else []
    parts += [f"{report['n_removed']} removed"] if report["n_removed"] else []
    parts += [f"{count(report['n_plays'], 'play')} of the history added"] if report.get("n_plays") else []
    return ", ".join(parts)


def _text(figures: Mapping[str, Any], line: StatusLine) -> str:
    done, total = int(figures["n_done"]), int(figures["n_total"])
    unit = str(figures.get("unit") or "tracks")
    how_far = (
        f"{size(done)} of {size(total)}" if unit == "bytes" else f"{done} of {count(total, unit.removesuffix('s'))}"
    )
    return f"{line.bar(share_of(figures))}{how_far} {_DOING.get(str(figures.get('state')), 'done')}"
