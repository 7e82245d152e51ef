"""A playlist in real time into a real daemon: ``python benchmarks/playlist.py MUSIC --unknown MUSIC --minutes 30 --snr 10 --through pulse|icecast``.

Known tracks (whole stretches from their beginning or cut in, one after another or after something else, some of them twice), pauses, people who speak and
music that the library does not hold, all in the noise of a room with people in it.  It is played into the null sink of a PulseAudio, which is the daemon's
microphone, or to an Icecast server, whose listener the daemon is; and it is told how often each known play was reported, how exactly, and how soon.

MUSIC is a folder of recordings or a file that names one a line.  In real time the plays themselves tell, in the median, how far the listener's clock is
behind the playlist's: their exactness is told against it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import wave
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from on_air import RATE_HZ, listening, playing, sound_cards, station
from own_daemon import own_daemon
from recordings import recordings_of
from told import events_of, hears
from voices import at_level, loudness, room_noise, speech

from dejavuctl.connection import Connection
from dejavud.audio.decode import decode_audio

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from on_air import Air
    from own_daemon import OwnDaemon
    from told import Told

    Samples = NDArray[np.float32]

LISTENER = "show"
LEVEL = 0.03
"""Of all that is played, in root mean square of full scale: soft enough that a drone below 100 Hz, which does not count, is not cut off."""
EDGE_S = 0.05
"""A track is played from and up to where a twentieth of a second of it is as loud as the noise."""
NEAR_S, NEAR_TRACK_S = 1.0, 0.3
POLL_S, LATE_S = 0.1, 30.0
"""So long after the end of the show every play has ended: the longest pause of a play, and what the tracker is behind."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the pieces of a playlist are, in seconds: at least, at most."""

    known: tuple[float, float] = (25.0, 120.0)
    unknown: tuple[float, float] = (20.0, 60.0)
    speech: tuple[float, float] = (8.0, 30.0)
    pause: tuple[float, float] = (2.0, 12.0)


SHORT = Lengths(known=(12.0, 24.0), unknown=(8.0, 15.0), speech=(5.0, 9.0), pause=(2.0, 6.0))


@dataclass(frozen=True, slots=True)
class Play:
    """A known track in the show.  after : what sounded before.  track_start_s : where in the track it begins."""

    track_id: int
    title: str
    after: str
    start_s: float
    end_s: float
    track_start_s: float


@dataclass(slots=True)
class Show:
    """What is played, in a file of float32 at `RATE_HZ`; its first `start_s` are silent."""

    path: Path
    plays: list[Play] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)

    @property
    def samples(self) -> Samples:
        """Return it, as it lies in the file."""
        return np.memmap(self.path, np.float32, "r")


@dataclass(frozen=True, slots=True)
class Library:
    """The music: known tracks by their id, and recordings that the daemon does not know."""

    known: dict[int, Path]
    unknown: list[Path]


def stretch(path: Path, first_s: float, length_s: float, edge_db: float) -> tuple[Samples, float]:
    """Return a stretch of a recording at `LEVEL`, without what is softer by `edge_db` at its ends, and where it begins."""
    samples = decode_audio(path, name=path.name, rate_hz=RATE_HZ, limit_s=first_s + length_s)[
        round(first_s * RATE_HZ) :
    ]
    step = round(EDGE_S * RATE_HZ)
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    levels = np.array([loudness(block, RATE_HZ) for block in blocks])
    whole = loudness(blocks.ravel(), RATE_HZ)
    sounding = np.flatnonzero(levels >= whole * 10 ** (-edge_db / 20))
    if not len(sounding) or whole == 0:
        return samples[:0], first_s
    heard = blocks[sounding[0] : sounding[-1] + 1].ravel()
    return at_level(heard, LEVEL, RATE_HZ), first_s + float(sounding[0]) * EDGE_S


def make_show(path: Path, library: Library, minutes: float, snr_db: float, rng: np.random.Generator) -> Show:
    """Write a show of about so many minutes; it ends with a track and a pause."""
    show, lengths = Show(path), Lengths() if minutes >= 10 else SHORT
    n_samples, deck = 0, Deck(library, rng)
    with path.open("wb") as file:

        def put(samples: Samples) -> float:
            nonlocal n_samples
            noise = room_noise(len(samples), RATE_HZ, int(rng.integers(1 << 30)))
            heard = samples + at_level(noise, LEVEL * 10 ** (-snr_db / 20), RATE_HZ)
            np.clip(heard, -1, 1).astype("<f4").tofile(file)
            n_samples += len(samples)
            return n_samples / RATE_HZ

        at_s, after = put(np.zeros(2 * RATE_HZ, np.float32)), "pause"
        while at_s < 60 * minutes:
            track_id, known = deck.known()
            begun, track_start_s = stretch(known, deck.cut_in(known), rng.uniform(*lengths.known), snr_db)
            if len(begun) < lengths.known[0] / 2 * RATE_HZ:
                continue
            end_s = put(begun)
            show.plays.append(Play(track_id, known.stem, after, at_s, end_s, track_start_s))
            at_s, after = end_s, str(rng.choice(["known", "pause", "speech", "unknown"], p=[0.25, 0.25, 0.25, 0.25]))
            if after == "unknown":
                other = deck.unknown()
                put(stretch(other, rng.uniform(0, 30), rng.uniform(*lengths.unknown), snr_db)[0])
                show.others.append({"unknown": other.name, "start_s": at_s})
            elif after == "speech":
                said = speech(round(rng.uniform(*lengths.speech) * RATE_HZ), RATE_HZ, int(rng.integers(1 << 30)))
                put(at_level(said, LEVEL, RATE_HZ))
            elif after == "pause":
                put(np.zeros(round(rng.uniform(*lengths.pause) * RATE_HZ), np.float32))
            at_s = n_samples / RATE_HZ
        put(np.zeros(round(2 * RATE_HZ), np.float32))
    return show


class Deck:
    """Deals recordings: each once before any comes again, but every eighth known one is one that was played before."""

    def __init__(self, library: Library, rng: np.random.Generator) -> None:
        self._library = library
        self._rng = rng
        self._ids = [
            int(track_id) for track_id in rng.permutation(sorted(library.known, key=library.known.__getitem__))
        ]
        self._others = [library.unknown[int(number)] for number in rng.permutation(len(library.unknown))]
        self._n_known = self._n_unknown = 0

    def known(self) -> tuple[int, Path]:
        """Return the next known track."""
        self._n_known += 1
        again = self._n_known > 4 and self._n_known % 8 == 0
        number = self._n_known - (4 if again else 1)
        track_id = self._ids[number % len(self._ids)]
        return track_id, self._library.known[track_id]

    def unknown(self) -> Path:
        """Return the next unknown recording."""
        self._n_unknown += 1
        return self._others[(self._n_unknown - 1) % len(self._others)]

    def cut_in(self, path: Path) -> float:
        """Return where in a recording to begin: at its beginning as often as within its first minute, where it is long enough."""
        with_s = float(self._rng.uniform(5, 60)) if self._rng.random() < 0.5 else 0.0
        return with_s if path.stat().st_size > 1_000_000 else 0.0


def teach(daemon: OwnDaemon, music: Sequence[Path]) -> dict[int, Path]:
    """Return the recordings by the id of their track; those of the same content are left out."""
    answers = daemon.fingerprint([str(path) for path in music])
    return {
        answer["track"]["id"]: Path(answer["source"])
        for answer in answers
        if answer.get("added") and not answer["duplicates"] and answer["track"]["duration_s"] > 30
    }


@dataclass(frozen=True, slots=True)
class Heard:
    """What the daemon told of the show.

    began : when the show began to sound, on `time.monotonic`'s clock; None where it was heard faster than it sounds.
    delay_s : from when its first sample was given to the player.
    """

    began: float | None
    delay_s: float
    n_stutters: int
    told: list[Told]


def hear_show(air: Air, daemon: OwnDaemon, show: Show) -> Heard:
    """Play the show while the daemon listens, and until every play has ended."""
    with events_of(daemon) as events, playing(air) as player, listening(air) as ear:
        ear.hears()
        hears(daemon, events, LISTENER, air)
        given = time.monotonic()
        player.play(show.samples)
        began = ear.onset(0, LATE_S)

        def have_ended() -> bool:
            ended = {told.data["play"] for told in events.of("match.ended")}
            return len(ended) >= len(show.plays) and {told.data["play"] for told in events.of("match.started")} <= ended

        events.until(have_ended, LATE_S)
        return Heard(began, began - given, player.n_stutters(), list(events.told))


def read_show(daemon: OwnDaemon, show: Show) -> Heard:
    """Have the daemon listen to the show as a file, as fast as it goes: the same, but for time and for what transports do to it."""
    path = show.path.with_suffix(".wav")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        for first in range(0, len(show.samples), 60 * RATE_HZ):
            file.writeframes((show.samples[first : first + 60 * RATE_HZ] * 32767).astype("<i2").tobytes())
    with events_of(daemon) as events, Connection(daemon.control) as connection:
        connection.call("listen.add", {"name": LISTENER, "source": str(path), "once": True})
        while [one["state"] for one in connection.call("listen.list", {})["listeners"]] != ["ended"]:
            time.sleep(POLL_S)
        return Heard(None, 0.0, 0, list(events.told))


def judged(show: Show, heard: Heard) -> dict[str, Any]:
    """Return how well the listener told the show: each play, and what was told that did not play."""
    ended = {told.data["play"]: told.data for told in heard.told if told.topic == "match.ended"}
    started = [told for told in heard.told if told.topic == "match.started"]
    lag_s = _lag_s(show, heard, started, ended)
    rows, used = [], set()
    for play in show.plays:
        own = [told for told in started if _is_of(told, play, lag_s, ended)]
        used |= {told.data["play"] for told in own}
        row: dict[str, Any] = {**asdict(play), "n_reported": len(own)}
        if own:
            first, exact = own[0], ended.get(own[0].data["play"], own[0].data)
            row |= {
                "answer_s": (first.data["end_s"] - lag_s if heard.began is None else first.at - heard.began)
                - play.start_s,
                "answer_audio_s": first.data["end_s"] - lag_s - play.start_s,
                "confidence": first.data["confidence"],
                "start_error_s": exact["start_s"] - lag_s - play.start_s,
                "end_error_s": exact["end_s"] - lag_s - play.end_s,
                "track_error_s": exact["track_start_s"] - exact["start_s"] + lag_s - play.track_start_s + play.start_s,
                "exact": exact["exact"],
                "told": [told.data for told in own],
                "ended": [ended.get(told.data["play"]) for told in own],
            }
        rows.append(row)
    false = [
        {"at_s": told.data["start_s"] - lag_s, "started": told.data, "ended": ended.get(told.data["play"])}
        for told in started
        if told.data["play"] not in used
    ]
    states = [told.data for told in heard.told if told.topic == "listener.state"]
    return {
        "summary": _summary(rows, false, heard),
        "lag_s": lag_s,
        "plays": rows,
        "false": false,
        "others": show.others,
        "states": [state for state in states if state.get("listener") == LISTENER],
        "n_overruns": sum(told.topic == "listener.overrun" for told in heard.told),
    }


def _lag_s(show: Show, heard: Heard, started: list[Told], ended: dict[int, dict[str, Any]]) -> float:
    """Return the listener's clock less the show's, from where the plays that were told lie in their tracks: the median of them.

    A file is heard by its own clock.
    """
    lags_s = [
        float(exact["start_s"] - exact["track_start_s"] + play.track_start_s - play.start_s)
        for play in show.plays
        for told in started
        if play.track_id in (told.data["track"]["id"], *told.data["twins"])
        for exact in (ended.get(told.data["play"], told.data),)
    ]
    return float(np.median(lags_s)) if lags_s and heard.began is not None else 0.0


def _is_of(told: Told, play: Play, lag_s: float, ended: dict[int, dict[str, Any]]) -> bool:
    """Tell whether what was told is this play: the track, while it plays."""
    first_s = told.data["start_s"] - lag_s
    last_s = ended.get(told.data["play"], told.data)["end_s"] - lag_s
    of_it = play.track_id in (told.data["track"]["id"], *told.data["twins"])
    return of_it and first_s < play.end_s + NEAR_S and last_s > play.start_s - NEAR_S


def _summary(rows: list[dict[str, Any]], false: list[dict[str, Any]], heard: Heard) -> dict[str, Any]:
    told = [row for row in rows if row["n_reported"]]

    def within(limit_s: float, *errors: str) -> int:
        return sum(all(abs(row[error]) <= limit_s for error in errors) for row in told)

    def quantile(what: str, share: float) -> float | None:
        return round(float(np.quantile([row[what] for row in told], share)), 2) if told else None

    return {
        "n_plays": len(rows),
        "n_reported_once": sum(row["n_reported"] == 1 for row in rows),
        "n_false": len(false),
        "n_start_and_end_within_1_s": within(NEAR_S, "start_error_s", "end_error_s"),
        "n_track_position_within_0.3_s": within(NEAR_TRACK_S, "track_error_s"),
        "median_s_to_started": quantile("answer_s", 0.5),
        "p90_s_to_started": quantile("answer_s", 0.9),
        "delay_s": round(heard.delay_s, 2),
        "n_stutters": heard.n_stutters,
    }


def proof(
    music: Sequence[Path], unknown: list[Path], minutes: float, snr_db: float, *, through: str, seed: int
) -> dict[str, Any]:
    """Return what became of a playlist that is played in real time: see `judged`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="show")))
        environment: Mapping[str, str] = {}
        air: Air | None = None
        if through == "pulse":
            [air], environment = stack.enter_context(sound_cards())
        elif through != "file":
            [air] = stack.enter_context(station([through.partition(":")[2] or "mp3"]))
        daemon = stack.enter_context(own_daemon(environment=environment))
        library = Library(teach(daemon, music), unknown)
        show = make_show(folder / "show", library, minutes, snr_db, np.random.default_rng(seed))
        return judged(show, read_show(daemon, show) if air is None else hear_show(air, daemon, show))


def table(judgement: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table, a play a line, and what was told that did not play."""
    yield f"{'from':>7} {'to':>7}  {'track':28} {'after':8} {'told':>4} {'answer':>6} {'start':>6} {'end':>6} {'in track':>8}"
    for row in judgement["plays"]:
        line = (
            f"{row['start_s']:7.1f} {row['end_s']:7.1f}  {row['title'][:28]:28} {row['after']:8} {row['n_reported']:4d}"
        )
        if row["n_reported"]:
            line += f" {row['answer_s']:6.2f} {row['start_error_s']:6.2f} {row['end_error_s']:6.2f} {row['track_error_s']:8.2f}"
        yield line
    for false in judgement["false"]:
        told = false["started"]
        yield f"{false['at_s']:7.1f}          {told['track']['title'][:28]:28} does not play; confidence {told['confidence']}"


def main() -> None:
    """Play, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("music", type=Path, help="what the library holds: a folder, or a file that names one a line")
    parser.add_argument("--unknown", type=Path, help="music that it does not hold (every fourth of MUSIC)")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--snr", type=float, default=10.0, metavar="DB", help="how much softer the noise is (10)")
    parser.add_argument(
        "--through",
        help="``file`` is heard faster than it sounds",
        choices=["pulse", "icecast", "icecast:ogg", "file"],
        default="pulse",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every case")
    options = parser.parse_args()
    music = recordings_of(options.music)
    unknown = recordings_of(options.unknown) if options.unknown else music[3::4]
    music = [path for path in music if path not in set(unknown)]
    judgement = proof(music, unknown, options.minutes, options.snr, through=options.through, seed=options.seed)
    if options.json:
        options.json.write_text(json.dumps(judgement, indent=1))
    for line in table(judgement):
        print(line)
    print(json.dumps({"through": options.through, "minutes": options.minutes, **judgement["summary"]}))


if __name__ == "__main__":
    main()
