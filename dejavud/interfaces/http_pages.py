"""The web page at ``/``: its files, named by what they hold so that a browser keeps them, and what browsers are told about them."""

from __future__ import annotations

import gzip
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import Response
from starlette.routing import Route

from dejavud.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from starlette.requests import Request

PAGE_PATH = "/"
FILES_PATH = "/web/"
_WEB = Path(__file__).parents[1] / "web"
_PAGE = "index.html"
_CLIENT = "dejavud.js"
"""The client module: in a checkout among the other clients, in a wheel and in the single file beside the page that uses it."""
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_PLACE = "WEB"
"""Stands in the page for the folder of its files, whose name changes with what they hold."""
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=(), payment=(), usb=()",
    "x-frame-options": "DENY",
}


def is_page(path: str) -> bool:
    """Return whether an address is of the page itself, which holds nothing of the library and asks for the token where one is set."""
    return path == PAGE_PATH or path.startswith(FILES_PATH)


class Pages:
    """The page and its files, read once, in memory: some 100 kB, of which a third goes over the wire.

    websockets : returns where WebSocket is, which the page may connect to.
    """

    def __init__(self, websockets: Callable[[], Sequence[str]]) -> None:
        self._websockets = websockets
        self._files = {path.name: path.read_bytes() for path in _paths()}
        self._packed: dict[str, bytes] = {}
        self._digest = _digest(self._files)
        page = self._files[_PAGE].decode("utf-8")
        self._files[_PAGE] = page.replace(f"{_PLACE}/", f"{FILES_PATH[1:]}{self._digest}/").encode()

    def routes(self) -> list[Route]:
        """Return the addresses of the page."""
        return [
            Route(PAGE_PATH, self._show, methods=["GET"]),
            Route(FILES_PATH + "{version}/{name}", self._file, methods=["GET"]),
        ]

    async def _show(self, request: Request) -> Response:
        policy = content_policy(request.headers.get("host", ""), self._websockets())
        return self._answer(request, _PAGE, {"content-security-policy": policy, "cache-control": "no-cache"})

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files or name == _PAGE:
            raise NotFound(path=request.scope["path"])
        # A page that was opened before an upgrade still asks for its own version: it gets today's, and keeps nothing.
        is_current = request.path_params["version"] == self._digest
        kept = "public, max-age=31536000, immutable" if is_current else "no-cache"
        return self._answer(request, name, {"cache-control": kept})

    def _answer(self, request: Request, name: str, more: Mapping[str, str]) -> Response:
        headers = {**_HEADERS, **more, "etag": f'W/"{self._digest}"', "vary": "accept-encoding"}
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        body = self._files[name]
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            body = self._pack(name)
        return Response(body, 200, headers, _KINDS[Path(name).suffix])

    def _pack(self, name: str) -> bytes:
        """Return a file as it goes over the wire, packed when it is first asked for: a start has no time for it."""
        if name not in self._packed:
            self._packed[name] = gzip.compress(self._files[name], mtime=0)
        return self._packed[name]


def content_policy(host: str, websockets: Sequence[str]) -> str:
    """Return what the page may load: its own files, and connections to this daemon, called by the name that it was called by."""
    named = _HOST.fullmatch(host)
    places = [] if named is None else [f"{named[1]}:{port}" for port in sorted(_ports(websockets))]
    sockets = "".join(f" {scheme}://{place}" for place in places for scheme in ("ws", "wss"))
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{sockets}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _ports(urls: Iterable[str]) -> set[int]:
    return {port for port in (urlsplit(url).port for url in urls) if port is not None}


def _paths() -> list[Path]:
    files = sorted(path for path in _WEB.iterdir() if path.suffix in _KINDS)
    client = _WEB / _CLIENT
    return files if client.is_file() else [*files, _WEB.parents[1] / "clients" / _CLIENT]


def _digest(files: Mapping[str, bytes]) -> str:
    digest = sha256()
    for name, body in sorted(files.items()):
        digest.update(b"%b\0%d\0%b" % (name.encode(), len(body), body))
    return digest.hexdigest()[:16]
