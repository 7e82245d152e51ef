"""dejavu's own test, of its README: ``python benchmarks/dejavu_readme.py [MUSIC…] --through pulse|icecast``.

45 tracks are in the library.  Of each, one clip of 1, 2 … 6 seconds from anywhere more than ten seconds from its ends is played, and somebody speaks and hums
over it, 10 dB softer than the music.  Dejavu, asked by its microphone, named 27, 43, 44, 44, 45 and 45 of them, after 1.36 times the time that it listened.

Here the microphone is the null sink of a PulseAudio, and the daemon is asked twice: by ``recognize mic``, and by a listener that hears all day and says by
itself when it is certain.  Through Icecast the clips are sent as mp3 of 160 kbit/s; there the query is what a client has received of the stream.

MUSIC: folders of recordings, or files that name one a line; without any, free music of Debian's packages.  The clips are drawn from the seed.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
import urllib.request
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from on_air import BLOCK_S, RATE_HZ, READY_S, Card, listening, playing, sound_cards, station
from own_daemon import own_daemon
from recordings import recordings_of
from told import events_of, hears
from voices import at_level, loudness, package, voice_over

from dejavuctl.connection import Connection
from dejavud.audio.decode import decode_audio, open_audio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from on_air import Air, Ear, Player
    from own_daemon import OwnDaemon
    from told import Events, Told

    Samples = NDArray[np.float32]

N_TRACKS, LENGTHS_S, FROM_ENDS_S, SNR_DB = 45, (1, 2, 3, 4, 5, 6), 10.0, 10.0
DEJAVU = (27, 43, 44, 44, 45, 45)
DEJAVU_LINE = (1.364757, -0.034373)
FREE_MUSIC = ("singularity-music", "asterisk-moh-opsound-wav", "drascula-music", "colobot-common-sounds")

LEVEL = 0.03
LEAD_S = 0.2
"""The voice speaks so long before and after the music."""
CARD_S = 0.15
"""What the sound card holds back."""
REST_S = 3.0
"""Silence between two clips."""
LATE_S = 15.0
"""A listener that says a clip later than so has not heard it."""
HELD_S = 30.0
EARLY_S = 0.6


@dataclass(slots=True)
class Clip:
    """A clip and what became of it; times are from its first music, in seconds.

    level_db : its loudness less its track's.
    asked : the answer to the query.
    """

    track_id: int
    title: str
    path: Path
    start_s: float
    length_s: int
    seed: int
    level_db: float = 0.0
    began: float = 0.0
    asked: dict[str, Any] = field(default_factory=dict)
    asked_s: float = 0.0
    told: dict[str, Any] | None = None
    told_s: float | None = None

    @property
    def is_right(self) -> bool:
        """Tell whether the query was answered with the track."""
        matches = self.asked.get("matches") or []
        return bool(matches) and self.track_id in (matches[0]["track"]["id"], *matches[0]["twins"])

    @property
    def is_wrong(self) -> bool:
        """Tell whether it was answered with another."""
        return bool(self.asked.get("matches")) and not self.is_right

    def sound(self) -> Samples:
        """Return it with the voice over it, and note how loud it is."""
        track = decode_audio(self.path, name=self.path.name, rate_hz=RATE_HZ)
        first = round(self.start_s * RATE_HZ)
        music = track[first : first + self.length_s * RATE_HZ]
        self.level_db = round(20 * float(np.log10(loudness(music, RATE_HZ) / loudness(track, RATE_HZ) + 1e-9)), 1)
        lead = round(LEAD_S * RATE_HZ)
        voice = at_level(voice_over(len(music) + 2 * lead, RATE_HZ, self.seed), LEVEL * 10 ** (-SNR_DB / 20), RATE_HZ)
        return np.clip(np.pad(at_level(music, LEVEL, RATE_HZ), lead) + voice, -1, 1).astype(np.float32)


class Asker(Protocol):
    """Asks the daemon what sounds in one place."""

    def listen(self, length_s: float) -> Callable[[float], dict[str, Any]]:
        """Begin to hear a clip of so many seconds that is about to be played; return what gives the answer, given when its voice began to sound."""


@dataclass(slots=True)
class AsksMicrophone:
    """By ``recognize mic``, for as long as the clip lasts.  late_s : from when a sound is played to when it is heard."""

    daemon: OwnDaemon
    card: Card
    pool: ThreadPoolExecutor
    late_s: float

    def listen(self, length_s: float) -> Callable[[float], dict[str, Any]]:
        """See `Asker`; returns when the microphone is open."""
        n_before = self.card.n_recording()
        heard_s = length_s + 2 * LEAD_S + self.late_s
        answer = self.pool.submit(self._ask, {"duration_s": heard_s, "device": self.card.sink})
        until = time.monotonic() + 10
        while self.card.n_recording() <= n_before and time.monotonic() < until and not answer.done():
            time.sleep(BLOCK_S)
        return lambda _began: answer.result()

    def _ask(self, params: dict[str, Any]) -> dict[str, Any]:
        with Connection(self.daemon.control) as connection:
            return dict(connection.call("recognize_microphone", params))


@dataclass(slots=True)
class AsksStream:
    """With what a client of the station has received of the clip, uploaded as it is."""

    daemon: OwnDaemon
    received: deque[tuple[float, bytes]]

    def listen(self, length_s: float) -> Callable[[float], dict[str, Any]]:
        """See `Asker`."""

        def answer(began: float) -> dict[str, Any]:
            until = began + length_s + 2 * LEAD_S
            while not self.received or self.received[-1][0] < until:
                time.sleep(BLOCK_S)
            data = b"".join(part for at, part in list(self.received) if began - EARLY_S <= at <= until)
            request = urllib.request.Request(f"{self.daemon.http}/v1/recognize?name=clip.mp3", data=data)  # noqa: S310 - of our own daemon
            with urllib.request.urlopen(request, timeout=60) as answered:  # noqa: S310
                return dict(json.load(answered))

        return answer


@contextmanager
def receiving(url: str) -> Iterator[deque[tuple[float, bytes]]]:
    """Give what a client of a station receives, and when, as far back as a clip goes."""
    received: deque[tuple[float, bytes]] = deque()
    closing = threading.Event()

    def receive() -> None:
        with urllib.request.urlopen(url, timeout=READY_S) as stream:  # noqa: S310 - of our own station
            while not closing.is_set() and (part := stream.read1(4096)):
                received.append((time.monotonic(), part))
                while received[0][0] < time.monotonic() - HELD_S:
                    received.popleft()

    thread = threading.Thread(target=receive)
    thread.start()
    try:
        yield received
    finally:
        closing.set()
        thread.join()


def chosen_of(music: Sequence[Path], rng: np.random.Generator) -> dict[Path, float]:
    """Return 45 of the recordings, or as many as there are, and how long each is in seconds: long enough for a clip away from its ends."""
    chosen: dict[Path, float] = {}
    for number in rng.permutation(len(music)):
        path = music[int(number)]
        with open_audio(path, name=path.name, rate_hz=RATE_HZ) as reader:
            duration_s = reader.info.duration_s or 0.0
        if duration_s >= 2 * FROM_ENDS_S + 2 * max(LENGTHS_S):
            chosen[path] = duration_s
        if len(chosen) == N_TRACKS:
            break
    return chosen


def clips_of(ids: Mapping[Path, int], durations_s: Mapping[Path, float], rng: np.random.Generator) -> list[Clip]:
    """Return a clip of each track a length, the shortest first, each length in an order of its own."""
    clips = []
    for length_s in LENGTHS_S:
        for number in rng.permutation(len(ids)):
            path = sorted(ids)[int(number)]
            start_s = float(rng.uniform(FROM_ENDS_S, durations_s[path] - FROM_ENDS_S - length_s))
            clips.append(Clip(ids[path], path.stem, path, start_s, length_s, int(rng.integers(1 << 30))))
    return clips


def play_clips(clips: Sequence[Clip], player: Player, ear: Ear, asker: Asker) -> None:
    """Play clip after clip and ask about each."""
    for clip in clips:
        sound = clip.sound()
        answer = asker.listen(clip.length_s)
        n_heard = len(ear.onsets)
        player.play(sound)
        voice_began = ear.onset(n_heard, 30)
        clip.began = voice_began + LEAD_S
        clip.asked = answer(voice_began)
        clip.asked_s = time.monotonic() - clip.began
        player.play(np.zeros(round(REST_S * RATE_HZ), np.float32))


def assign(clips: Sequence[Clip], told: Sequence[Told]) -> list[dict[str, Any]]:
    """Note on each clip what the listeners told of it; return what they told that was not played."""
    false = []
    for event in told:
        ids = (event.data["track"]["id"], *event.data["twins"])
        own = [
            clip
            for clip in clips
            if clip.track_id in ids and clip.began <= event.at <= clip.began + clip.length_s + LATE_S
        ]
        if own:
            own[-1].told, own[-1].told_s = own[-1].told or event.data, own[-1].told_s or event.at - own[-1].began
        else:
            false.append(event.data)
    return false


def proof(
    music: Sequence[Path], through: str, seed: int, n_lanes: int, lengths_s: Sequence[int] = LENGTHS_S
) -> dict[str, Any]:
    """Return every clip and what became of it, and what was told that was not played; `n_lanes` play at a time, each in a place of its own."""
    rng = np.random.default_rng(seed)
    chosen = chosen_of(music, rng)
    with ExitStack() as stack:
        environment: Mapping[str, str] = {}
        airs: Sequence[Air]
        if through == "pulse":
            airs, environment = stack.enter_context(sound_cards(n_lanes, CARD_S))
        else:
            airs = stack.enter_context(station(["mp3"] * n_lanes))
        daemon = stack.enter_context(own_daemon(environment=environment))
        answers = daemon.fingerprint([str(path) for path in chosen])
        ids = {Path(answer["source"]): answer["track"]["id"] for answer in answers if "track" in answer}
        clips = [clip for clip in clips_of(ids, chosen, rng) if clip.length_s in lengths_s]
        events = stack.enter_context(events_of(daemon))
        pool = stack.enter_context(ThreadPoolExecutor(2 * n_lanes))
        lanes = [stack.enter_context(_lane(air, daemon, events, pool)) for air in airs]
        for length_s in lengths_s:  # a track is played in one place at a time
            own = [clip for clip in clips if clip.length_s == length_s]
            done = [pool.submit(play_clips, own[number::n_lanes], *lane) for number, lane in enumerate(lanes)]
            for lane in done:
                lane.result()
        events.until(lambda: all(clip.told for clip in clips), LATE_S)
        false = assign(clips, events.of("match.started"))
    return {"n_tracks": len(ids), "through": through, "clips": [_shown(clip) for clip in clips], "false": false}


@contextmanager
def _lane(air: Air, daemon: OwnDaemon, events: Events, pool: ThreadPoolExecutor) -> Iterator[tuple[Player, Ear, Asker]]:
    """Give who plays, hears and asks in a place that the daemon listens to."""
    with ExitStack() as stack:
        player, ear = stack.enter_context(playing(air)), stack.enter_context(listening(air))
        ear.hears()
        hears(daemon, events, f"lane {air.source[-12:]}", air)
        given = time.monotonic()
        player.play(np.full(RATE_HZ // 10, LEVEL, np.float32))
        late_s = ear.onset(0, 30) - given
        asker: Asker
        if isinstance(air, Card):
            asker = AsksMicrophone(daemon, air, pool, late_s)
        else:
            asker = AsksStream(daemon, stack.enter_context(receiving(air.source)))
        yield player, ear, asker


def _shown(clip: Clip) -> dict[str, Any]:
    asked = {key: clip.asked.get(key) for key in ("matches", "duration_s", "timings")}
    return {
        **asdict(clip),
        "path": str(clip.path),
        "asked": asked,
        "is_right": clip.is_right,
        "is_wrong": clip.is_wrong,
    }


def table(result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table, a length a line, and the lines of time to answer against time played."""
    yield "| played | dejavu named | asked, named | wrongly | seconds to answer | a listener told | seconds to that |"
    yield "|---|---|---|---|---|---|---|"
    clips = result["clips"]
    for length_s, dejavu in zip(LENGTHS_S, DEJAVU, strict=True):
        own = [clip for clip in clips if clip["length_s"] == length_s]
        if not own:
            continue
        right, told = [clip for clip in own if clip["is_right"]], [clip for clip in own if clip["told"]]
        wrong = sum(clip["is_wrong"] for clip in own)
        yield (
            f"| {length_s} s | {dejavu} of 45 | {len(right)} of {len(own)} | {wrong} | {_median(right, 'asked_s')} "
            f"| {len(told)} of {len(own)} | {_median(told, 'told_s')} |"
        )
    for what, name in (("asked_s", "asked"), ("told_s", "listener")):
        had = [clip for clip in clips if (clip["told"] if what == "told_s" else clip["is_right"])]
        if len({clip["length_s"] for clip in had}) > 1:
            slope, base_s = np.polyfit([clip["length_s"] for clip in had], [clip[what] for clip in had], 1)
            yield f"time to answer, {name}: {slope:.2f} n {base_s:+.2f} s; dejavu: {DEJAVU_LINE[0]:.2f} n {DEJAVU_LINE[1]:+.2f} s"
    yield f"told, and not played: {len(result['false'])}"


def _median(clips: list[dict[str, Any]], what: str) -> str:
    return f"{np.median([clip[what] for clip in clips]):.2f}" if clips else "-"


def music_of(places: Sequence[Path]) -> list[Path]:
    """Return the recordings of folders and lists, or without any those that Debian has."""
    if not places:
        places = [folder for name in FREE_MUSIC if (folder := package(name))]
    return sorted({path for place in places for path in recordings_of(place)})


def main() -> None:
    """Play, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "music",
        type=Path,
        nargs="*",
        help="folders of recordings, or files that name one a line (free music of Debian's)",
    )
    parser.add_argument("--through", choices=["pulse", "icecast"], default="pulse")
    parser.add_argument(
        "--lanes", type=int, default=3, help="clips that play at a time, each in a place of its own (3)"
    )
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=list(LENGTHS_S), help="of the clips, in seconds (1 2 3 4 5 6)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every clip")
    options = parser.parse_args()
    result = proof(music_of(options.music), options.through, options.seed, options.lanes, options.lengths)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    for clip in result["clips"]:
        if not clip["is_right"] or not clip["told"]:
            answer = "wrong" if clip["is_wrong"] else "right" if clip["is_right"] else "none"
            told = "told" if clip["told"] else "not told"
            print(
                f"{clip['length_s']} s of {clip['title']} from {clip['start_s']:.1f} s, {clip['level_db']} dB: asked {answer}, {told}"
            )
    for line in table(result):
        print(line)


if __name__ == "__main__":
    main()
