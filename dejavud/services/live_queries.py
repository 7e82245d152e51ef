"""Queries that are still being made: what has come of the sound so far is looked at about once a second, until a look is certain.

The sound goes into a file as it comes.  A look is a short job of the shared workers that reads that file anew, and so costs nothing between two of
them, however many queries are open; what a decoder makes of half a packet at its end is of no concern to the next look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import trio

from dejavud.errors import Busy, DejavudError, Timeout, UnsupportedAudio
from dejavud.services import listen_jobs
from dejavud.services.heard_plays import Candidate
from dejavud.services.meters import CandidateNames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dejavud.audio.pcm_format import PcmFormat
    from dejavud.index.base import Index
    from dejavud.services.commands import AudioStream, Progress
    from dejavud.services.hearing import Hearing
    from dejavud.services.recognizer import Recognizer
    from dejavud.services.uploads import Receiver, UploadStore
    from dejavud.services.workers import Workers
    from dejavud.values import Recognition

IDLE_S = 15.0
"""Without a piece for so long a query is given up."""
LOOK_S = 1.0
LOOKS_PER_LENGTH = 20
"""Of a query that is already long, a look for each twentieth of it: decoding it anew is then a small part of the work."""
FIRST_BYTES = 8 << 10
"""Of encoded sound, before anything is known of it: from a fifth of a second to two."""
AHEAD_BYTES = 64 << 10
"""So much more than the next look wants may be there before it; then the sender waits."""
UNDECODED_BYTES = 4 << 20
"""Of which nothing can be decoded: no more is waited for."""


@dataclass(frozen=True, slots=True)
class LiveQuery:
    """What is asked.

    pcm : what the samples are where they are raw; None where the sound is encoded.
    limit_s : of the sound; None for as much as a query may have.
    """

    name: str
    pcm: PcmFormat | None = None
    limit_s: float | None = None


class LiveQueries:
    """Answers queries while they come.

    hear : makes what follows a source until it is certain; None where the library's profile has no such thing: then a query is answered at its end.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        workers: Workers,
        index: Index,
        uploads: UploadStore,
        *,
        hear: Callable[[], Hearing] | None,
    ) -> None:
        self._recognizer = recognizer
        self._workers = workers
        self._index = index
        self._uploads = uploads
        self._hear = hear

    async def recognize(self, query: LiveQuery, stream: AudioStream, progress: Progress) -> Recognition:
        """Return what a stream is: as soon as that is certain, after `limit_s`, or at its end, whichever is first; the rest is not taken.

        Tells `progress` about once a second ``heard_s``, ``level_db`` and ``candidates``.  Raises what `Recognizer.recognize_file` does, `TooLarge`,
        `Timeout` where the sound pauses or comes more slowly than it sounds, and `UnsupportedAudio` where nothing can be made of what has come.
        """
        settings = self._recognizer.settings
        limit_s = min(query.limit_s or settings.max_query_s, settings.max_query_s)
        async with self._uploads.receiving(query.name) as receiver:
            coming = _Coming(receiver, query.pcm, limit_s)
            answer = partial(
                self._recognizer.recognize_file,
                receiver.upload.path,
                query.name,
                limit_s=limit_s,
            )
            certain, error = None, None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(coming.take, stream, limit_s + settings.timeout_s)
                try:
                    if self._hear is None:
                        await coming.whole()
                    else:
                        looks = _Looks(self._hear(), CandidateNames(self._workers, self._index), progress)
                        certain = await self._until_certain(query, coming, looks, partial(answer, only_matches=True))
                except Exception as caught:  # noqa: BLE001 - raised outside the nursery, which would put it into a group
                    error = caught
                nursery.cancel_scope.cancel()
            if error is not None:
                raise error
            if coming.error is not None:
                with self._recognizer.counted():
                    raise coming.error
            receiver.close()
            return certain or await answer()

    async def _until_certain(
        self, query: LiveQuery, coming: _Coming, looks: _Looks, answer: Callable[[], Awaitable[Recognition]]
    ) -> Recognition | None:
        """Return the answer when there is one before the sound has ended or its limit is reached."""
        hearing = looks.hearing
        while await coming.has_more():
            with self._recognizer.counted():
                sound = await self._glance(query, coming, looks)
                if sound is None:
                    continue
                await self._workers.match(hearing.hear, sound, 0)
            if hearing.plays and (recognition := await answer()).matches:
                return recognition
            with self._recognizer.counted():
                await looks.tell(sound)
            if looks.heard_s >= coming.limit_s - hearing.params.frames_to_seconds(1):
                break
            coming.want(looks.heard_s)
        return None

    async def _glance(self, query: LiveQuery, coming: _Coming, looks: _Looks) -> listen_jobs.Sound | None:
        """Return how the last second is; None where nothing can be said yet, or nobody has the time to look: the next look is soon."""
        params, settings = looks.hearing.params, self._recognizer.settings
        coming.look()
        try:
            sound = await self._workers.process(
                listen_jobs.glance,
                coming.path,
                query.name,
                params,
                coming.limit_s,
                settings.silence_db,
                what=query.name,
                timeout_s=settings.timeout_s,
            )
        except Busy:
            coming.want(looks.heard_s)
            return None
        except UnsupportedAudio:
            if coming.n_looked > UNDECODED_BYTES:
                raise
            coming.want_twice()
            return None
        looks.heard_s = params.frames_to_seconds(sound.end_frame)
        return sound


@dataclass(slots=True)
class _Looks:
    """What the looks at one query have shown.  heard_s : how much of it the last one heard."""

    hearing: Hearing
    names: CandidateNames
    progress: Progress
    heard_s: float = 0.0

    async def tell(self, sound: listen_jobs.Sound) -> None:
        """Tell what is known: plays that are not certain enough for an answer are candidates too."""
        plays = [Candidate(play.track_id, play.confidence) for play in self.hearing.plays]
        candidates = await self.names.views([*plays, *self.hearing.candidates])
        await self.progress(heard_s=round(self.heard_s, 3), level_db=round(sound.level_db, 1), candidates=candidates)


class _Coming:
    """Sound on its way into a file.

    limit_s : of what is wanted.
    n_bytes : that are there; n_looked : of which the last look was.
    error : why no more comes, where that is not the end.
    """

    def __init__(self, receiver: Receiver, pcm: PcmFormat | None, limit_s: float) -> None:
        self.path, self.limit_s = receiver.upload.path, limit_s
        self.n_bytes = self.n_looked = 0
        self.error: DejavudError | None = None
        self._receiver, self._pcm = receiver, pcm
        self._is_over = False
        self._step_s = LOOK_S
        self._wanted: float = FIRST_BYTES if pcm is None else LOOK_S * pcm.bytes_per_s
        self._limit_bytes = math.inf if pcm is None else limit_s * pcm.bytes_per_s
        self._changed = trio.Event()

    def want(self, heard_s: float) -> None:
        """Have the next look when about a second more has come than the `heard_s` that the last one heard."""
        self._step_s = max(LOOK_S, heard_s / LOOKS_PER_LENGTH)
        if self._pcm is not None:
            bytes_per_s = float(self._pcm.bytes_per_s)
        else:
            bytes_per_s = self.n_looked / heard_s if heard_s else FIRST_BYTES
        self._set_wanted(self.n_looked + self._step_s * bytes_per_s)

    def want_twice(self) -> None:
        """Have the next look when twice as much is there."""
        self._set_wanted(2 * max(self.n_looked, FIRST_BYTES))

    def _set_wanted(self, n_bytes: float) -> None:
        self._wanted = n_bytes
        self._change()

    def look(self) -> None:
        """Have what has come be in the file, to be looked at."""
        self._receiver.flush()
        self.n_looked = self.n_bytes

    async def whole(self) -> None:
        """Return when no more comes, looking at nothing before."""
        self._set_wanted(math.inf)
        while not self._is_over:
            await self._changed.wait()

    async def has_more(self) -> bool:
        """Return True when there is enough for another look, or a second has passed and there is more at all; False at the end, however it is."""
        with trio.move_on_after(self._step_s):
            while self.n_bytes < self._wanted and not self._is_over:
                await self._changed.wait()
        while self.n_bytes == self.n_looked and not self._is_over:
            await self._changed.wait()
        return not self._is_over

    async def take(self, stream: AudioStream, total_s: float) -> None:
        """Write down what comes, to its end, which is `error` where it is none."""
        try:
            with trio.move_on_after(total_s) as patience:
                await self._take_all(stream)
            if patience.cancelled_caught:
                raise Timeout(what="sending the query's sound", limit_s=total_s)
        except DejavudError as error:
            self.error = error
        self._is_over = True
        self._change()

    async def _take_all(self, stream: AudioStream) -> None:
        pieces = aiter(stream)
        while self.n_bytes < self._limit_bytes:
            with trio.move_on_after(IDLE_S) as patience:
                piece = await anext(pieces, None)
            if patience.cancelled_caught:
                raise Timeout(what="waiting for the query's next sound", limit_s=IDLE_S)
            if piece is None:
                return
            if self._pcm is not None and not self.n_bytes:
                self._pcm.check_raw(piece, self._receiver.upload.name)
                await self._receiver.write(self._pcm.header)
            await self._receiver.write(piece)
            self.n_bytes += len(piece)
            self._change()
            while self.n_bytes > self._wanted + AHEAD_BYTES:
                await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
