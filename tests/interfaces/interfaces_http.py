"""An HTTP server of the tests' own table, and a client of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import h11
import httpx
import trio

from dejavud.interfaces.http import HttpSettings, serve_http
from dejavud.wire.codec import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore


@asynccontextmanager
async def serving(
    stage: Stage, uploads: UploadStore, settings: HttpSettings | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, trio.CancelScope]]:
    """Give a client of a running server, and the scope whose cancellation ends that server."""
    settings = settings or HttpSettings(port=0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            scope, jobs_scope = trio.CancelScope(), trio.CancelScope()

            async def keep_jobs(*, task_status: trio.TaskStatus[None]) -> None:
                with jobs_scope:
                    await stage.book.serve(grace_s=1.0, task_status=task_status)

            if hasattr(stage, "book"):  # a test may have a stage of its own
                await nursery.start(keep_jobs)

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with scope:
                    await serve_http(stage.table(), uploads, stage.hub, settings=settings, task_status=task_status)

            url = await nursery.start(serve)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
                yield client, scope
            scope.cancel()
            jobs_scope.cancel()


class Told:
    """What a stream of server-sent events tells, as a browser would read it.

    ids : of each event, and of what had no event; comments : how many lines of heartbeat there were.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self.headers: dict[str, str] = {}
        self.ids: list[str] = []
        self.comments = 0
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT)
        self._lines: list[bytes] = [b""]  # the last one is not ended yet

    async def ask(self, url: httpx.URL, headers: Mapping[str, str]) -> None:
        """Send the request and read the head of the answer, which must be a good one."""
        asked = [("Host", url.netloc.decode()), *headers.items()]
        data = self._http.send(h11.Request(method="GET", target=url.raw_path, headers=asked))
        await self._stream.send_all(data or b"")
        response = await self._event()
        assert isinstance(response, h11.Response)
        assert response.status_code == 200
        self.headers = {name.decode(): value.decode() for name, value in response.headers}

    async def next(self) -> dict[str, Any]:
        """Return the next event."""
        event = None
        while True:
            name, _, value = (await self._line()).partition(b": ")
            if name == b"id":
                self.ids.append(value.decode())
            elif name == b"data":
                event = decode(value)
            elif name == b":":
                self.comments += 1
            elif not name and event is not None:
                return event

    async def _line(self) -> bytes:
        while len(self._lines) < 2:
            match await self._event():
                case h11.Data(data=data):
                    *ended, rest = (self._lines[0] + bytes(data)).split(b"\n")
                    self._lines = [*ended, rest]
                case _:
                    raise EOFError
        return self._lines.pop(0)

    async def _event(self) -> h11.Event:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._stream.receive_some())
        assert not isinstance(event, type)
        return event


@asynccontextmanager
async def told(client: httpx.AsyncClient, last_id: str | None = None, **query: str | int) -> AsyncIterator[Told]:
    """Give the events of a subscriber: once it has seen the head of the answer, it is one."""
    url = client.base_url.join("/v1/events").copy_merge_params(query)
    async with await trio.open_tcp_stream(url.host, url.port or 0) as stream:
        reading = Told(stream)
        await reading.ask(url, {} if last_id is None else {"Last-Event-ID": last_id})
        yield reading
