"""The class `Dejavu`.

Every call blocks until it is done, and may come from any thread.  One that needs the services runs an event loop of its own for as
long as it takes; a folder is decoded in worker processes, everything else where it is called.
"""

from __future__ import annotations

import math
import os
import threading
import time
import weakref
from contextlib import ExitStack
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import trio

from dejavud.api.fingerprints import Fingerprints, Matches, meetings_by_song, pcm_of
from dejavud.api.folders import FolderReport, add_all, audio_files
from dejavud.api.opening import chosen
from dejavud.api.results import CountingMatcher, answer_of, song_of
from dejavud.api.songs import SongDatabase
from dejavud.audio.portaudio import list_devices
from dejavud.errors import DejavudError, InvalidRequest
from dejavud.fingerprint.profiles import params_of
from dejavud.index.open import open_index
from dejavud.matching.matcher import MatchRules
from dejavud.services.commands import no_progress
from dejavud.services.constellations import ConstellationCache
from dejavud.services.events import EventHub
from dejavud.services.hidden_main import hidden_main_module
from dejavud.services.ingest import Ingest, IngestSettings, TrackFile
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.microphones import Microphones
from dejavud.services.profiles import profile_of
from dejavud.services.recognizer import Recognizer, RecognizerSettings, match_of
from dejavud.services.workers import open_workers
from dejavud.values import Tags

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from dejavud.services.ingest import Ingested
    from dejavud.services.profiles import Matching
    from dejavud.services.workers import Workers
    from dejavud.values import Array, Recognition

T = TypeVar("T")

OLD_RATE_HZ = 44100
"""What the old library took samples to have where nobody said otherwise."""

_NO_DEADLINE_S = 86_400.0
"""A day: the caller waits for the answer itself, and can interrupt it."""


class SomeRecognizer(Protocol):
    """What `Dejavu.recognize` makes of the class it is given."""

    def recognize(self, *options: Any, **kwoptions: Any) -> Any:  # noqa: ANN401 - its own
        """Return what it heard."""
        ...


class Dejavu:
    """A library of recordings, opened in this process: for a ``with`` block, or until `close` or the end of the program.

    Parameters
    ----------
    config
        A database URL, as for ``dejavud --dburl``, or the dict of the old library.  None for the database that a
        ``dejavud`` started here would open: settings come from the same places.
    fingerprint_limit
        Seconds of each file that are fingerprinted, or heard of a query; None (or -1) for all of it.
    dburl
        The URL by the name that it had.

    Raises
    ------
    InvalidConfig
        A setting is wrong.
    UnsupportedDatabase
        This version cannot open the database that is named.
    IndexUnavailable
        And its like: the database is there and cannot be used now, for instance because a daemon has it open (`IndexLocked`).
    """

    def __init__(
        self,
        config: str | Mapping[str, Any] | None = None,
        fingerprint_limit: float | None = None,
        *,
        dburl: str | None = None,
    ) -> None:
        if config is not None and dburl is not None:
            raise InvalidRequest(reason="give the database as 'config' or as 'dburl', not both")
        choice = chosen(config if dburl is None else dburl, fingerprint_limit)
        self.fingerprint_limit = choice.limit_s
        self._config = choice.config
        self._profile = profile_of(params_of(choice.config.engine))
        asked = choice.config.recognize  # has every rule by its name
        self._rules = MatchRules(**{rule.name: getattr(asked, rule.name) for rule in fields(MatchRules)})
        with ExitStack() as stack:
            self._index = stack.enter_context(open_index(choice.config.data.url, self._profile.params))
            self._close = weakref.finalize(self, stack.pop_all().close)
        self._constellations = ConstellationCache(self._index)
        self._writing = threading.Lock()
        self.db = SongDatabase(self._index, self._writing, self._profile.params.hash_bits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database; every other call raises `IndexUnavailable` from then on.  Idempotent."""
        self._close()

    # -- songs ------------------------------------------------------------------------------------------------------

    def fingerprint_file(self, path: str | os.PathLike[str], song_name: str | None = None) -> str:
        """Add the file at `path` and return the SHA1 of its bytes, 40 hex digits; a content that is known stays as it is.

        song_name : what results call it, instead of the stem of its file.

        Raises `UnreadableFile`, `UnsupportedAudio`, `NoFingerprint`, and what the index raises.
        """
        outcomes: list[Ingested | DejavudError] = []
        ingest = partial(self._ingest, InlineWorkers(), [self._track_file(Path(path), song_name)], n_at_once=1)
        with self._writing:
            self._run(partial(ingest, lambda _file, outcome: outcomes.append(outcome)))
        if isinstance(outcomes[0], DejavudError):
            raise outcomes[0]
        return outcomes[0].track.file_sha1

    def fingerprint_directory(
        self,
        path: str | os.PathLike[str],
        extensions: Iterable[str] | None = None,
        nprocesses: int | None = None,
        *,
        progress: Callable[[int, int, str], object] | None = None,
    ) -> FolderReport:
        """Add the audio files below the folder at `path`, and return what became of each; a bad file hinders no other.

        Files whose content is known are not decoded again.  Interrupted, it keeps what was committed until then.

        Parameters
        ----------
        extensions
            ``["mp3", ".flac"]``; None for what is usually audio.
        nprocesses
            Worker processes; None for one a core.
        progress
            Called with (files done, files in all, path) after each file.

        Raises
        ------
        UnreadableFile
            The folder is none, or cannot be read.
        IndexUnavailable
            And its like: nothing can be stored.
        """
        if isinstance(extensions, str):
            raise InvalidRequest(reason=f"extensions must be a list of them, such as [{extensions!r}]")
        return self.fingerprint_files(audio_files(Path(path).expanduser(), extensions), nprocesses, progress=progress)

    def fingerprint_files(
        self,
        paths: Iterable[str | os.PathLike[str]],
        nprocesses: int | None = None,
        *,
        progress: Callable[[int, int, str], object] | None = None,
    ) -> FolderReport:
        """Add these files, and return what became of each, as `fingerprint_directory` does for those of a folder."""
        if nprocesses is not None and (isinstance(nprocesses, bool) or nprocesses < 1):
            raise InvalidRequest(reason=f"nprocesses must be at least 1, or None for one a core, not {nprocesses!r}")
        files = [self._track_file(Path(path)) for path in paths]
        report = FolderReport()

        def tell(file: TrackFile, outcome: Ingested | DejavudError) -> None:
            report.note(file.path, outcome)
            if progress is not None:
                progress(len(report), len(files), str(file.path))

        n_processes = min(nprocesses or self._config.workers.processes or len(os.sched_getaffinity(0)), len(files))
        if files:
            with self._writing, hidden_main_module():
                self._run(partial(self._ingest_in_processes, files, tell, n_processes=n_processes))
        return report

    def get_fingerprinted_songs(self) -> list[dict[str, Any]]:
        """Return every song; see `SongDatabase.get_songs`."""
        return self.db.get_songs()

    def delete_songs_by_id(self, song_ids: Sequence[int]) -> list[int]:
        """Delete songs and return the ids of those that were there."""
        return self.db.delete_songs_by_id(song_ids)

    # -- queries ----------------------------------------------------------------------------------------------------

    def recognize(
        self,
        recognizer: Callable[[Dejavu], SomeRecognizer],
        *options: Any,  # noqa: ANN401 - the recognizer's own
        **kwoptions: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Return what ``recognizer(self).recognize(*options, **kwoptions)`` does; see `dejavud.recognize`."""
        return recognizer(self).recognize(*options, **kwoptions)

    def recognize_file(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what the file at `path` is, in the shape of the old library: its times, and ``results``, empty for no match.

        Of a file that is longer than ``recognize.max_query_s`` of the configuration only so much is heard.  Raises
        `UnreadableFile` and `UnsupportedAudio`.
        """
        file = Path(path).expanduser()
        return self._recognize(
            lambda recognizer: recognizer.recognize_file(file, file.name, limit_s=self.fingerprint_limit)
        )

    def recognition(self, path: str | os.PathLike[str], *, min_confidence: float | None = None) -> Recognition:
        """Return what the file at `path` is, as `dejavud.values.Recognition`: matches with their stretches and speed, and times.

        min_confidence : 0 to 1, instead of the configuration's; 0 tells the best guess, however unsure.  Raises as `recognize_file`.
        """
        rules = self._rules if min_confidence is None else replace(self._rules, min_confidence=min_confidence)
        file = Path(path).expanduser()
        return self._ask(
            lambda recognizer: recognizer.recognize_file(file, file.name, limit_s=self.fingerprint_limit),
            self._profile.matching(rules),
        )

    def recognize_microphone(self, seconds: float, *, device: str | int | None = None) -> dict[str, Any]:
        """Listen for `seconds` and return what was heard, as `recognize_file` does; raises `MicrophoneUnavailable`.

        device : its number, its name or a part of the name; None for the default one.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
            raise InvalidRequest(reason=f"seconds must be a number above 0, not {seconds!r}")
        return self._recognize(lambda recognizer: recognizer.recognize_microphone(seconds, device, no_progress))

    def generate_fingerprints(
        self,
        samples: Sequence[int] | Array,
        Fs: float = OLD_RATE_HZ,  # noqa: N803 - its old name
    ) -> tuple[Fingerprints, float]:
        """Return the hashes of one channel of PCM as a query, and the seconds it took; see `pcm_of` for `samples`."""
        started_s = time.perf_counter()
        pcm = pcm_of(samples, Fs)
        query = self._profile.jobs.query_pcm(pcm, round(Fs), self._profile.params)
        if query.samples is not None and self._profile.query_fully:
            query = self._profile.query_fully(query.samples, self._profile.params)
        return Fingerprints(query.fingerprint), time.perf_counter() - started_s

    def find_matches(self, hashes: Fingerprints) -> tuple[Matches, dict[int, int], float]:
        """Return where a query's hashes are met, how many meetings each song has, and the seconds it took.

        hashes : from `generate_fingerprints`; for others there is ``db.return_matches``.
        """
        if not isinstance(hashes, Fingerprints):
            reason = "find_matches takes what generate_fingerprints returns; db.return_matches takes any (hash, offset) pairs"
            raise InvalidRequest(reason=reason)
        started_s = time.perf_counter()
        hits = self._index.lookup(hashes.query.hashes)
        return Matches(hashes.query, hits), meetings_by_song(hits), time.perf_counter() - started_s

    def align_matches(
        self,
        matches: Matches,
        dedup_hashes: Mapping[int, int] | None = None,  # noqa: ARG002 - taken as it was; `matches` knows
        queried_hashes: int | None = None,  # noqa: ARG002
        topn: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return the songs that sound in the query, the surest first, as ``results`` lists them; empty when none is sure enough.

        matches : from `find_matches`.  topn : songs at most; None for as many as a recognition names.
        """
        if not isinstance(matches, Matches):
            raise InvalidRequest(reason="align_matches takes what find_matches returns")
        if topn is not None and topn < 1:
            raise InvalidRequest(reason=f"topn must be at least 1, not {topn}")
        rules = replace(self._rules, max_matches=topn or self._rules.max_matches)
        counting = CountingMatcher(self._profile.matching(rules))
        n_frames = self._index.statistics().duration_s * self._profile.frames_per_s
        query, frame_s = matches.query, self._profile.frame_s(matches.query)
        alignments = counting.match(query, matches.hits, self._constellations.read, n_frames)
        tracks = {track.id: track for track in self._index.tracks(ids=[a.track_id for a in alignments])}
        found = [
            match_of(alignment, tracks[alignment.track_id], query.duration_s, frame_s)
            for alignment in alignments
            if alignment.track_id in tracks
        ]
        return [
            song_of(
                match,
                frame_s=frame_s,
                n_hashes=len(query.hashes),
                n_aligned=counting.n_aligned[match.track.id],
                query_s=query.duration_s,
            )
            for match in found
        ]

    # -- how --------------------------------------------------------------------------------------------------------

    def _recognize(self, ask: Callable[[Recognizer], Awaitable[Recognition]]) -> dict[str, Any]:
        counting = CountingMatcher(self._profile.matching(self._rules))
        return answer_of(self._ask(ask, counting.match), counting.n_aligned)

    def _ask(self, ask: Callable[[Recognizer], Awaitable[Recognition]], match: Matching) -> Recognition:
        workers, rate_hz = InlineWorkers(), self._profile.microphone_hz
        recognizer = Recognizer(
            self._index,
            workers,
            EventHub(),
            self._profile.params,
            match=match,
            settings=RecognizerSettings(
                self._config.recognize.max_query_s,
                _NO_DEADLINE_S,
                self._profile.search_scales(self._config.recognize.speed_search),
            ),
            microphones=Microphones(workers, rate_hz, list_devices=list_devices),
            constellations=self._constellations,
        )
        return self._run(partial(ask, recognizer))

    async def _ingest_in_processes(
        self,
        files: Sequence[TrackFile],
        tell: Callable[[TrackFile, Ingested | DejavudError], None],
        *,
        n_processes: int,
    ) -> None:
        n_at_once = 2 * n_processes  # while one of a pair is decoded, the other is read, or waits for its commit
        async with open_workers(n_processes=n_processes, max_waiting=2 * n_at_once) as workers:
            await self._ingest(workers, files, tell, n_at_once=n_at_once)

    async def _ingest(
        self,
        workers: Workers,
        files: Sequence[TrackFile],
        tell: Callable[[TrackFile, Ingested | DejavudError], None],
        *,
        n_at_once: int,
    ) -> None:
        settings = IngestSettings(timeout_s=self._config.limits.ingest_s, reports_duplicates=False)
        ingest = Ingest(self._index, workers, EventHub(), self._profile.params, settings)
        await add_all(ingest, files, tell, n_at_once=n_at_once)

    def _track_file(self, path: Path, song_name: str | None = None) -> TrackFile:
        """Return what to add.  A name of the caller's own is the track's title, and goes before the stem of a path that is kept."""
        file = Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - absolute(), but without the parts that are ".."
        kept_path = str(file) if song_name is None else None
        return TrackFile(file, file.name, kept_path, Tags(title=song_name), self.fingerprint_limit)

    def _run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run `function` in an event loop of its own, and raise the one thing that went wrong in it."""
        if trio.lowlevel.in_trio_run():
            reason = "this call blocks, and would block the event loop it comes from: use trio.to_thread.run_sync"
            raise InvalidRequest(reason=reason)

        async def run() -> T:
            return await function()

        try:
            return trio.run(run)
        except BaseExceptionGroup as group:
            raise _first_of(group) from None


def _first_of(error: BaseException) -> BaseException:
    """Return the exception that a group, which a caller without an event loop does not expect, was made of."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
