"""An evaluation from its folder to its queries: index, cut, degrade, ask."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dejavud.api import Dejavu
from dejavud.api.folders import audio_files
from dejavud.audio.clip import write_wav
from dejavud.audio.decode import open_audio
from dejavud.errors import DejavudError, InvalidRequest
from dejavud.evaluation.clips import Cutter, prefix, reason_of, split
from dejavud.evaluation.conditions import conditions_of
from dejavud.evaluation.configuration import own_configuration
from dejavud.evaluation.degrade import degraded, to_engine
from dejavud.evaluation.queries import MAX_OFF_S, Outcome, Query, plays_the_same
from dejavud.fingerprint.extractor import TrackExtractor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dejavud.config import Config
    from dejavud.evaluation.clips import Cut
    from dejavud.evaluation.conditions import Condition
    from dejavud.evaluation.progress import Progress
    from dejavud.evaluation.settings import EvaluateSettings
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array, Constellation, Match

KNOWN, UNKNOWN = 0, 1
"""The pools that clips are drawn from."""
FEW_FILES = 8
"""Fingerprinted here: worker processes take longer to start than these take to fingerprint, and ids follow the order of the files."""


@dataclass(slots=True)
class Library:
    """What was indexed and what was not.

    kept, held_out : the recordings, by path; `held_out` are not in the index.
    n_found : audio files in the folder; n_same : of those, files of the same content as another, which are left out.
    failed : by path, why a recording could not be fingerprinted.
    index_bytes : on the disk, closed; index_s : what making it took.
    """

    kept: tuple[Path, ...]
    held_out: tuple[Path, ...]
    n_found: int
    n_same: int
    failed: dict[Path, str] = field(default_factory=dict)
    index_bytes: int = 0
    index_s: float = 0.0


@dataclass(slots=True)
class Results:
    """All that was measured.

    skipped : by path, why a recording gave no clip.
    interrupted : whether Ctrl-C ended it before its time.
    """

    settings: EvaluateSettings
    config: Config
    library: Library
    queries: list[Query] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    interrupted: bool = False


def evaluate(settings: EvaluateSettings, progress: Progress) -> Results:
    """Measure; Ctrl-C ends the asking and keeps what was measured.

    Raises what `own_configuration` does, `InvalidRequest` where the folder has nothing to evaluate, and `UnreadableFile` where it cannot be read.
    """
    config = own_configuration()
    results = Results(settings, config, choose(settings))
    with TemporaryDirectory(prefix="dejavud-evaluate-") as folder:
        data, clip = Path(folder, "index"), Path(folder, "clip.wav")
        data.mkdir()
        with Dejavu(f"duckdb:///{data}/evaluation.duckdb") as index:
            fill(index, results.library, progress)
            with _until_interrupted() as stop:
                _ask_all(results, _Asker(index, clip, config.engine), progress, stop)
            results.interrupted = bool(stop)
        results.library.index_bytes = sum(file.stat().st_size for file in data.iterdir())
    if not results.queries:
        if results.interrupted:
            raise KeyboardInterrupt
        raise InvalidRequest(reason=_why_nothing(results))
    return results


def choose(settings: EvaluateSettings) -> Library:
    """Return the recordings of the folder, drawn and split by the settings' seed; files of one content count once."""
    found = [Path(os.path.abspath(path)) for path in audio_files(Path(settings.folder), None)]  # noqa: PTH100 - absolute() keeps ".."
    if not found:
        raise InvalidRequest(reason=f"there is no audio file in {settings.folder}")
    different = _of_different_content(found)
    parts = split(different, settings.hold_out, settings.n_tracks, settings.seed)
    return Library(parts.kept, parts.held_out, len(found), len(found) - len(different))


def fill(index: Dejavu, library: Library, progress: Progress) -> None:
    """Fingerprint the recordings to keep into `index`; what cannot be is noted in `library`, and no longer kept."""
    started = time.perf_counter()
    progress.begin(f"fingerprinting {len(library.kept)} recordings")
    n_kept = len(library.kept)
    if n_kept <= FEW_FILES:
        for n_done, path in enumerate(library.kept):
            progress.show(n_done, n_kept)
            try:
                index.fingerprint_file(path)
            except DejavudError as error:
                library.failed[path] = reason_of(error)
    else:
        report = index.fingerprint_files(library.kept, progress=lambda done, total, _path: progress.show(done, total))
        library.failed |= {Path(path): reason_of(error) for path, error in report.failed.items()}
    progress.end()
    library.kept = tuple(path for path in library.kept if path not in library.failed)
    library.index_s = time.perf_counter() - started
    if not library.kept:
        path, reason = next(iter(library.failed.items()))
        raise InvalidRequest(reason=f"no recording could be fingerprinted; the first, {path.name}: {reason}")


def _ask_all(results: Results, asker: _Asker, progress: Progress, stop: Sequence[bool]) -> None:
    """Ask about every clip in every condition and length: clip by clip, so that what Ctrl-C leaves is in proportion."""
    settings, library = results.settings, results.library
    conditions = conditions_of(settings.conditions)
    cutter = Cutter(longest_s=settings.lengths_s[-1], padding_s=settings.padding_s, seed=settings.seed)
    n_unknown = (settings.n_clips + 1) // 2 if library.held_out else 0
    known = cutter.draw(library.kept, settings.n_clips, KNOWN)
    unknown = cutter.draw(library.held_out, n_unknown, UNKNOWN)
    n_total = (settings.n_clips + n_unknown) * len(conditions)
    n_done = 0
    progress.begin("asking about clips")
    for cut, is_known in _two_to_one(known, unknown):
        for condition in conditions:
            progress.show(n_done, n_total)
            for query in asker.ask(cut, condition, settings, is_known=is_known):
                if stop:
                    break
                results.queries.append(query)
            n_done += 1
        if stop:
            break
    results.skipped = cutter.skipped
    progress.end()


class _Asker:
    """Asks an index about clips."""

    def __init__(self, index: Dejavu, clip: Path, params: Params) -> None:
        self._index = index
        self._clip = clip
        self._params = params

    def ask(self, cut: Cut, condition: Condition, settings: EvaluateSettings, *, is_known: bool) -> Iterator[Query]:
        """Yield what comes of each length of `cut` under `condition`."""
        samples = heard(cut.samples, condition, settings, cut.number, self._params, is_known=is_known)
        for length_s in settings.lengths_s:
            write_wav(self._clip, prefix(samples, length_s, self._params.rate_hz), self._params.rate_hz)
            recognition = self._index.recognition(self._clip)
            timings = recognition.timings
            if not (answered := bool(recognition.matches)):  # what it would have said, for the figures about confidence
                recognition = self._index.recognition(self._clip, min_confidence=0.0)
            best = recognition.matches[0] if recognition.matches else None
            outcome, start_s = Outcome.SILENT, None
            if best is not None:
                start_s = best.offset_s
                if answered:
                    outcome = self._judge(cut, best, start_s, length_s, is_known=is_known)
            yield Query(
                known=is_known,
                clip=cut.number,
                path=str(cut.path),
                start_s=cut.start_s,
                condition=condition.name,
                length_s=length_s,
                outcome=outcome,
                answer=best.track.path if best else None,
                confidence=best.confidence if best else 0.0,
                score=best.score if best else 0.0,
                answer_start_s=start_s,
                ms=timings.total_ms - timings.decode_ms,
            )

    def _judge(self, cut: Cut, best: Match, start_s: float, length_s: float, *, is_known: bool) -> Outcome:
        """Return what an answer is worth that places `cut` at `start_s` of the track of `best`."""
        if best.track.path != str(cut.path):
            return Outcome.WRONG if is_known else Outcome.FALSE
        if abs(start_s - cut.start_s) <= MAX_OFF_S:
            return Outcome.RIGHT
        track = constellation_of(cut.path, self._params)
        repeats = plays_the_same(track, cut.start_s, start_s, length_s, self._params)
        return Outcome.REPEAT if repeats else Outcome.MISPLACED


def heard(
    samples: Array, condition: Condition, settings: EvaluateSettings, number: int, params: Params, *, is_known: bool
) -> Array:
    """Return a clip as the engine gets it: degraded and at its rate, the longest of the settings' lengths."""
    seed = [settings.seed, KNOWN if is_known else UNKNOWN, number]
    return to_engine(degraded(samples, condition, settings.lengths_s[-1], seed), params.rate_hz)


@lru_cache(maxsize=16)
def constellation_of(path: Path, params: Params) -> Constellation:
    """Return the constellation that the index has of the recording at `path`."""
    extractor = TrackExtractor(params)
    with open_audio(path, name=str(path), rate_hz=params.rate_hz) as reader:
        for block in reader:
            extractor.feed(block)
    return extractor.finish()


def _two_to_one(known: Iterator[Cut], unknown: Iterator[Cut]) -> Iterator[tuple[Cut, bool]]:
    """Yield two known clips, then an unknown one, and so on; each with whether it is known."""
    pairs = zip_longest(known, known)
    for pair, stranger in zip_longest(pairs, unknown):
        yield from ((cut, True) for cut in pair or () if cut is not None)
        if stranger is not None:
            yield stranger, False


@contextmanager
def _until_interrupted() -> Iterator[list[bool]]:
    """Give a list that Ctrl-C puts something into; a second Ctrl-C interrupts as ever."""
    pressed: list[bool] = []

    def press(*_: object) -> None:
        pressed.append(True)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _of_different_content(paths: Sequence[Path]) -> list[Path]:
    """Return `paths` without those whose bytes an earlier one has; what cannot be read stays, and fails where it is used."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        by_size[path.stat().st_size if path.exists() else -1].append(path)
    same = set()
    for size_bytes, alike in by_size.items():
        if len(alike) > 1 and size_bytes > 0:
            seen: set[str] = set()
            for path in alike:
                digest = _digest(path)
                if digest in seen:
                    same.add(path)
                seen.add(digest)
    return [path for path in paths if path not in same]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(path)


def _why_nothing(results: Results) -> str:
    reasons = [f"{path.name}: {reason}" for path, reason in results.skipped.items()]
    why = f"; the first, {reasons[0]}" if reasons else ": they are silent"
    return f"no recording gives a clip{why}; try a smaller --padding, or shorter --lengths"
