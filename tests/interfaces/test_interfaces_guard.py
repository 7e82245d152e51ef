"""Web pages that try to reach a daemon of their visitor's machine, over HTTP and WebSocket."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio
import trio.testing
from interfaces_http import serving
from security import make_certificate, opened, shaken

from dejavud.interfaces.http import HttpSettings
from dejavud.interfaces.tcp import Places
from dejavud.interfaces.tls import Tls
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.services.access import Access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx
    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore

TOKEN = "correct-horse"  # noqa: S105 - of servers that live for one test
PROXY, FRIEND = "radio.example", "https://friend.example"

HOSTS = {
    "localhost": True,
    "LOCALHOST:4141": True,
    "localhost.": True,
    "localhost.:4242": True,
    "127.0.0.1:4141": True,
    "127.8.8.8": True,
    "[::1]:4141": True,
    "[::1]": True,
    PROXY: True,
    f"{PROXY}:8443": True,
    "evil.example": False,
    "evil.example:4141": False,
    "localhost.evil.example": False,
    "evil.example.localhost": False,
    "127.0.0.1.evil.example": False,
    "127.0.0.1.nip.io:4141": False,
    "localhost..": False,
    "localhost@evil.example": False,
    "evil@localhost": False,
    "localhost:4141@evil.example": False,
    "localhost/": False,
    "localhost#evil.example": False,
    "localhost:0": False,
    "localhost:evil": False,
    "localhost:99999": False,
    "0.0.0.0:4141": False,
    "[::]": False,
    "192.168.1.5:4141": False,
    "[::ffff:192.168.1.5]": False,
    "2130706433": False,
    "0x7f.1": False,
    f"{PROXY}.evil.example": False,
    "[::1": False,
    "": False,
}
"""What a request may say that the daemon is called, and whether it is: DNS lets a page point any name of its own at 127.0.0.1."""
ORIGINS = {
    "http://localhost": True,
    "http://localhost:4141": True,
    "https://LOCALHOST:8080": True,
    "http://localhost.:4141": True,
    "http://127.0.0.1:3000": True,
    "http://[::1]:4141": True,
    f"https://{PROXY}": True,
    FRIEND: True,
    f"{FRIEND}:444": False,
    "http://friend.example": False,
    "https://evil.example": False,
    "https://evil.example:4141": False,
    "http://localhost.evil.example": False,
    "http://127.0.0.1.evil.example:4141": False,
    "http://localhost@evil.example": False,
    "https://evil.example#localhost": False,
    "https://evil.example/http://localhost": False,
    "http://192.168.1.5": False,
    "http://0.0.0.0:4141": False,
    "null": False,
    "file://": False,
    "localhost": False,
    "": False,
}
"""What browsers say of the page that sends a request, and whether pages of there may."""
FETCHES: dict[tuple[str, str, str], bool] = {
    ("same-origin", "cors", "empty"): True,
    ("same-site", "cors", "empty"): True,
    ("none", "navigate", "document"): True,
    ("cross-site", "navigate", "document"): True,
    ("cross-site", "navigate", "iframe"): False,
    ("cross-site", "no-cors", "image"): False,
    ("cross-site", "no-cors", "script"): False,
    ("cross-site", "cors", "empty"): False,
}
"""What browsers say of requests without an origin: from where, in what way, for what; and whether that may be."""


def access(token: str = "") -> Access:
    """Return who is let in: also by a proxy's name, and from a friend's pages."""
    made = Access(token)
    made.allowed_hosts, made.allowed_origins = frozenset({PROXY}), frozenset({FRIEND})
    return made


@asynccontextmanager
async def http(stage: Stage, uploads: UploadStore, token: str = "") -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a server on loopback."""
    async with serving(stage, uploads, HttpSettings(port=0, access=access(token))) as (client, _):
        yield client


@asynccontextmanager
async def websocket(stage: Stage, uploads: UploadStore, token: str = "") -> AsyncIterator[str]:
    """Give the address of a server on loopback."""
    settings = WebSocketSettings(port=0, access=access(token))
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                await serve_websocket(stage.table(), uploads, stage.hub, settings=settings, task_status=task_status)

            yield await nursery.start(serve)
            nursery.cancel_scope.cancel()


async def test_only_our_own_pages_by_our_own_names_reach_a_daemon_on_loopback(
    stage: Stage, uploads: UploadStore
) -> None:
    """Over HTTP: every foreign name, page, image and frame gets 403 before anything is done, for what changes and for what only reads."""
    async with http(stage, uploads) as client:
        for host, is_ours in HOSTS.items():
            answer = await client.post("/v1/recognize", content=b"RIFF music", headers={"host": host})
            assert (answer.status_code == 200) == is_ours, host
            assert answer.status_code in {200, 403}, host
        for origin, may in ORIGINS.items():
            for method, path in (("GET", "/v1/tracks"), ("POST", "/v1/recognize"), ("POST", "/upload")):
                answer = await client.request(method, path, content=b"RIFF music", headers={"origin": origin})
                assert answer.is_success == may, (origin, path)
        for (site, mode, use), may in FETCHES.items():
            headers = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": use}
            assert (await client.get("/v1/tracks", headers=headers)).is_success == may, headers
            is_form_sent = site == "cross-site" and mode == "navigate"
            answer = await client.post("/v1/recognize", content=b"RIFF music", headers=headers)
            assert answer.is_success == (may and not is_form_sent), headers
        twice = [("origin", "http://localhost"), ("origin", "https://evil.example")]
        assert (await client.get("/v1/tracks", headers=twice)).status_code == 403
    refused = len(stage.calls)
    async with http(stage, uploads) as client:
        await client.get("/healthz", headers={"host": "evil.example"})
        await client.delete("/v1/tracks?state=all", headers={"host": "evil.example"})
    assert len(stage.calls) == refused


async def test_the_same_holds_for_a_websocket(stage: Stage, uploads: UploadStore) -> None:
    """A page's socket names both the page and the name that it was called by; each alone is reason enough to refuse it."""
    async with websocket(stage, uploads) as url:
        for host, is_ours in HOSTS.items():
            status, code = await shaken(url, host=host)
            assert (status, code) == ((101, "ok") if is_ours else (403, "forbidden")), host
        for origin, may in ORIGINS.items():
            assert (await shaken(url, origin=origin))[0] == (101 if may else 403), origin
        assert (await shaken(url, host="evil.example", origin="http://localhost:4141"))[0] == 403
        assert (await shaken(url, sec_fetch_site="cross-site", sec_fetch_mode="websocket"))[0] == 403


async def test_the_daemons_own_page_uses_both(stage: Stage, uploads: UploadStore) -> None:
    """Of the page that HTTP serves, at whatever port and by any name of loopback, requests and sockets are taken."""
    async with http(stage, uploads) as client, websocket(stage, uploads) as url:
        port, socket_port = urlsplit(str(client.base_url)).port, urlsplit(url).port
        for name in ("localhost", "127.0.0.1", "[::1]"):
            page = {"origin": f"http://{name}:{port}", "sec-fetch-site": "same-origin"}
            assert (await client.get("/v1/tracks", headers={**page, "host": f"{name}:{port}"})).status_code == 200
            assert await shaken(url, origin=page["origin"], host=f"{name}:{socket_port}") == (101, "ok")


async def test_with_a_token_names_and_pages_open_nothing_without_it(stage: Stage, uploads: UploadStore) -> None:
    """A page that has it may come from anywhere, by any name; one that has none is refused, whatever it is called by and wherever it is from."""
    right = {"authorization": f"Bearer {TOKEN}"}
    async with http(stage, uploads, TOKEN) as client, websocket(stage, uploads, TOKEN) as url:
        for name in ("evil.example", "localhost", PROXY):
            page = {"host": name, "origin": f"http://{name}"}
            assert (await client.get("/v1/tracks", headers=page)).status_code == 401
            assert (await client.get("/v1/tracks", headers={**page, **right})).status_code == 200
            assert await shaken(url, **page) == (401, "unauthorized")
            assert await shaken(url, **page, **right) == (101, "ok")


@pytest.mark.parametrize("token", ["", TOKEN])
async def test_pages_of_elsewhere_read_answers_where_conf_names_them(
    stage: Stage, uploads: UploadStore, token: str
) -> None:
    """A browser that asks first is told so, without a token; for any other page it is told nothing, and keeps the answer from it."""
    ask = {"access-control-request-method": "PATCH", "access-control-request-headers": "authorization"}
    async with http(stage, uploads, token) as client:
        asked = await client.options("/v1/tracks/7", headers={"origin": FRIEND, **ask})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (204, FRIEND)
        assert "PATCH" in asked.headers["access-control-allow-methods"]
        assert "authorization" in asked.headers["access-control-allow-headers"]
        assert asked.headers["vary"] == "origin"
        shown = {"authorization": f"Bearer {token}"} if token else {}
        answer = await client.get("/v1/tracks", headers={"origin": FRIEND, **shown})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, FRIEND)
        for origin in ("https://evil.example", "null", f"{FRIEND}.evil.example", "http://localhost:3000"):
            for answer in (
                await client.options("/v1/tracks/7", headers={"origin": origin, **ask}),
                await client.get("/v1/tracks", headers={"origin": origin, **shown}),
            ):
                assert not any(name.startswith("access-control") for name in answer.headers), origin


def test_one_machine_leaves_connections_to_others() -> None:
    """Of another machine's address a quarter of them, of an IPv6 network too; of this machine's all.  What is closed is given back."""
    places = Places(8)

    def n_had(*addresses: str) -> int:
        with ExitStack() as stack:
            return [stack.enter_context(places.taken(address)) for address in addresses].count(True)

    for _ in range(2):
        assert n_had(*["192.0.2.7"] * 5) == 2
        assert n_had(*(f"2001:db8::{number}" for number in range(5))) == 2
        assert n_had(*["127.0.0.1"] * 10) == 8
        assert n_had(*["::1"] * 10) == 8
        assert n_had(*(f"192.0.2.{number}" for number in range(10))) == 8
        assert n_had("192.0.2.7", "192.0.2.7", "192.0.2.7", "192.0.2.8", "127.0.0.1") == 4


async def test_who_does_not_shake_hands_takes_no_more_places_than_there_are(
    stage: Stage, uploads: UploadStore, tmp_path: Path
) -> None:
    """With TLS, connections that say nothing are closed at once beyond the limit, without a handshake; when one leaves there is a place again."""
    files = await make_certificate(tmp_path)
    settings = HttpSettings(port=0, tls=Tls(*files), max_connections=4)
    trusted = ssl.create_default_context(cafile=str(files[0]))
    async with serving(stage, uploads, settings) as (client, _), AsyncExitStack() as stack:
        address = urlsplit(str(client.base_url))
        held = [await stack.enter_async_context(await opened(address)) for _ in range(4)]
        for _ in range(3):
            async with await opened(address) as refused:
                assert await refused.receive_some(1) == b""
        await held.pop().aclose()
        await trio.testing.wait_all_tasks_blocked()
        async with await opened(address, trusted) as stream:
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
