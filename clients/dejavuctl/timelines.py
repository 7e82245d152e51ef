"""What a scan found, as people and programs want it: a table, JSON lines, CSV, a CUE sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dejavuctl.output import Table, clock, percent, printable, track_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dejavuctl.output import Output

    Play = Mapping[str, Any]

FORMATS = ("table", "json", "csv", "cue")

CSV_COLUMNS = (
    "start_s", "end_s", "track_id", "title", "artist", "album", "track_start_s", "track_end_s", "confidence", "coverage", "gaps",
)  # fmt: skip

CUE_TRACKS = 99
"""A CUE sheet numbers its tracks with two digits."""
CUE_FRAMES_PER_S = 75
_CUE_TYPES = {"mp3": "MP3", "aiff": "AIFF", "aif": "AIFF"}


class TimelineWriter(Protocol):
    """Prints a timeline as it becomes known."""

    def add(self, play: Play) -> None:
        """Take a play that is over."""
        ...

    def end(self, recording: Mapping[str, Any]) -> None:
        """Take leave: nothing more is known of `recording`."""
        ...


def timeline_writer(name: str, out: Output, source: str) -> TimelineWriter:
    """Return what prints timelines of the recording `source` in the format of this name."""
    if name == "cue":
        return _Cue(out, source)
    plain: dict[str, Callable[[Output], TimelineWriter]] = {"table": _Table, "json": _JsonLines, "csv": _Csv}
    return plain[name](out)


class _Table:
    """A row a play; the heading comes with the first one."""

    _HEADING = ("start", "end", "track", "from", "to", "sure", "gaps")
    _WIDEST = ("0:00:00", "0:00:00", 44 * "x", "00:00", "00:00", "99.99 %", "0:00:00-0:00:00")

    def __init__(self, out: Output) -> None:
        self._out = out
        self._table: Table | None = None

    def add(self, play: Play) -> None:
        self._table = self._table or Table(self._out, self._HEADING, [self._WIDEST])
        gaps = " ".join(f"{clock(gap['start_s'])}-{clock(gap['end_s'])}" for gap in play["gaps"])
        times = [clock(max(0.0, play[key])) for key in ("start_s", "end_s", "track_start_s", "track_end_s")]
        row = (*times[:2], track_name(play["track"]), *times[2:], percent(play["confidence"]), gaps)
        self._table.add(row, play)

    def end(self, recording: Mapping[str, Any]) -> None:
        pass


class _JsonLines:
    """An object a play, and at the end one of the recording."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def add(self, play: Play) -> None:
        self._out.show(play, "")

    def end(self, recording: Mapping[str, Any]) -> None:
        self._out.show({"recording": recording}, "")


class _Csv:
    """RFC 4180, with a heading; gaps as START-END in seconds, a space between two."""

    def __init__(self, out: Output) -> None:
        from csv import writer  # noqa: PLC0415 - no other command needs it

        self._stream = out.answers
        self._csv = writer(out.answers)
        self._has_heading = False

    def add(self, play: Play) -> None:
        self._begin()
        track = play["track"]
        known = {**play, **{key: track.get(key) for key in ("title", "artist", "album")}, "track_id": track["id"]}
        known["gaps"] = " ".join(f"{gap['start_s']}-{gap['end_s']}" for gap in play["gaps"])
        self._row([known[column] for column in CSV_COLUMNS])

    def end(self, recording: Mapping[str, Any]) -> None:  # noqa: ARG002 - a table of plays and nothing else
        self._begin()

    def _begin(self) -> None:
        if not self._has_heading:
            self._has_heading = True
            self._row(CSV_COLUMNS)

    def _row(self, cells: Sequence[object]) -> None:
        self._csv.writerow(cells)
        self._stream.flush()


class _Cue:
    """A CUE sheet of the recording, printed whole at the end: its tracks must be in order."""

    def __init__(self, out: Output, source: str) -> None:
        self._out = out
        self._source = source
        self._plays: list[Play] = []

    def add(self, play: Play) -> None:
        self._plays.append(play)

    def end(self, recording: Mapping[str, Any]) -> None:  # noqa: ARG002 - the sheet names the recording as the caller does
        if len(self._plays) > CUE_TRACKS:
            self._out.remark(
                f"a CUE sheet holds {CUE_TRACKS} tracks, {len(self._plays)} were played: the last ones are left out"
            )
        name = self._source.rpartition("/")[2] or self._source
        lines = [f'TITLE "{_quoted(name)}"', f'FILE "{_quoted(name)}" {_cue_type(name)}']
        at = -1
        for number, play in enumerate(sorted(self._plays, key=lambda play: play["start_s"])[:CUE_TRACKS], 1):
            at = max(at + 1, round(play["start_s"] * CUE_FRAMES_PER_S))
            track = play["track"]
            lines += [f"  TRACK {number:02} AUDIO", f'    TITLE "{_quoted(str(track["title"]))}"']
            if track.get("artist"):
                lines.append(f'    PERFORMER "{_quoted(str(track["artist"]))}"')
            lines.append(f"    INDEX 01 {_cue_time(at)}")
        self._out.answers.write("\n".join(lines) + "\n")
        self._out.answers.flush()


def _quoted(text: str) -> str:
    """Return `text` as it may stand between the quotation marks of a CUE sheet, which knows no escape."""
    return printable(text).replace('"', "'")


def _cue_type(name: str) -> str:
    return _CUE_TYPES.get(name.rpartition(".")[2].lower(), "WAVE")


def _cue_time(n_frames: int) -> str:
    seconds, frames = divmod(n_frames, CUE_FRAMES_PER_S)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes:02}:{seconds:02}:{frames:02}"
