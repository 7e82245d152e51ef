"""How the daemon is asked, over HTTP and server-sent events; every failure is an `Error`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from dejavud_client.answers import INTERNAL, UNREACHABLE, Error, Event, read

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping

    Audio = Path | str | bytes | AsyncIterable[bytes]

QUIET_S = 60.0
"""The daemon tells a stream of events something every 15 seconds: after a minute without a word it is gone."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 8.0
"""Before a stream of events that broke is asked for again."""
_PASSING = frozenset({408, 429, 502, 503, 504})
_PIECE_BYTES = 1 << 18


class Http:
    """One daemon's door.  client : open while it is used."""

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - httpx's
        self.client = httpx.AsyncClient(base_url=url, **options)

    async def ask(self, method: str, path: str, query: Mapping[str, Any] | None = None, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - httpx's
        """Return the object that an address answers with."""
        try:
            response = await self.client.request(method, path, params=_given(query or {}), **body)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Error(UNREACHABLE, f"no daemon answers at {self.client.base_url}: {reason}") from error
        await _check(response)
        answer: dict[str, Any] = response.json()
        return answer

    async def upload(self, path: str, audio: Audio, *, name: str | None, **query: Any) -> dict[str, Any]:  # noqa: ANN401 - of many kinds
        """Return what an address answers to audio that it is sent."""
        headers = (
            {"Content-Length": str((await anyio.Path(audio).stat()).st_size)} if isinstance(audio, Path | str) else {}
        )
        query["name"] = name or name_of(audio)
        return await self.ask("POST", path, query, content=content_of(audio), headers=headers)

    async def pages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield answers, page after page."""
        cursor: str | None = ""
        while cursor is not None:
            answer = await self.ask("GET", path, {**query, "cursor": cursor})
            yield answer
            cursor = answer["next"]

    async def events(self, topics: tuple[str, ...], place: str | None) -> AsyncGenerator[Any]:
        """Yield None once the daemon tells events, and then events without end; see `Dejavud.events`."""
        pause_s, is_first = FIRST_PAUSE_S, True
        while True:
            try:
                query = _given({"topics": ",".join(topics), "after": place})
                async with self.client.stream(
                    "GET", "/v1/events", params=query, timeout=httpx.Timeout(QUIET_S)
                ) as response:
                    await _check(response)
                    reached, pause_s = place, FIRST_PAUSE_S
                    if is_first:
                        is_first = False
                        yield None
                    async for line in response.aiter_lines():
                        kind, _, value = line.partition(": ")
                        if kind == "id":
                            reached = value
                        elif kind == "data":
                            yield read(Event, json.loads(value))
                        elif not line:  # what was told is whole
                            place = reached
            except Error as error:
                if error.status not in _PASSING:
                    raise
            except httpx.TransportError:
                pass  # tried again below
            await anyio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311 - so that not all come back at once
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _check(response: httpx.Response) -> None:
    """Raise the error that an answer is."""
    if response.is_success:
        return
    try:
        told = json.loads(await response.aread())["error"]
        error = Error(told["code"], told["message"], told.get("details"), response.status_code)
    except (ValueError, KeyError, TypeError):
        error = Error(
            INTERNAL,
            f"an answer with the status {response.status_code} that is none of dejavud's",
            status=response.status_code,
        )
    raise error


def _given(query: Mapping[str, Any]) -> dict[str, str]:
    """Return what of a query says something; lists are joined by commas."""
    return {
        name: ",".join(map(str, value))
        if isinstance(value, list | tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for name, value in query.items()
        if value is not None and value != ""
    }


def content_of(audio: Audio) -> bytes | AsyncIterable[bytes]:
    """Return the bytes that are to be sent, of a file piece by piece."""
    return _pieces(audio) if isinstance(audio, Path | str) else audio


async def _pieces(path: Path | str) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while piece := await file.read(_PIECE_BYTES):
            yield piece


def name_of(audio: Audio) -> str | None:
    """Return a file's name; None where it is none."""
    return Path(audio).name if isinstance(audio, Path | str) else None
