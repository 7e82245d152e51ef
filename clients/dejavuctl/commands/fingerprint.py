"""``dejavuctl fingerprint``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import default_jobs, positive_count, positive_number
from dejavuctl.failures import EXIT_INTERRUPTED, Failed, Usage
from dejavuctl.files import AUDIO_EXTENSIONS, AudioFile, NameList, extensions, find_audio
from dejavuctl.interrupts import held_back
from dejavuctl.jobs import fingerprint_file
from dejavuctl.output import clock, count, percent, printable, track_name
from dejavuctl.progress import Progress
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

    from dejavuctl.connection import Connection
    from dejavuctl.output import Output
    from dejavuctl.pipeline import Done
    from dejavuctl.session import Session

DESCRIPTION = """\
Adds recordings to the library.  Folders are searched with all their subfolders; files whose content is in the library
already are passed over, so the same folder can be given again whenever something was added to it.  A recording that the library has in
another file is added, and said."""
EXAMPLES = f"""\
examples:
  dejavuctl fingerprint ~/Music                      everything that sounds, in all subfolders
  dejavuctl fingerprint ~/Music --ext mp3,flac       only files with these extensions
  dejavuctl fingerprint album/*.ogg --limit 120      only the first two minutes of each
  dejavuctl fingerprint ~/Music --json > report.jsonl

Without --ext a folder is searched for: {", ".join(AUDIO_EXTENSIONS[: len(AUDIO_EXTENSIONS) // 2])},
{", ".join(AUDIO_EXTENSIONS[len(AUDIO_EXTENSIONS) // 2 :])}.
Files that you name are tried whatever they are called; hidden ones in folders are passed over."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="an audio file, or a folder of them")
    parser.add_argument(
        "--ext", metavar="EXT", action="append", default=[], help="take only these from folders; repeatable"
    )
    parser.add_argument("--limit", metavar="SECONDS", type=positive_number, help="only the beginning of each file")
    parser.add_argument(
        "--jobs", metavar="N", type=positive_count, default=default_jobs(), help="files in work at a time"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary, only failures")


def check(options: Namespace) -> None:
    """Read ``--ext``."""
    options.ext = extensions(options.ext)


@dataclass(slots=True)
class _Tally:
    """What became of the files so far."""

    n_added: int = 0
    n_known: int = 0
    n_duplicates: int = 0
    audio_s: float = 0.0
    failures: list[tuple[AudioFile, Failed]] = field(default_factory=list)

    def record(self, elapsed_s: float, *, interrupted: bool) -> dict[str, Any]:
        """Return the summary as JSON shows it."""
        return {
            "summary": {
                "n_added": self.n_added,
                "n_known": self.n_known,
                "n_failed": len(self.failures),
                "n_duplicates": self.n_duplicates,
                "audio_s": round(self.audio_s, 3),
                "elapsed_s": round(elapsed_s, 3),
                "interrupted": interrupted,
            }
        }

    def text(self, elapsed_s: float, *, interrupted: bool) -> str:
        """Return the summary as a person reads it."""
        same = f"{self.n_duplicates} of them the same recording as another, " if self.n_duplicates else ""
        rate = f", {self.audio_s / elapsed_s:.0f}x real time" if self.audio_s and elapsed_s else ""
        return (
            f"{'interrupted: ' if interrupted else ''}{count(self.n_added, 'track')} added, {same}{self.n_known} known already, "
            f"{len(self.failures)} failed; {clock(self.audio_s)} of audio in {clock(elapsed_s)}{rate}"
        )


def run(options: Namespace, session: Session) -> int:
    """Add the files, print what failed and why, and a summary."""
    tally = _Tally()
    with session.connect() as connection:
        connection.call("status", {})  # before a large folder is searched: is anybody there at all
        files = []
        for found in find_audio(options.paths, options.ext):
            if isinstance(found, AudioFile):
                files.append(found)
            else:
                _note(tally, session.out, found[0], found[0].failed(found[1]))
        if not files and not tally.failures:
            raise Usage(
                reason=f"no audio files in {', '.join(map(printable, options.paths))} (looked for {', '.join(options.ext)})"
            )
        return _fingerprint(options, session.out, connection, files, tally)


def _fingerprint(
    options: Namespace, out: Output, connection: Connection, files: Sequence[AudioFile], tally: _Tally
) -> int:
    from dejavuctl.pipeline import Pipeline  # noqa: PLC0415 - see Session.connect

    params = {} if options.limit is None else {"limit_s": options.limit}
    pipeline = Pipeline(
        connection,
        lambda file: fingerprint_file(file, params, by_path=connection.reads_our_files),
        n_jobs=options.jobs,
        in_order=False,
    )
    n_bytes = sum(file.n_bytes for file in files)
    interrupted = False
    progress = Progress(out.remarks, n_files=len(files), n_bytes=n_bytes, enabled=not options.quiet)
    try:
        with held_back(), progress:
            for done in pipeline.run(NameList(files)):
                if done is not None:
                    _take(done, tally, out, progress)
                progress.show(sum(running.fraction * running.file.n_bytes for running in pipeline.running))
    except (KeyboardInterrupt, BrokenPipeError) as stop:
        with held_back():
            pipeline.cancel()
        if isinstance(stop, BrokenPipeError):
            raise
        interrupted = True
    finally:
        _summarize(options, out, tally, progress.elapsed_s, interrupted=interrupted)
    if interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if tally.failures else EXIT_MATCHED


def _take(done: Done, tally: _Tally, out: Output, progress: Progress) -> None:
    """Count and report one file."""
    audio_s = 0.0
    if done.result is None:
        progress.clear()
        _note(tally, out, done.file, done.failure)
    else:
        if done.result["added"]:
            audio_s = float(done.result["track"]["duration_s"])
            tally.n_added += 1
        else:
            tally.n_known += 1
        tally.audio_s += audio_s
        duplicates = done.result.get("duplicates") or []
        tally.n_duplicates += bool(duplicates)
        if out.as_json:
            out.show({"source": done.file.source, **done.result}, "")
        elif duplicates:
            progress.clear()
            names = (f"{each['id']}: {track_name(each)} ({percent(each['confidence'])})" for each in duplicates)
            out.remark(f"same recording: {printable(done.file.source)} as {', '.join(names)}")
    progress.add(n_bytes=done.file.n_bytes, audio_s=audio_s)


def _note(tally: _Tally, out: Output, file: AudioFile, failure: Failed | None) -> None:
    """Report a file that failed, at once."""
    failure = failure or Failed("internal_error", "no reason was given", {})
    tally.failures.append((file, failure))
    out.fail({"source": file.source, "error": failure.body}, f"failed: {printable(failure.message)}")


def _summarize(options: Namespace, out: Output, tally: _Tally, elapsed_s: float, *, interrupted: bool) -> None:
    if out.as_json or not options.quiet:
        out.show(tally.record(elapsed_s, interrupted=interrupted), tally.text(elapsed_s, interrupted=interrupted))
