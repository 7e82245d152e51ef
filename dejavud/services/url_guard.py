"""Addresses that a client named, fetched in a way that leads to no network that is not everybody's.

FFmpeg resolves names, follows redirects and opens what playlists list, each without asking.  So what it fetches for a client goes through a hop of ours: it is
told of an HTTP proxy, and connects to nothing else; the proxy resolves each name itself, once, and connects to an address that it has looked at.  For RTSP,
which knows no proxies, FFmpeg is given the hop's address in the place of the server's, and an answer that would send it elsewhere is the end.
The first thing that leads where nobody may go ends the fetch.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import structlog
import trio

from dejavud.audio.address import Way, check_url, is_public, url_without_password
from dejavud.errors import DejavudError, UnreachableUrl, UnsupportedAudio, UnsupportedUrl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from dejavud.audio.address import Network

    Check = Callable[[bytes], bytes]

log = structlog.get_logger(__name__)

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_HEAD_BYTES = 1 << 16
_HEAD_S, _CONNECT_S = 10.0, 10.0
_PIECE_BYTES = 1 << 16
_MAX_CONNECTIONS = 16
"""Of one fetch: a playlist and some of its parts."""
_MAX_ADDRESSES = 8
_REQUEST = re.compile(rb"([A-Z]+) (\S+) (HTTP/1\.[01])\r?\n")
_STATUS = re.compile(rb"RTSP/\S*\s+[+-]?0*3")
"""A status line that sends elsewhere, as generous as FFmpeg is in reading one; what comes is searched for it as a whole, so that no other view of where a
message begins gets one past us."""
_STATUS_BEGINS = b"RTSP/"
_STATUS_BYTES = 4096


class UrlGuard:
    """Which addresses may be asked for clients that are not of this machine.

    networks : that may be, beside all that are public.
    """

    def __init__(self, networks: Sequence[str] = ()) -> None:
        self._networks: tuple[Network, ...] = ()
        self.change(networks)

    def change(self, networks: Sequence[str]) -> None:
        """Open these networks from now on, and no others."""
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    async def check(self, url: str) -> None:
        """Raise `UnsupportedUrl` where `url` leads to no public address; that its name is not known now, who fetches it will see."""
        check_url(url)
        parts = urlsplit(url)
        try:
            await self._resolved(str(parts.hostname), _port_of(url), url)
        except UnreachableUrl as error:
            log.debug("url_not_resolved", reason=error.message)

    @asynccontextmanager
    async def way(self, url: str) -> AsyncIterator[Way]:
        """Give a way to `url` that leads nowhere else; raises `UnsupportedUrl` out of the block where it would have."""
        await self.check(url)
        hop = _RtspHop(self, url) if url.lower().startswith("rtsp") else _HttpHop(self, url)
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            hop.scope = nursery.cancel_scope
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, hop.serve, [listener])
            try:
                yield hop.way(listener.socket.getsockname()[1])
            except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery that would wrap it
                failure = error
            nursery.cancel_scope.cancel()
        if hop.refusal is not None:
            raise hop.refusal from failure
        if isinstance(failure, UnreachableUrl | UnsupportedAudio) and hop.failure is not None:
            raise hop.failure from failure  # which knows why; FFmpeg saw a connection that ended
        if failure is not None:
            raise failure

    async def connect(self, host: str, port: int, url: str) -> trio.SocketStream:
        """Return a connection to a permitted address of `host`; raises `UnsupportedUrl` and `UnreachableUrl`."""
        failure = "no answer in time"
        for family, address in await self._resolved(host, port, url):
            connection = trio.socket.socket(family, trio.socket.SOCK_STREAM)
            try:
                with trio.move_on_after(_CONNECT_S) as patience:
                    await connection.connect(address)
                if not patience.cancelled_caught:
                    return trio.SocketStream(connection)
            except OSError as error:
                failure = error.strerror or str(error)
            connection.close()
        raise UnreachableUrl(url=url_without_password(url), reason=failure)

    async def _resolved(self, host: str, port: int, url: str) -> Sequence[tuple[int, Any]]:
        """Return the addresses of `host` that may be asked, as sockets want them."""
        shown = url_without_password(url)
        try:
            with trio.fail_after(_CONNECT_S):
                found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        except (OSError, ValueError, trio.TooSlowError) as error:
            reason = "its name is no name" if isinstance(error, ValueError) else f"the name {host!r} is not known"
            raise UnreachableUrl(url=shown, reason=reason) from None
        open_ones = [
            (family, address)
            for family, _, _, _, address in found
            if "%" not in str(address[0]) and self._is_open(str(address[0]))
        ]
        if not open_ones:
            log.warning("url_refused", url=shown, host=host, leads_to=str(found[0][4][0]))
            reason = (
                "it leads to an address that is not public, where only the local control socket and the daemon's conf may lead; "
                "security.url_networks in its conf opens networks"
            )
            raise UnsupportedUrl(url=shown, reason=reason)
        return open_ones[:_MAX_ADDRESSES]

    def _is_open(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        return is_public(parsed) or any(parsed in network for network in self._networks)


class _Hop:
    """What FFmpeg connects to for one fetch.

    refusal : why the fetch was ended.
    failure : why something could not be reached.
    scope : of all of it.
    """

    def __init__(self, guard: UrlGuard, url: str) -> None:
        self.refusal: UnsupportedUrl | None = None
        self.failure: UnreachableUrl | None = None
        self.scope = trio.CancelScope()
        self._guard = guard
        self._url = url
        self._n_open = 0

    async def serve(self, client: trio.SocketStream) -> None:
        """Pass one connection on; what goes wrong with it FFmpeg sees as a connection that ends."""
        if self._n_open >= _MAX_CONNECTIONS:
            return
        self._n_open += 1
        try:
            async with client:
                await self._pass_on(client)
        except UnsupportedUrl as error:
            self.refusal = self.refusal or error
            self.scope.cancel()
        except UnreachableUrl as error:
            self.failure = error
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError) as error:
            log.debug("url_connection_ended", reason=str(error))
        except Exception:
            log.exception("url_connection_failed")  # one connection's bug, which FFmpeg sees as one that ends
        finally:
            self._n_open -= 1

    async def _pass_on(self, client: trio.SocketStream) -> None:
        raise NotImplementedError

    def way(self, port: int) -> Way:
        """Return how FFmpeg comes here."""
        raise NotImplementedError


class _HttpHop(_Hop):
    """A proxy for HTTP, and by CONNECT for what is encrypted."""

    def way(self, port: int) -> Way:
        """Return the address as it is, and the proxy."""
        return Way(self._url, f"http://127.0.0.1:{port}")

    async def _pass_on(self, client: trio.SocketStream) -> None:
        with trio.fail_after(_HEAD_S):
            head = await _read_head(client)
        request = _REQUEST.match(head)
        if request is None:
            return
        method, target, version = (part.decode("latin-1") for part in request.groups())
        is_tunnel = method == "CONNECT"
        try:
            parts = urlsplit(f"//{target}" if is_tunnel else target)
            port = parts.port or _PORTS["http"]
        except ValueError:  # half a bracket, or a port that is no number
            return
        if parts.hostname is None or not (is_tunnel or parts.scheme == "http"):
            return
        shown = f"https://{target}" if is_tunnel else target
        async with await self._guard.connect(parts.hostname, port, shown) as server:
            if is_tunnel:
                await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
                await server.send_all(f"{method} {path} {version}\r\n".encode("latin-1") + head[request.end() :])
            await _exchange(client, server)


class _RtspHop(_Hop):
    """What passes RTSP on to one server, encrypted where that asks for it, until that would send FFmpeg elsewhere."""

    def way(self, port: int) -> Way:
        """Return the address with ours in the server's place."""
        parts = urlsplit(self._url)
        user, mark, _ = parts.netloc.rpartition("@")
        return Way(urlunsplit(("rtsp", f"{user}{mark}127.0.0.1:{port}", parts.path, parts.query, parts.fragment)))

    async def _pass_on(self, client: trio.SocketStream) -> None:
        parts = urlsplit(self._url)
        host = str(parts.hostname)
        server: trio.abc.Stream = await self._guard.connect(host, _port_of(self._url), self._url)
        if parts.scheme == "rtsps":
            server = trio.SSLStream(server, _any_certificate(), server_hostname=host, https_compatible=True)
        async with server:
            await _exchange(client, server, self._check)

    def _check(self, seen: bytes) -> bytes:
        """Return how much of `seen` is to be seen again with what comes next; raises `UnsupportedUrl` where it sends elsewhere."""
        seen = seen.replace(b"\r", b"")  # which FFmpeg leaves out wherever it stands
        if _STATUS.search(seen):
            reason = "it sends elsewhere, which is not followed for RTSP"
            raise UnsupportedUrl(url=url_without_password(self._url), reason=reason)
        begun = seen.rfind(_STATUS_BEGINS)
        if begun >= 0 and b"\n" not in seen[begun:]:
            if len(seen) - begun > _STATUS_BYTES:
                raise UnreachableUrl(url=url_without_password(self._url), reason="it answers with a line without end")
            return seen[begun:]
        return seen[-len(_STATUS_BEGINS) :]


async def _read_head(stream: trio.SocketStream) -> bytes:
    """Return a request up to the empty line that ends its head, and what came with it."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
        if not (piece := await stream.receive_some(_PIECE_BYTES)):
            return b""
        head += piece
    return head


async def _exchange(client: trio.abc.Stream, server: trio.abc.Stream, check: Check | None = None) -> None:
    """Pass bytes both ways until either side is gone; what the server sends is shown to `check` before it is passed on."""

    async def send_up() -> None:
        while data := await client.receive_some(_PIECE_BYTES):
            await server.send_all(data)

    async def send_down() -> None:
        kept = b""
        while data := await server.receive_some(_PIECE_BYTES):
            if check is not None:
                kept = check(kept + data)
            await client.send_all(data)

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def end_with(work: Callable[[], Awaitable[None]]) -> None:
            nonlocal failure
            try:
                await work()
            except (DejavudError, OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                failure = error  # raised below, outside the nursery that would wrap it
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_with, send_up)
        nursery.start_soon(end_with, send_down)
    if failure is not None:
        raise failure


def _port_of(url: str) -> int:
    """Return the port that `url` names, or its scheme's; raises `UnsupportedUrl`."""
    parts = urlsplit(url)
    try:
        return parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason="this names no port") from None


def _any_certificate() -> ssl.SSLContext:
    """Return what encrypts and, as FFmpeg does where nobody tells it more, believes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
