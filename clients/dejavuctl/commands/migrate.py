"""``dejavuctl migrate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Interrupted, Usage
from dejavuctl.long_work import add_quiet, under_way
from dejavuctl.output import clock, count, printable
from dejavuctl.progress import StatusLine
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping
    from typing import TextIO

    from dejavuctl.session import Session

DESCRIPTION = """\
Brings the songs of an old dejavu over, worldveil's or ivlovric's of any version, with the hashes they have: the audio is not needed.
The old database is read only; nothing in it changes.

  migrate URL      mysql://USER:PASSWORD@HOST/NAME, postgresql://USER:PASSWORD@HOST/NAME, sqlite:///FILE
  migrate FILE     dejavu's own configuration (dejavu.cnf), which says where the database is
  migrate -        the URL on standard input, so that no other user sees the password in the process list"""
EXAMPLES = """\
examples:
  dejavuctl migrate mysql://root:secret@localhost/dejavu --dry-run      what is there, and which profile it needs
  DEJAVUD_ENGINE_PROFILE=classic/dejavu-2020 dejavud --data-dir ~/dejavu-library      (in another terminal)
  dejavuctl migrate mysql://root:secret@localhost/dejavu
  dejavuctl migrate dejavu.cnf
  dejavuctl migrate sqlite:///dejavu.db --json

Ctrl-C ends it cleanly, and so does whatever else: run it again, and it goes on where it was.
exit status: 0 done, 4 failed, 130 interrupted."""

_REASONS = {
    "half_written": "dejavu had not finished them",
    "empty": "without fingerprints",
    "too_large": "with more fingerprints than a track can have",
    "unreadable": "with no fingerprint that could be read",
}
_SHOWN = 10
"""Songs that are left out and named; `--json` names more."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument(
        "source", metavar="URL|FILE", help="the old database, or dejavu's configuration; - reads the URL"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be brought over, and with which profile"
    )
    add_quiet(parser)


def check(options: Namespace) -> None:
    """Find the database's URL."""
    given = options.source
    if given == "-":
        given = sys.stdin.readline().strip()
    options.url = _absolute(given) if "://" in given else _configured(Path(given))


def _absolute(url: str) -> str:
    """Return `url` with an SQLite file's path from the root on: the daemon's working directory is another."""
    scheme, _, path = url.partition(":///")
    if scheme.partition("+")[0] == "sqlite" and path and not path.startswith(("/", ":")):
        return f"{scheme}:///{Path(path).expanduser().absolute()}"
    return url


def _configured(path: Path) -> str:
    """Return the URL of the database that a configuration of dejavu's names; every version called the keys otherwise."""
    import json  # noqa: PLC0415 - most migrations name a URL
    from urllib.parse import quote  # noqa: PLC0415

    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        database = settings["database"]
        host = database.get("host") or database.get("hostname") or "localhost"
        user = database.get("user") or database.get("username") or ""
        password = database.get("password") or database.get("passwd") or ""
        name = database.get("database") or database["db"]
        kind = str(settings.get("database_type") or "mysql")
        port = f":{int(database['port'])}" if database.get("port") else ""
    except OSError as error:
        raise Usage(
            reason=f"{path}: {error.strerror}; name the old database's URL, or dejavu's configuration file"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = f'{path} is no configuration of dejavu: {{"database": {{"host": …, "user": …, "password": …, "database": …}}}}'
        raise Usage(reason=reason) from None
    who = f"{quote(str(user), safe='')}:{quote(str(password), safe='')}@" if user else ""
    scheme = "postgresql" if kind.startswith("postgres") else kind
    return f"{scheme}://{who}{host}{port}/{quote(str(name))}"


class _Progress:
    """The line that says how far it is, and the last that the daemon told."""

    def __init__(self, stream: TextIO, *, enabled: bool) -> None:
        self.figures: Mapping[str, Any] = {}
        self._line = StatusLine(stream, enabled=enabled)
        self._reading_since: tuple[float, int] | None = None

    def note(self, figures: Mapping[str, Any]) -> None:
        """Take news from the daemon."""
        self.figures = figures
        if self._line.is_due:
            self._line.draw(self._text(figures))

    def clear(self) -> None:
        """Take the line off the terminal."""
        self._line.clear()

    def left(self) -> Interrupted:
        """Return what there is after Ctrl-C."""
        n_added = int(self.figures.get("n_songs_done") or 0)
        return Interrupted(f"{count(n_added, 'song')} came over and stay; run it again to go on", n_added=n_added)

    def _text(self, figures: Mapping[str, Any]) -> str:
        state = figures.get("state")
        if state == "counting":
            return "the old database counts its fingerprints …"
        if state == "waiting":
            return f"waiting: {printable(str(figures.get('reason')))}"
        done, total = int(figures["n_rows_done"]), int(figures["n_rows"])
        elapsed_s = self._line.elapsed_s
        if self._reading_since is None:
            self._reading_since = elapsed_s, done
        since_s, done_then = self._reading_since
        rate = (done - done_then) / max(elapsed_s - since_s, 1e-9)
        left = f"{clock((total - done) / rate)} left" if rate > 0 else "?:?? left"
        bar = self._line.bar(done / total if total else 1.0)
        songs = f"{figures['n_songs_done']} of {count(int(figures['n_songs']), 'song')}"
        return f"{bar}{songs}, {done / 1e6:.1f} of {total / 1e6:.1f} M fingerprints, {rate / 1000:.0f} k/s, {left}"


def run(options: Namespace, session: Session) -> int:
    """Bring a database over, and say what became of it."""
    out = session.out
    progress = _Progress(out.remarks, enabled=not options.quiet)
    with session.connect() as connection, under_way(progress, progress.left):
        params = {"url": options.url, "dry_run": options.dry_run}
        report = connection.call("migrate", params, progress.note)["migration"]
    for warning in report["warnings"]:
        out.remark(f"dejavuctl: {printable(warning)}")
    out.show(report, "\n".join(_lines(report)))
    return EXIT_MATCHED


def _lines(report: Mapping[str, Any]) -> list[str]:
    """Return the report for a person: what is nothing is not said."""
    rows = [
        ("database", f"{report['url']}, tables of {report['schema']}"),
        ("profile", " or ".join(report["profiles"])),
        ("songs", f"{report['n_songs']}, {count(report['n_rows'], 'fingerprint')}"),
        ("to bring over" if report["dry_run"] else "brought over", _brought(report)),
        ("already there", str(report["n_known"] or "")),
        ("without sha1", str(report["n_without_sha1"] or "")),
        *((f"left out: {_REASONS.get(reason, reason)}", str(n or "")) for reason, n in report["n_left_out"].items()),
        ("fingerprints that came twice", str(report["n_repeated_rows"] or "")),
        ("fingerprints that could not be read", str(report["n_bad_rows"] or "")),
        ("fingerprints of no song", str(report["n_orphan_rows"] or "")),
        ("time", clock(report["elapsed_s"])),
    ]
    rows = [(name, value) for name, value in rows if value]
    width = max(len(name) for name, _ in rows)
    named = [
        f"  left out: {song['id']}: {printable(song['title'])} ({song['reason'].replace('_', ' ')})"
        for song in report["left_out"][:_SHOWN]
    ]
    return [f"{name:{width}}  {value}" for name, value in rows] + named


def _brought(report: Mapping[str, Any]) -> str:
    if report["dry_run"]:
        return str(report["n_wanted"])
    return f"{report['n_added']}, {count(report['n_hashes'], 'hash').replace('hashs', 'hashes')}"
