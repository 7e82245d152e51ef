"""Pages of other places that the conf file allows: what their browsers want to be told before they hand them an answer (CORS)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_MAX_AGE_S = 600
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type, last-event-id, prefer, x-request-id",
    "access-control-allow-private-network": "true",
    "access-control-max-age": str(_MAX_AGE_S),
}


def headers_for(headers: Iterable[tuple[bytes, bytes]], allowed: Collection[str]) -> list[tuple[bytes, bytes]]:
    """Return what each answer to a request needs, by which a page of an allowed origin may read it; nothing for other pages."""
    origin = next((value for name, value in headers if name == b"origin"), b"")
    if origin.decode("latin-1") not in allowed:
        return []
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"location, preference-applied, x-request-id, retry-after"),
        (b"vary", b"origin"),
    ]


def preflight(method: str, headers: Iterable[tuple[bytes, bytes]]) -> Response | None:
    """Return the answer to a browser that asks whether it may ask, None for any other request.  It comes without a token."""
    if method != "OPTIONS" or not any(name == b"access-control-request-method" for name, _ in headers):
        return None
    return Response(None, 204, _PREFLIGHT)
