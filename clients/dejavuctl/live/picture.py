"""The live view as lines of styled text that fit a terminal: a function of what is known, the size and the time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import log10
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from dejavuctl.listeners import reason_text
from dejavuctl.live.scene import GOING, HEARS
from dejavuctl.output import clock, count, percent, printable
from dejavuctl.plays import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dejavuctl.live.scene import HeardPlay, Scene, ShownListener

FLOOR_DB = -60.0
"""At the left end of a meter; what is below is as good as silent."""
LOUD_DB, TOO_LOUD_DB = -12.0, -3.0
NARROW = 60
"""Columns below which a listener's parts are put below each other."""
_STATES = {"listening": "green", "silent": "cyan", "retrying": "red", "waiting": "yellow", "starting": "yellow"}
_MAX_CANDIDATES = 3
_CERTAIN_NINES = 7
"""A doubt of 1e-7 is what a listener calls certain: there the bar of a candidate is full, on a scale of powers of ten."""
_KEYS = (("q", "leave"), ("space", "hold the picture"), ("p", "pause listener"), ("↑↓", "choose"))


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The signs that are drawn with.  parts : of a cell, from an eighth to all of it."""

    parts: str
    empty: str
    peak: str
    chosen: str
    play: str
    line: str
    dot: str
    dash: str
    arrows: str


GLYPHS = Glyphs(
    parts="▏▎▍▌▋▊▉█", empty="░", peak="┃", chosen="▸", play="♪", line="─", dot=" · ", dash=" \N{EN DASH} ", arrows="↑↓"
)
ASCII = Glyphs(parts="#", empty=".", peak="|", chosen=">", play="*", line="-", dot=", ", dash=" - ", arrows="up/down")


@dataclass(frozen=True, slots=True)
class Frame:
    """What a picture is of.

    now : in the zone that its times are to be told in.
    headline : of the daemon.  trouble : why there is none; empty where there is one.
    is_held : whether the picture is to stay as it is.
    """

    scene: Scene
    columns: int
    lines: int
    now: datetime
    headline: str
    trouble: str = ""
    is_held: bool = False
    with_history: bool = True
    glyphs: Glyphs = GLYPHS

    @property
    def is_narrow(self) -> bool:
        """Whether parts have to be put below each other."""
        return self.columns < NARROW


def picture(frame: Frame) -> list[Text]:
    """Return the view, at most `frame.lines` lines of at most `frame.columns` cells each."""
    head, foot = _head(frame), [_foot(frame)]
    inner = frame.lines - len(head) - len(foot)
    n_rows = min(len(frame.scene.plays), max(3, inner // 3)) if frame.with_history and inner > 8 else 0  # noqa: PLR2004 - fewer lines are the listeners' own
    listeners = _listeners(frame, max(1, inner - (n_rows + 1 if n_rows else 0)))
    left = inner - len(listeners)
    played = _played(frame, left) if n_rows else []
    blank = [Text()] * (left - len(played))
    return [_cut(line, frame.columns) for line in [*head, *listeners, *played, *blank, *foot]][: frame.lines]


# -- around it ------------------------------------------------------------------------------------------------------


def _head(frame: Frame) -> list[Text]:
    scene, dot = frame.scene, frame.glyphs.dot
    left = Text(printable(frame.headline), "bold")
    if not frame.is_narrow:
        left.append(f"{dot}{count(len(scene.listeners), 'listener')}", "not bold")
    if scene.n_lost:
        left.append(f"{dot}{count(scene.n_lost, 'event')} lost", "yellow")
    lines = [_spread(left, Text(f"{frame.now:%H:%M:%S}"), frame.columns)]
    if frame.trouble:
        lines.append(Text(printable(frame.trouble), "bold red"))
    if scene.note:
        lines.append(Text(printable(scene.note), "yellow"))
    return lines


def _foot(frame: Frame) -> Text:
    if frame.is_held:
        return Text("held: space goes on, q leaves", "reverse")
    text = Text()
    for key, what in _KEYS:
        text.append("  " if text else "")
        text.append(key.replace("↑↓", frame.glyphs.arrows), "bold")
        text.append(f" {what.split()[0] if frame.is_narrow else what}", "dim")
    return text


# -- listeners ------------------------------------------------------------------------------------------------------


def _listeners(frame: Frame, room: int) -> list[Text]:
    """Return the listeners in `room` lines: each with all that is known, or only the chosen one, or one a line around it."""
    scene = frame.scene
    if not scene.is_known:
        return [Text("asking the daemon", "dim")][:room]
    if not scene.listeners:
        one = f"there is no listener {scene.only!r}" if scene.only else "the daemon listens to nothing yet"
        return [Text("" if frame.trouble else f"{one}; see dejavuctl listen add --help", "dim")][:room]
    blocks = [_block(frame, name) for name in scene.listeners]
    if sum(map(len, blocks)) + len(blocks) <= room:
        return [line for block in blocks for line in (*block, Text())]
    if sum(map(len, blocks)) <= room:
        return [line for block in blocks for line in block]
    names = list(scene.listeners)
    at = names.index(scene.chosen) if scene.chosen in names else 0
    whole, short = blocks[at], [_short(frame, name) for name in names]
    if len(whole) + len(names) - 1 <= room:
        return [*short[:at], *whole, *short[at + 1 :]]
    first = max(0, min(at - room // 2, len(names) - room))
    return whole[:room] if len(names) == 1 else short[first : first + room]


def _block(frame: Frame, name: str) -> list[Text]:
    """Return all there is to see of a listener."""
    listener = frame.scene.listeners[name]
    view, dot = listener.view, frame.glyphs.dot
    title, state = _title(frame, name), _state(frame, listener)
    source = Text(printable(view["source"]), "dim")
    lines = []
    if frame.is_narrow:
        lines += [Text.assemble(title, " ", state), Text("  ").append(source)]
    else:
        if view.get("format"):
            source.append(f"{dot}{printable(view['format'])}")
        width = max(0, frame.columns - title.cell_len - state.cell_len - 2 * len(dot))
        lines.append(Text.assemble(title, dot, state, dot, _cut(source, width)))
    if view.get("n_overruns"):
        lines.append(Text(f"  {count(view['n_overruns'], 'overrun')}: sound was lost", "yellow"))
    if view["state"] in HEARS and not frame.trouble:
        lines.append(_meter(frame, listener))
    for play in listener.plays.values():
        lines += _playing(frame, listener, play)
    if not listener.plays:
        lines += [_candidate(frame, one) for one in listener.candidates[:_MAX_CANDIDATES]]
    return lines


def _title(frame: Frame, name: str) -> Text:
    is_chosen = name == frame.scene.chosen
    mark = frame.glyphs.chosen if is_chosen else " "
    return Text(f"{mark} {printable(name)}", "bold cyan" if is_chosen else "bold")


def _state(frame: Frame, listener: ShownListener) -> Text:
    """Return the state, why it is so, and when it is tried again."""
    view = listener.view
    if frame.trouble:
        return Text("unknown", "dim")
    text = Text(view["state"], _STATES.get(view["state"], ""))
    if view["state"] == "retrying" and view.get("next_try_at"):
        wait_s = (datetime.fromisoformat(view["next_try_at"]) - frame.now).total_seconds()
        text.append(f" in {wait_s:.0f} s" if wait_s >= 1 else " now")
    if view.get("reason"):
        text.append(f": {printable(reason_text(view))}")
    return text


def _short(frame: Frame, name: str) -> Text:
    """Return a listener in one line: the state, and what plays or how loud it is."""
    listener = frame.scene.listeners[name]
    text = Text.assemble(_title(frame, name), " ", _state(frame, listener))
    for play in listener.plays.values():
        text.append(f"{frame.glyphs.dot}{frame.glyphs.play} {_name(frame, play['track'])}")
    if not listener.plays and listener.level_db is not None and not frame.trouble:
        text.append(f"{frame.glyphs.dot}{listener.level_db:.0f} dB")
    return text


def _meter(frame: Frame, listener: ShownListener) -> Text:
    """Return the level of the last second, and the highest of late."""
    level_db, peak_db = listener.level_db, listener.peak_db
    told = "  silent" if level_db is None else f"{level_db:5.0f} dB"
    if peak_db is not None and not frame.is_narrow:
        told += f"  peak {peak_db:.0f}"
    width = max(4, min(60, frame.columns - 2 - len("  -60 dB  peak -60")))
    if frame.is_narrow:
        width = max(4, frame.columns - 2 - len(told))
    bar = _bar(frame.glyphs, 0.0 if level_db is None else 1 - level_db / FLOOR_DB, width)
    text = Text("  ").append(bar)
    for first_db, last_db, style in (
        (FLOOR_DB, LOUD_DB, "green"),
        (LOUD_DB, TOO_LOUD_DB, "yellow"),
        (TOO_LOUD_DB, 0, "red"),
    ):
        text.stylize(style, 2 + round(width * (1 - first_db / FLOOR_DB)), 2 + round(width * (1 - last_db / FLOOR_DB)))
    if peak_db is not None and peak_db > FLOOR_DB:
        at = 2 + max(0, min(width - 1, int(width * (1 - peak_db / FLOOR_DB))))
        text = Text.assemble(text[:at], (frame.glyphs.peak, "bold"), text[at + 1 :])
    return text.append(told, "dim" if level_db is None else "")


def _playing(frame: Frame, listener: ShownListener, play: Mapping[str, Any]) -> list[Text]:
    """Return what plays, since when, where in the track it is, and how sure that is."""
    dot, track = frame.glyphs.dot, play["track"]
    since = datetime.fromisoformat(play["started_at"]).astimezone(frame.now.tzinfo)
    at_s, of_s = listener.position_s(play), track["duration_s"]
    named = Text(f"  {frame.glyphs.play} ", "bold green").append(_name(frame, track), "bold green")
    place = f"{clock(at_s)} of {clock(of_s)}"
    sure = f"{percent(play['confidence'])} sure{dot}coverage {percent(play['coverage'])}"
    if frame.is_narrow:
        return [named, Text(f"    {place}{dot}since {since:%H:%M:%S}"), Text(f"    {sure}", "dim")]
    width = max(6, min(24, frame.columns - 56))
    bar = _bar(frame.glyphs, at_s / max(of_s, 1e-9), width)
    bar.stylize("green")
    return [named, Text.assemble(f"    since {since:%H:%M:%S}  ", f"{place}  ", bar, "  ", (sure, "dim"))]


def _candidate(frame: Frame, candidate: Mapping[str, Any]) -> Text:
    """Return a track that may sound, with a bar that grows as doubt shrinks."""
    width = 10 if frame.is_narrow else 20
    doubt = max(1e-9, 1 - candidate["confidence"])
    bar = _bar(frame.glyphs, -log10(doubt) / _CERTAIN_NINES, width)
    bar.stylize("yellow")
    told = f" {percent(candidate['confidence']):>7}"
    named = Text(f"  ? {_name(frame, candidate['track'])}")
    return _spread(named, bar.append(told), min(frame.columns, 100))


# -- what was played ------------------------------------------------------------------------------------------------


def _played(frame: Frame, room: int) -> list[Text]:
    """Return the latest plays, newest first, under a heading."""
    heading = Text(f"{2 * frame.glyphs.line} played ", "dim")
    heading.append(frame.glyphs.line * max(0, frame.columns - heading.cell_len), "dim")
    plays = frame.scene.latest[: max(0, room - 1)]
    widest = max((cell_len(printable(play.listener)) for play in plays), default=0)
    name_width = 0 if frame.scene.only or frame.is_narrow else min(16, widest)
    return [heading, *(_row(frame, play, name_width) for play in plays)] if room > 1 else []


def _row(frame: Frame, play: HeardPlay, name_width: int) -> Text:
    started = play.started_at.astimezone(frame.now.tzinfo)
    is_today = started.date() == frame.now.date()
    is_going = play.outcome == GOING
    when = f"{started:%H:%M:%S}" if is_today else f"{started:%m-%d %H:%M}"
    left = Text.assemble((when.rjust(8 if frame.is_narrow else 11), "dim"), "  ")
    if not frame.is_narrow:
        left.append(f"{'now' if is_going else clock(play.heard_s):>7}  ")
    if name_width:
        listener = _cut(Text(printable(play.listener)), name_width)
        listener.pad_right(name_width - listener.cell_len)
        left.append(listener).append("  ")
    left.append(_name(frame, play.track), "green" if is_going else "")
    if frame.is_narrow:
        return _spread(left, Text("now" if is_going else clock(play.heard_s), "dim"), frame.columns)
    right = Text(percent(play.confidence), "dim")
    ended = "" if is_going else OUTCOMES.get(play.outcome, "")
    if ended:
        right = Text.assemble((f"{ended}  ", "yellow"), right)
    return _spread(left, right, frame.columns)


# -- pieces ---------------------------------------------------------------------------------------------------------


def _name(frame: Frame, track: Mapping[str, Any]) -> str:
    """Return title and artist of a track."""
    parts: Sequence[object] = (track.get("title"), track.get("artist"))
    return frame.glyphs.dash.join(printable(str(part)) for part in parts if part)


def _bar(glyphs: Glyphs, share: float, width: int) -> Text:
    """Return a bar of `width` cells that is filled to `share`."""
    n_parts = len(glyphs.parts)
    filled = round(max(0.0, min(1.0, share)) * width * n_parts)
    cells, rest = divmod(filled, n_parts)
    bar = glyphs.parts[-1] * cells + (glyphs.parts[rest - 1] if rest else "")
    text = Text(bar)
    text.append(glyphs.empty * (width - len(bar)), "dim")
    return text


def _spread(left: Text, right: Text, width: int) -> Text:
    """Return a line of `width` cells with `left` at its one end and `right` at the other; where both do not fit, `left` is cut."""
    room = max(0, width - right.cell_len - 1)
    left = _cut(left, room)
    return Text.assemble(left, " " * max(0, width - left.cell_len - right.cell_len), right)


def _cut(text: Text, width: int) -> Text:
    """Return `text` in `width` cells at most."""
    if text.cell_len <= width:
        return text
    cut = text.copy()
    cut.truncate(width, overflow="ellipsis")
    return cut
