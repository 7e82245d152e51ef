"""The history over HTTP as CSV: streamed a page at a time, so that its length costs nobody any memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from dejavud.errors import DejavudError
from dejavud.interfaces.serving import Gone
from dejavud.services.history_handlers import MAX_PAGE_PLAYS
from dejavud.wire import play_csv
from dejavud.wire.moments import zone_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Params = dict[str, Any]
    Ask = Callable[[Params], Awaitable[Params]]
    Send = Callable[[Any], Awaitable[None]]

log = structlog.get_logger(__name__)


class PlayCsv:
    """The answer that holds every play that is meant, newest first: an ASGI response.

    ask : runs ``history.list`` with such parameters.
    """

    def __init__(self, ask: Ask, params: Params, headers: Mapping[str, str]) -> None:
        self._ask = ask
        self._params = {**params, "limit": MAX_PAGE_PLAYS}
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Mapping[str, Any], _receive: object, send: Send) -> None:
        """Send all of it; a question that is wrong is an error before anything is sent."""
        page = await self._ask(self._params)
        headers = [
            *self._headers,
            (b"content-type", b"text/csv; charset=utf-8; header=present"),
            (b"content-disposition", b'attachment; filename="matches.csv"'),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            return
        try:
            await self._stream(page, send)  # `ask` notices when the client has left
        except DejavudError as error:  # too late for a status: what is cut short must not look whole
            log.warning("history_export_cut_short", reason=error.message)
            raise Gone from error

    async def _stream(self, page: Params, send: Send) -> None:
        zone = zone_of(self._params.get("zone", "UTC"))
        text = play_csv.heading()
        while True:
            text += play_csv.lines(page["plays"], zone)
            await send({"type": "http.response.body", "body": text.encode("utf-8", "replace"), "more_body": True})
            if page["next"] is None:
                return
            text, page = "", await self._ask({**self._params, "cursor": page["next"]})
