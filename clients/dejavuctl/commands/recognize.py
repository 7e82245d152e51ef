"""``dejavuctl recognize``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dejavuctl.arguments import default_jobs, positive_count, positive_number
from dejavuctl.failures import EXIT_INTERRUPTED, Failed, Interrupted, Usage
from dejavuctl.files import AudioFile, NameList, open_names
from dejavuctl.interrupts import held_back
from dejavuctl.jobs import Ask, recognize_file, with_bytes
from dejavuctl.long_work import under_way
from dejavuctl.output import clock, count, percent, printable, track_name
from dejavuctl.progress import NewsLine, StatusLine
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED, EXIT_NO_MATCH

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Mapping

    from dejavuctl.files import Names
    from dejavuctl.jobs import Job
    from dejavuctl.output import Output
    from dejavuctl.session import Session

DESCRIPTION = """\
Says which track is playing, where in it, and how sure that is.

  recognize file PATH…       recordings; the word `file` may be left out
  recognize mic [SECONDS]    what the daemon's microphone hears, until that is certain; 10 s at most, if not told
  recognize -                a recording on standard input, to its end
  recognize live             what comes through standard input, until that is certain: raw samples, or any format that streams"""
EXAMPLES = """\
examples:
  dejavuctl recognize clip.wav
  dejavuctl recognize file *.mp3 --json | jq -r '.matches[0].track.title'
  dejavuctl recognize mic 5
  ffmpeg -i video.mkv -t 10 -f wav - | dejavuctl recognize -
  arecord -f S16_LE -r 48000 -c 1 -t raw | dejavuctl recognize live --pcm s16le:48000:1
  curl -s http://radio.example/stream.mp3 | dejavuctl recognize live --limit 30
  find . -name '*.wav' -print0 | dejavuctl recognize file --files-from - -0

Answers come in the order of the files, however many are in work at a time.
exit status: 0 all matched, 1 one did not, 4 one failed."""

MICROPHONE_S = 10.0
TOLD_S = 0.5
"""A track that is heard in all of the query but so much is heard in all of it."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.usage = "dejavuctl recognize [file] PATH… | mic [SECONDS] | - | live  [OPTIONS]"
    parser.add_argument(
        "words", metavar="PATH", nargs="*", help="files; or `mic` and for how many seconds; or -; or live"
    )
    parser.add_argument("--limit", metavar="SECONDS", type=positive_number, help="hear only the beginning of each file")
    parser.add_argument("--files-from", metavar="FILE", help="read paths from FILE, one a line; - is standard input")
    parser.add_argument(
        "-0", "--null", action="store_true", help="the paths of --files-from end with NUL, not a new line"
    )
    parser.add_argument(
        "--jobs", metavar="N", type=positive_count, default=default_jobs(), help="files in work at a time"
    )
    parser.add_argument("--pcm", metavar="FORMAT", help="of `recognize live`: raw samples, as s16le:48000:1")
    parser.add_argument("--device", help="the microphone, by number or name (default: the system's)")


def check(options: Namespace) -> None:
    """Tell the three forms apart: set ``form`` and its operands."""
    words = list(options.words)
    options.form = words.pop(0) if words[:1] in (["file"], ["mic"], ["-"], ["live"]) else "file"
    if options.form == "mic":
        _check_microphone(options, words)
    elif options.form in ("-", "live"):
        if words or options.files_from:
            reason = f"`recognize {options.form}` takes standard input and nothing else; for a file called so: recognize file {options.form}"
            raise Usage(reason=reason)
    elif bool(words) == (options.files_from is not None):
        raise Usage(reason="name the files, or where to read their names (--files-from FILE): one of the two")
    if options.form != "mic" and options.device is not None:
        raise Usage(reason="--device is for `recognize mic`")
    if options.form != "live" and options.pcm is not None:
        raise Usage(reason="--pcm is for `recognize live`; a file says itself what it is")
    if options.null and options.files_from is None:
        raise Usage(reason="-0 says how --files-from separates the paths; it does nothing without it")
    options.paths = words


def _check_microphone(options: Namespace, words: list[str]) -> None:
    if options.files_from or options.limit:
        raise Usage(
            reason="`recognize mic` takes a number of seconds and --device; for a file called mic: recognize file mic"
        )
    options.seconds = MICROPHONE_S
    if words:
        with suppress(ValueError):
            options.seconds = float(words[0])
            words = words[1:]
    if words or not 0 < options.seconds < float("inf"):
        raise Usage(
            reason="write `recognize mic SECONDS` with one number above 0; for a file called mic: recognize file mic"
        )


def run(options: Namespace, session: Session) -> int:
    """Recognize, and print an answer for each query in order."""
    if options.form == "mic":
        return _from_microphone(options, session)
    params = {} if options.limit is None else {"limit_s": options.limit}
    if options.form == "live":
        return _from_pipe(options, session, params)
    if options.form == "-":
        if sys.stdin.isatty():
            session.out.remark("dejavuctl: reading a recording from standard input (end with Ctrl-D)")
        return _from_files(options, session, NameList([AudioFile("-")]), params)
    if options.files_from is not None:
        return _from_files(options, session, open_names(options.files_from, nul_separated=options.null), params)
    return _from_files(options, session, NameList(map(AudioFile, options.paths)), params)


def _from_microphone(options: Namespace, session: Session) -> int:
    out = session.out
    device = int(options.device) if options.device and options.device.isdigit() else options.device
    line = StatusLine(out.remarks, enabled=True)
    if line.is_terminal:
        line.draw(f"listening for up to {options.seconds:g} s …")

    def note(figures: Mapping[str, Any]) -> None:
        if line.is_due:
            line.draw(f"heard {clock(figures['done_s'])} of up to {clock(figures['total_s'])}")

    left = "the microphone is closed, and nothing was recognized"
    with session.connect() as connection, under_way(line, lambda: Interrupted(left)):
        params = {"duration_s": options.seconds, "device": device}
        answer = connection.call("recognize_microphone", params, note)
    out.show(answer, _line(answer, None))
    return EXIT_MATCHED if answer["matches"] else EXIT_NO_MATCH


def _from_pipe(options: Namespace, session: Session, params: dict[str, Any]) -> int:
    from dejavuctl.live_query import answer_to, progress_text  # noqa: PLC0415 - most queries are files

    out = session.out
    line = NewsLine(out.remarks, lambda figures, _line: progress_text(figures))
    params |= {"source": "live"} | ({"pcm": options.pcm} if options.pcm else {})
    with session.connect() as connection, under_way(line, lambda: Interrupted("nothing was recognized until then")):
        answer = answer_to(connection, sys.stdin.fileno(), params, line.note)
    out.show(answer, _line(answer, None))
    return EXIT_MATCHED if answer["matches"] else EXIT_NO_MATCH


def _from_files(options: Namespace, session: Session, names: Names, params: Mapping[str, Any]) -> int:
    from dejavuctl.pipeline import Pipeline  # noqa: PLC0415 - see Session.connect

    tally = {EXIT_MATCHED: 0, EXIT_NO_MATCH: 0, EXIT_FAILED: 0}
    with session.connect() as connection:

        def start(file: AudioFile) -> Job:
            if options.form == "-":
                return with_bytes(sys.stdin.buffer, "standard input", Ask("recognize", {**params, "source": "-"}))
            return recognize_file(file, params, by_path=connection.reads_our_files)

        pipeline = Pipeline(connection, start, n_jobs=options.jobs, in_order=True)
        try:
            with held_back():
                for done in pipeline.run(names):
                    if done is not None:
                        tally[_report(session.out, done.file, done.result, done.failure)] += 1
        except (KeyboardInterrupt, BrokenPipeError) as stop:
            with held_back():
                pipeline.cancel()
            if isinstance(stop, BrokenPipeError):
                raise
            session.out.remark(f"interrupted: {_summary(tally)}")
            return EXIT_INTERRUPTED
    return max((status for status, n in tally.items() if n), default=EXIT_MATCHED)


def _report(out: Output, file: AudioFile, answer: Mapping[str, Any] | None, failure: Failed | None) -> int:
    """Print the answer to one query and return the exit status that it alone would have."""
    if answer is None:
        failure = failure or Failed("internal_error", "no reason was given", {})
        out.refuse(failure, query={"source": file.source})
        return EXIT_FAILED
    out.show(answer, _line(answer, file.source))
    return EXIT_MATCHED if answer["matches"] else EXIT_NO_MATCH


def _line(answer: Mapping[str, Any], source: str | None) -> str:
    """Return a recognition in one line: which track, where in it, how surely, how fast."""
    before = "" if source in (None, "-") else f"{printable(str(source))}: "
    took = f"{answer['timings']['total_ms']:.0f} ms"
    took += "".join(f", without {printable(missing)}" for missing in answer.get("partial", ()))
    if not answer["matches"]:
        return f"{before}no match ({took})"
    query_s = answer["query"]["duration_s"]
    return before + "; ".join(_match(match, query_s) for match in answer["matches"]) + f" ({took})"


def _match(match: Mapping[str, Any], query_s: float) -> str:
    at, of = clock(max(0.0, match["track_start_s"])), clock(match["track"]["duration_s"])
    said = [f"{track_name(match['track'])}, at {at} of {of}, confidence {percent(match['confidence'])}"]
    start_s, end_s = match["query_start_s"], match["query_end_s"]
    if start_s > TOLD_S or end_s < query_s - TOLD_S:
        said.append(f"heard from {start_s:.1f} to {end_s:.1f} s")
    said += [f"but not from {gap['start_s']:.1f} to {gap['end_s']:.1f} s" for gap in match["gaps"]]
    if match["speed"] != 1.0:
        said.append(f"at {match['speed']:.3f} times the speed")
    if match["pitch"] != match["speed"]:
        said.append(f"at {match['pitch']:.3f} times the pitch")
    if match["twins"]:
        said.append(f"the same recording as {', '.join(f'track {twin}' for twin in match['twins'])}")
    return ", ".join(said)


def _summary(tally: Mapping[int, int]) -> str:
    return (
        f"{count(sum(tally.values()), 'file')} answered, {tally[EXIT_MATCHED]} matched, "
        f"{tally[EXIT_NO_MATCH]} without a match, {tally[EXIT_FAILED]} failed"
    )
