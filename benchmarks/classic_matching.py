"""How well a library of dejavu's own hashes is asked: dejavu's answer, ours at its threshold, and whether the confidence is one.

    python benchmarks/classic_matching.py MUSIC_FOLDER [--profile classic/dejavu-2020] [--tracks 120] [--seed 1]

A third of the recordings is held out; clips of 2, 5 and 10 s are cut from all of them, clean and under white noise 10 dB below.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from dejavud.api.folders import audio_files
from dejavud.audio.decode import open_audio, open_channels
from dejavud.errors import DejavudError
from dejavud.fingerprint.classic_extractor import ClassicExtractor
from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.index.memory import MemoryIndex
from dejavud.matching.classic_matcher import ClassicMatcher
from dejavud.matching.matcher import MatchRules
from dejavud.services.classic_jobs import fingerprint_file
from dejavud.values import NewTrack

LENGTHS_S = (2, 5, 10)
HEARD_S = 90.0
"""Of each recording: enough to cut from, and quick."""
CLIPS = 3
"""Of each length and condition from each recording."""
MIN_RECORDING_S = 30.0
"""Shorter ones are noises of games and the like."""
NOISE_DB = -10.0
BEST_GUESS = MatchRules(min_confidence=0.0, min_coverage=0.0)
RULES = MatchRules()


@dataclass(frozen=True, slots=True)
class Answer:
    """The best place of one query: whether dejavu would be right with it, and whether we answer, how surely."""

    known: bool
    right: bool
    answered: bool
    confidence: float


def different_recordings(folder: Path) -> list[Path]:
    """Return the recordings below `folder`, each content once."""
    by_content: dict[str, Path] = {}
    for path in audio_files(folder, None):
        by_content.setdefault(hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest(), path)
    return sorted(path for path in by_content.values() if duration_s(path) >= MIN_RECORDING_S)


def duration_s(path: Path) -> float:
    """Return how long a recording says it is, 0 for what is none."""
    try:
        with open_audio(path, name=path.name, rate_hz=None) as reader:
            return reader.info.duration_s or 0.0
    except DejavudError:
        return 0.0


def fill(index: MemoryIndex, paths: list[Path], params: Any) -> dict[Path, int]:  # noqa: ANN401 - of a generation
    """Put recordings into the index and return their ids."""
    entries: dict[Path, NewTrack] = {}
    for number, path in enumerate(paths):
        made = fingerprint_file(path, path.name, params, HEARD_S)
        sha1 = f"{number:040x}"
        entries[path] = NewTrack(
            path.stem, None, None, str(path), sha1, made.duration_s, made.constellation, made.hashes
        )
    return {path: track.id for path, track in zip(entries, index.add(list(entries.values())), strict=True)}


def ask(index: MemoryIndex, samples: Any, rate_hz: int, params: Any, track_id: int | None) -> Answer:  # noqa: ANN401
    """Ask one clip, int16 [n_channels, n], of which `track_id` is the truth."""
    extractor = ClassicExtractor(params, rate_hz)
    extractor.feed(np.ascontiguousarray(samples))
    query = extractor.query()
    hits = index.lookup(query.hashes)
    guesses = ClassicMatcher(BEST_GUESS).match(query, hits, lambda _ids: {}, 0.0)
    sure = ClassicMatcher(RULES).match(query, hits, lambda _ids: {}, 0.0)
    if not guesses:
        return Answer(track_id is not None, right=False, answered=False, confidence=0.0)
    best = sure[0] if sure else guesses[0]
    return Answer(track_id is not None, best.track_id == track_id, bool(sure), best.confidence)


def noisy(samples: Any, rng: np.random.Generator) -> Any:  # noqa: ANN401 - arrays
    """Return the clip under white noise."""
    level = np.sqrt(np.mean(samples.astype(float) ** 2) + 1) * 10 ** (NOISE_DB / 20)
    return np.clip(samples + level * rng.normal(size=samples.shape), -32768, 32767).astype(np.int16)


def measure(folder: Path, profile: str, n_tracks: int, seed: int) -> dict[tuple[str, int], list[Answer]]:
    """Return the answers by condition and length."""
    chance, rng = random.Random(seed), np.random.default_rng(seed)  # noqa: S311 - a draw, no secret
    params = GENERATIONS[profile.removeprefix("classic/")]
    paths = different_recordings(folder)
    chance.shuffle(paths)
    paths = paths[:n_tracks]
    index = MemoryIndex()
    ids = fill(index, paths[: 2 * len(paths) // 3], params)
    held_out = paths[2 * len(paths) // 3 :]
    print(f"{len(ids)} tracks, {index.statistics().n_postings} postings; {len(held_out)} held out")
    answers: dict[tuple[str, int], list[Answer]] = defaultdict(list)
    for path in [*ids, *held_out]:
        with open_channels(path, name=path.name, limit_s=HEARD_S) as reader:
            samples, rate_hz = np.concatenate(list(reader), axis=1), reader.rate_hz
        for length_s in LENGTHS_S:
            for _ in range(CLIPS):
                start = chance.randrange(samples.shape[1] - length_s * rate_hz)
                clip = samples[:, start : start + length_s * rate_hz]
                answers["clean", length_s].append(ask(index, clip, rate_hz, params, ids.get(path)))
                answers["noise", length_s].append(ask(index, noisy(clip, rng), rate_hz, params, ids.get(path)))
    return answers


def report(answers: dict[tuple[str, int], list[Answer]]) -> None:
    """Print the table by condition and length, and the confidences against what they came to."""
    print(
        "condition length | known: dejavu right, we answer rightly, wrongly | unknown: n, answered, surest below the threshold"
    )
    for (condition, length_s), of_one in sorted(answers.items()):
        known, unknown = ([a for a in of_one if a.known is kind] for kind in (True, False))
        shares = [
            np.mean([a.right for a in known]),
            np.mean([a.right and a.answered for a in known]),
            np.mean([a.answered and not a.right for a in known]),
        ]
        surest = max((a.confidence for a in unknown if not a.answered), default=0.0)
        n_answered = sum(a.answered for a in unknown)
        print(
            f"{condition:9} {length_s:4} s | {' '.join(f'{100 * share:6.1f}' for share in shares)} | "
            f"{len(unknown):5} {n_answered:3} {surest:.3f}"
        )
    every = [a for of_one in answers.values() for a in of_one]
    print("confidence      n   of them right")
    edges = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 1.01)
    for low, high in pairwise(edges):
        within = [a for a in every if low <= a.confidence < high]
        if within:
            print(f"{low:.2f} to {min(high, 1.0):.2f} {len(within):5}   {np.mean([a.right for a in within]):.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--profile", default="classic/dejavu-2020", choices=[p.profile for p in GENERATIONS.values()])
    parser.add_argument("--tracks", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    report(measure(given.folder, given.profile, given.tracks, given.seed))


if __name__ == "__main__":
    main()
