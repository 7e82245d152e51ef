"""Two tracks at once: ``python benchmarks/mixes.py FOLDER|REFS.txt`` says how often both are named, and how exactly from when to when.

Pairs of ten seconds, drawn from the recordings of a folder (or of a file that names one a line) at equal loudness: mixed, the second softer by
some dB; cross-faded over four seconds; cut from one to the other.  One process, as the daemon would do it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recordings import recordings_of

from dejavud.audio.decode import decode_audio
from dejavud.audio.tags import read_tags
from dejavud.fingerprint.extractor import TrackExtractor, fingerprint_query, fingerprint_quickly, track_hashes
from dejavud.fingerprint.params import Params
from dejavud.index.memory import MemoryIndex
from dejavud.matching.matcher import Matcher, MatchRules
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dejavud.values import Alignment

    Array = NDArray[Any]

PARAMS = Params()
CLIP_S, CUT_S, FADE_S = 10.0, 6.0, (3.0, 7.0)
SOFTER_DB = (0, 6, 12)


def stored(path: Path, number: int) -> tuple[NewTrack, Array]:
    """Return a recording as the index stores it, and its samples."""
    samples = decode_audio(path, name=path.name, rate_hz=PARAMS.rate_hz)
    extractor = TrackExtractor(PARAMS)
    extractor.feed(samples)
    constellation = extractor.finish()
    title, duration_s = read_tags(path, path.name).title or path.stem, PARAMS.samples_to_seconds(len(samples))
    hashes = track_hashes(constellation, PARAMS)
    return NewTrack(title, None, None, str(path), f"{number:040x}", duration_s, constellation, hashes), samples


def asked(index: MemoryIndex, samples: Array) -> Sequence[Alignment]:
    """Return what sounds in `samples`, with no more effort than it takes."""
    matcher, n_frames = Matcher(PARAMS, MatchRules()), index.statistics().duration_s * PARAMS.frames_per_s
    for fingerprint, match in ((fingerprint_quickly, matcher.match_quickly), (fingerprint_query, matcher.match)):
        query = fingerprint(samples.astype(np.float32), PARAMS)
        answers = match(query, index.lookup(query.hashes), index.constellations, n_frames)
        if answers:
            return answers
    return ()


def clip(samples: Array, rng: np.random.Generator) -> Array:
    """Return ten seconds from anywhere, at a loudness that all clips share."""
    n_samples = PARAMS.seconds_to_samples(CLIP_S)
    start = int(rng.integers(0, len(samples) - n_samples))
    part = samples[start : start + n_samples]
    return part * (0.1 / (np.sqrt(np.mean(part**2)) + 1e-9))


def made(one: Array, other: Array) -> dict[str, Array]:
    """Return every way in which two clips sound together."""
    time_s = np.arange(len(one)) / PARAMS.rate_hz
    fading = np.clip((FADE_S[1] - time_s) / (FADE_S[1] - FADE_S[0]), 0, 1)
    mixes = {f"mixed, the second {db} dB softer": one + other * 10 ** (-db / 20) for db in SOFTER_DB}
    return mixes | {
        f"cross-faded over {FADE_S[1] - FADE_S[0]:g} s": one * fading + other * (1 - fading),
        "cut from one to the other": np.where(time_s < CUT_S, one, other),
    }


def main() -> None:
    """Make the pairs, ask, count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recordings", type=Path, help="a folder of recordings, or a file that names one a line")
    parser.add_argument("--pairs", type=int, default=60, help="pairs of clips (60)")
    options = parser.parse_args()
    index, recordings = MemoryIndex(), []
    for number, path in enumerate(recordings_of(options.recordings)):
        entry, samples = stored(path, number)
        if entry.duration_s > 3 * CLIP_S:
            [track] = index.add([entry])
            recordings.append((track.id, samples))
    rng, others = np.random.default_rng(5), 0
    named: dict[str, list[tuple[bool, bool]]] = {}
    errors_s: list[float] = []
    for _ in range(options.pairs):
        (first, one), (second, other) = (recordings[k] for k in rng.choice(len(recordings), 2, replace=False))
        for kind, samples in made(clip(one, rng), clip(other, rng)).items():
            answers = asked(index, samples)
            by_track = {track_id: answer for answer in answers for track_id in (answer.track_id, *answer.twins)}
            named.setdefault(kind, []).append((first in by_track, second in by_track))
            others += sum(not {first, second} & {answer.track_id, *answer.twins} for answer in answers)
            if kind.startswith("cut") and {first, second} <= set(by_track):
                ends = by_track[first].last_frame, by_track[second].first_frame
                errors_s += [abs(PARAMS.frames_to_seconds(frame) - CUT_S) for frame in ends]
    print("| | first named, % | second named, % |\n|---|---|---|")
    for kind, pairs in named.items():
        print(f"| {kind} | {100 * np.mean(pairs, axis=0)[0]:.0f} | {100 * np.mean(pairs, axis=0)[1]:.0f} |")
    print(
        f"\n{options.pairs} pairs of {len(recordings)} recordings; tracks named that do not sound: {others}; where one is cut to the other,"
    )
    print(f"the ends are {np.median(errors_s):.2f} s off in the median, {max(errors_s):.2f} s at most")


if __name__ == "__main__":
    main()
