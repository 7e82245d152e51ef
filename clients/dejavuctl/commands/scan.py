"""``dejavuctl scan``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import positive_number
from dejavuctl.failures import EXIT_INTERRUPTED, Failed, Usage
from dejavuctl.files import AudioFile
from dejavuctl.interrupts import held_back
from dejavuctl.jobs import Ask, Cancelled, scan_file, with_bytes
from dejavuctl.output import clock, count, printable
from dejavuctl.scan_progress import ScanProgress
from dejavuctl.timelines import FORMATS, timeline_writer
from dejavud.wire.codes import EXIT_MATCHED, EXIT_NO_MATCH

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.connection import Connection
    from dejavuctl.jobs import Job
    from dejavuctl.session import Session
    from dejavuctl.timelines import TimelineWriter

DESCRIPTION = """\
Says what is played in a long recording, from when to when: a radio show, a DJ set, a lecture with music in it.

  scan FILE    a recording of any length
  scan URL     a recording or a station, over http or https; a station until Ctrl-C
  scan -       a recording on standard input"""
EXAMPLES = """\
examples:
  dejavuctl scan show.mp3
  dejavuctl scan show.mp3 --format cue > show.cue
  dejavuctl scan show.mp3 --format csv > show.csv
  dejavuctl scan https://radio.example/stream.mp3 --json
  dejavuctl scan https://radio.example/stream.mp3 --limit 3600

A play is printed as soon as it is known to have ended: some seconds after its end, because a track that goes on
after a jingle is one play with a gap.  Tracks that sound at once are plays that overlap.
Ctrl-C stops the scan and prints what is known by then.
exit status: 0 something is played, 1 nothing known is, 4 failed, 130 interrupted."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("recording", metavar="FILE|URL", help="a file, an address, or - for standard input")
    parser.add_argument("--limit", metavar="SECONDS", type=positive_number, help="hear only the beginning")
    parser.add_argument(
        "--format", choices=FORMATS, help="how to print the timeline (default: table; --json is --format json)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary")


def check(options: Namespace) -> None:
    """Have one word say the format."""
    if options.json and options.format not in (None, "json"):
        raise Usage(reason=f"--json and --format {options.format} ask for two formats")
    options.format = "json" if options.json else options.format or "table"
    options.json = options.format == "json"


@dataclass(slots=True)
class _Heard:
    """What is known of the recording so far.

    sounding : plays that are not over yet.
    """

    writer: TimelineWriter
    progress: ScanProgress
    sounding: list[Mapping[str, Any]] = field(default_factory=list)
    done_s: float = 0.0
    n_plays: int = 0

    def note(self, figures: Mapping[str, Any]) -> None:
        """Take news from the daemon."""
        self.done_s = float(figures.get("done_s") or 0.0)
        self.sounding = list(figures.get("sounding") or ())
        self.print(figures.get("plays") or ())
        self.progress.show(self.done_s, figures.get("total_s"), self.n_plays, self.sounding)

    def print(self, plays: list[Mapping[str, Any]] | tuple[()]) -> None:
        """Print plays that are over."""
        for play in plays:
            self.progress.clear()
            self.writer.add(play)
            self.n_plays += 1


def run(options: Namespace, session: Session) -> int:
    """Scan, and print each play when it is over."""
    out = session.out
    if options.recording == "-" and sys.stdin.isatty():
        out.remark("dejavuctl: reading a recording from standard input (end with Ctrl-D)")
    writer = timeline_writer(options.format, out, options.recording)
    heard = _Heard(writer, ScanProgress(out.remarks, enabled=not options.quiet))
    answer: Mapping[str, Any] = {}
    interrupted = False
    with session.connect() as connection, held_back():
        try:
            answer = _converse(connection, _job(options, connection), heard)
        except KeyboardInterrupt:
            interrupted = True
            heard.print(heard.sounding)
        finally:
            heard.progress.clear()
            recording = dict(answer.get("recording") or {"source": options.recording, "duration_s": heard.done_s})
            if answer or heard.n_plays or interrupted:
                writer.end({**recording, "n_plays": heard.n_plays, "interrupted": interrupted})
    n_damaged = int(recording.get("n_damaged_packets") or 0)
    if n_damaged and not options.quiet:
        out.remark(f"{count(n_damaged, 'damaged packet')} could not be decoded; nothing is known of those moments")
    for missing in answer.get("partial", ()):
        out.remark(f"{printable(missing)} could not be asked at times; a play may have been missed")
    if not options.quiet:
        out.remark(f"{'interrupted: ' * interrupted}{count(heard.n_plays, 'play')} in {clock(recording['duration_s'])}")
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_MATCHED if heard.n_plays else EXIT_NO_MATCH


def _job(options: Namespace, connection: Connection) -> Job:
    params = {} if options.limit is None else {"limit_s": options.limit}
    if "://" in options.recording:
        return _asked(Ask("scan", {**params, "url": options.recording}))
    if options.recording == "-":
        return with_bytes(sys.stdin.buffer, "standard input", Ask("scan", {**params, "source": "-"}))
    return scan_file(AudioFile(options.recording), params, by_path=connection.reads_our_files)


def _asked(ask: Ask) -> Job:
    return (yield ask)


def _converse(connection: Connection, job: Job, heard: _Heard) -> dict[str, Any]:
    """Return what a conversation with the daemon comes to; Ctrl-C ends it, in the daemon too."""
    try:
        ask = next(job)
        while True:
            try:
                result = connection.call(ask.method, ask.params, heard.note, audio=ask.audio)
            except Failed as failure:
                ask = job.throw(failure)
            except KeyboardInterrupt:
                _take_back(connection, job)
                raise
            else:
                ask = job.send(result)
    except StopIteration as done:
        return dict(done.value)


def _take_back(connection: Connection, job: Job) -> None:
    """Send what a conversation has to say when it is broken off; nobody waits for the answer."""
    try:
        last = job.throw(Cancelled())
        connection.send(last.method, last.params)
    except Cancelled:
        pass  # it had nothing to say
