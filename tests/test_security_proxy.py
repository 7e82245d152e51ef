"""The recipe of docs/security.md for a proxy that speaks TLS, as it stands there, with a real nginx before a real daemon."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio
from daemon_process import Place, running_daemon
from security import bearer, http_client, made_token, make_certificate, opened, reached, websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = (Path(__file__).parents[1] / "docs" / "security.md").read_text("utf-8")
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
AROUND = """
daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{servers}
}}
"""


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("p"))


def recipe() -> str:
    """Return the servers of the page's nginx."""
    found = re.search(r"^nginx:\n\n((?:    .*\n)+)", PAGE, re.MULTILINE)
    assert found is not None
    return found[1]


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def nginx(folder: Path, ports: dict[str, int]) -> AsyncIterator[None]:
    """Run nginx by the recipe, its addresses and ports put where the test has them."""
    assert NGINX is not None, "nginx is needed for this: apt-get install nginx"
    servers = recipe().replace("fullchain.pem", f"{folder}/certificate.pem").replace("key.pem;", f"{folder}/key.pem;")
    for written, port in ports.items():
        assert written in servers
        servers = servers.replace(written, f"127.0.0.1:{port}")
    conf = folder / "nginx.conf"
    conf.write_text(AROUND.format(folder=folder, servers=servers))
    async with trio.open_nursery() as nursery:
        command = [NGINX, "-p", str(folder), "-c", str(conf), "-e", "stderr"]
        process = await trio.lowlevel.open_process(command)
        try:
            for port in (ports["192.0.2.5:443"], ports["192.0.2.5:4242"]):
                await until_reached(port)
            yield
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()


async def until_reached(port: int) -> None:
    """Return when somebody listens at the port."""
    with trio.fail_after(20):
        while True:
            try:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
            except OSError:
                await trio.sleep(0.02)
            else:
                return


async def test_behind_a_proxy_who_has_a_token_comes_in_and_nobody_else(place: Place) -> None:
    """By the proxy's name everything is refused until there is a token; then HTTP, events and WebSocket go through, as they happen."""
    certificate, _ = await make_certificate(place.folder)
    trusted = ssl.create_default_context(cafile=str(certificate))
    async with running_daemon(place) as daemon:
        inside = {door: urlsplit(await reached(daemon, door)).port or 0 for door in ("http", "websocket")}
        outside = {"http": free_port(), "websocket": free_port()}
        ports = {
            "192.0.2.5:443": outside["http"],
            "192.0.2.5:4242": outside["websocket"],
            "127.0.0.1:4141": inside["http"],
            "127.0.0.1:4242": inside["websocket"],
        }
        url = f"https://localhost:{outside['http']}"
        proxied = {"host": "radio.example"}
        async with nginx(place.folder, ports), http_client(url, verify=trusted) as client:
            assert (await client.get("/v1/status", headers=proxied)).status_code == 403
            token = await made_token(daemon, "phone", "recognize", "read")
            shown = {**proxied, **bearer(token)}
            assert (await client.get("/v1/status", headers=proxied)).status_code == 401
            assert (await client.get("/v1/status", headers=shown)).status_code == 200
            answer = await client.post("/v1/recognize", headers=shown, content=b"x" * 2_000_000)
            assert answer.json()["error"]["code"] == "unsupported_audio"
            async with await opened(urlsplit(url), trusted) as stream:
                ask = f"GET /v1/events HTTP/1.1\r\nHost: radio.example\r\nAuthorization: Bearer {token}\r\n\r\n"
                await stream.send_all(ask.encode())
                told = b""
                with trio.fail_after(10):
                    while b"retry: 2000\n" not in told:
                        told += await stream.receive_some()
            async with websocket(f"wss://localhost:{outside['websocket']}", token, tls=trusted) as session:
                assert await session.ask("tracks.list") == "ok"
                assert await session.ask("tracks.remove", state="all") == "forbidden"
