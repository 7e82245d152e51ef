"""The client: one method a thing that people ask for."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio
import httpx

from dejavud_client.answers import Added, Error, Event, Job, Listener, Play, Recognition, Track, read
from dejavud_client.http import Http, content_of, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import Self

    from dejavud_client.http import Audio

SHORTEST_WAIT_S, LONGEST_WAIT_S = 0.1, 2.0
"""Between two questions about a job."""


class Dejavud:
    """One daemon.  Use it as ``async with``; any number of its methods may be under way at a time.

    token : where the daemon asks for one.
    timeout_s : for the daemon to begin an answer, and between two pieces of it.

    Methods raise `Error`.  Cancelling one cancels its work in the daemon.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:4141",
        *,
        token: str | None = None,
        timeout_s: float = 120.0,
        **options: Any,  # noqa: ANN401 - httpx's
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = Http(url, headers=headers, timeout=httpx.Timeout(timeout_s, connect=10.0), **options)

    async def __aenter__(self) -> Self:
        await self._http.client.__aenter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:  # noqa: ANN401, PYI036 - as httpx's
        await self._http.client.__aexit__(*exc_info)

    # -- recognizing ------------------------------------------------------------------------------------------------

    async def recognize(self, audio: Audio, *, name: str | None = None, limit_s: float | None = None) -> Recognition:
        """Return what a file, its bytes, or a stream of them to its end is; over WebSocket the answer to a stream comes before its end."""
        answer = await self._http.upload("/v1/recognize", audio, name=name, limit_s=limit_s)
        return read(Recognition, answer | {"raw": answer})

    async def scan(self, source: Path | str | bytes, *, name: str | None = None, limit_s: float | None = None) -> Job:
        """Begin to find what is played in a long recording, or at an address, and return the job; see `wait`."""
        is_url = isinstance(source, str) and "://" in source
        given = {"url": source} if is_url else {"name": name or name_of(source)}
        content = None if is_url else content_of(source)
        headers = {"Prefer": "respond-async"}
        answer = await self._http.ask(
            "POST", "/v1/scan", {**given, "limit_s": limit_s}, content=content, headers=headers
        )
        return read(Job, answer["job"])

    # -- the library ------------------------------------------------------------------------------------------------

    async def add(self, audio: Audio, *, name: str | None = None, **tags: str) -> Added:
        """Add a recording; `tags` (title, artist, album) go before what the file says of itself."""
        return read(Added, await self._http.upload("/v1/tracks", audio, name=name, **tags))

    async def track(self, track_id: int) -> Track:
        """Return one track."""
        return read(Track, (await self._http.ask("GET", f"/v1/tracks/{track_id}"))["track"])

    async def tracks(self, **selection: Any) -> AsyncIterator[Track]:  # noqa: ANN401 - of many kinds
        """Yield the tracks that a selection means (``search="chopin", sort="title"``), all of them where it says nothing."""
        async for answer in self._http.pages("/v1/tracks", selection):
            for one in answer["tracks"]:
                yield read(Track, one)

    async def edit(self, track_id: int, **changes: str | bool) -> Track:
        """Change title, artist, album ("" takes the last two away) or disabled of a track, and return it as it is now."""
        return read(Track, (await self._http.ask("PATCH", f"/v1/tracks/{track_id}", json=changes))["track"])

    async def remove(self, track_id: int) -> Track:
        """Remove a track, and return what it was."""
        return read(Track, (await self._http.ask("DELETE", f"/v1/tracks/{track_id}"))["removed"][0])

    # -- what listens, and what was heard ---------------------------------------------------------------------------

    async def listeners(self) -> list[Listener]:
        """Return what listens."""
        return [read(Listener, one) for one in (await self._http.ask("GET", "/v1/listeners"))["listeners"]]

    async def listen(self, name: str, source: str, *, once: bool = False) -> Listener:
        """Listen to one more source, such as ``mic`` or a station's address; with `once` only until the daemon ends."""
        given = {"name": name, "source": source, "once": once}
        return read(Listener, await self._http.ask("POST", "/v1/listeners", json=given))

    async def pause(self, name: str) -> Listener:
        """Close a listener's source until it is resumed."""
        return read(Listener, await self._http.ask("POST", _path(name, "/pause")))

    async def resume(self, name: str) -> Listener:
        """Have a listener hear again."""
        return read(Listener, await self._http.ask("POST", _path(name, "/resume")))

    async def forget(self, name: str) -> Listener:
        """Remove a listener."""
        return read(Listener, (await self._http.ask("DELETE", _path(name)))["removed"])

    async def history(self, **plays: Any) -> AsyncIterator[Play]:  # noqa: ANN401 - of many kinds
        """Yield the plays that are meant (``listener="kitchen", since="24h"``), newest first."""
        async for answer in self._http.pages("/v1/matches", plays):
            for one in answer["plays"]:
                yield read(Play, one)

    # -- jobs and the daemon ----------------------------------------------------------------------------------------

    async def jobs(self, state: str = "") -> list[Job]:
        """Return long work: what runs, then what has ended lately."""
        return [read(Job, one) for one in (await self._http.ask("GET", "/v1/jobs", {"state": state}))["jobs"]]

    async def job(self, job_id: str) -> Job:
        """Return one job, with its result once it is done."""
        return read(Job, (await self._http.ask("GET", f"/v1/jobs/{job_id}"))["job"])

    async def cancel(self, job_id: str) -> Job:
        """Cancel a job."""
        return read(Job, (await self._http.ask("DELETE", f"/v1/jobs/{job_id}"))["job"])

    async def wait(self, job_id: str, on_progress: Callable[[dict[str, Any]], None] = lambda _: None) -> Job:
        """Return a job once it is done, telling its figures meanwhile; raises why it failed, or was cancelled."""
        pause_s = SHORTEST_WAIT_S
        while (job := await self.job(job_id)).state == "running":
            on_progress(job.progress)
            await anyio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_WAIT_S)
        if job.state != "done":
            error = job.error or {"code": "cancelled", "message": f"the job {job_id} was cancelled"}
            raise Error(error["code"], error["message"], error.get("details"))
        return job

    async def status(self) -> dict[str, Any]:
        """Return how the daemon is."""
        return await self._http.ask("GET", "/v1/status")

    @asynccontextmanager
    async def events(self, *topics: str, after: str | None = None) -> AsyncIterator[AsyncIterator[Event]]:
        """Give events without end, of topics that begin so: from the beginning of the block on, or after a place (`Event.place`, or "0" for all that is kept).

        Where the connection breaks it is made again and what was missed comes first.  Ends with `Error` where the daemon refuses for good.
        """
        async with aclosing(self._http.events(topics, after)) as told:
            await anext(told)  # the daemon has our name: what happens from here on is told
            yield told


def _path(listener: str, verb: str = "") -> str:
    return f"/v1/listeners/{quote(listener, safe='')}{verb}"
