"""The web page over HTTP: its files, what browsers may keep of them, and what they are told that the page may do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from interfaces_http import serving

from dejavud.interfaces.http import HttpSettings
from dejavud.interfaces.http_pages import content_policy
from dejavud.services.access import Access

if TYPE_CHECKING:
    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore

HOME = HttpSettings(port=0, websockets=lambda: ("ws://127.0.0.1:4242",))
LINK = re.compile(
    r'(?:href|src)="(web/[0-9a-f]{16}/[a-z.]+)"|(?:from|import)\s+"\./([a-z]+\.js)"|new URL\("\./([a-z.]+)"'
)


async def test_the_page_and_all_that_it_loads_are_there_and_small(stage: Stage, uploads: UploadStore) -> None:
    """What the page names, and what its modules import, is served as what it is: 40 kB over the wire, all together."""
    async with serving(stage, uploads, HOME) as (client, _):
        page = await client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        wanted, seen, n_bytes = ["/"], {"/"}, 0
        while wanted:
            address = wanted.pop()
            async with client.stream("GET", address) as answer:
                n_bytes += len(b"".join([piece async for piece in answer.aiter_raw()]))
            whole = await client.get(address)
            assert whole.status_code == 200, address
            assert whole.headers["x-content-type-options"] == "nosniff"
            folder = address.rpartition("/")[0]
            for link, module, worklet in LINK.findall(whole.text):
                found = f"/{link}" if link else f"{folder}/{module or worklet}"
                if found not in seen:
                    seen.add(found)
                    wanted.append(found)
        names = {address.rpartition("/")[2] for address in seen}
        assert {"app.js", "app.css", "icon.svg", "dejavud.js", "microphone.js", "constellation.js"} <= names
        assert n_bytes < 40_000


async def test_what_does_not_change_is_not_asked_for_again(stage: Stage, uploads: UploadStore) -> None:
    """Files are kept for good under a name that tells their contents; the page is asked about, and is 304 while it is the same."""
    async with serving(stage, uploads, HOME) as (client, _):
        page = await client.get("/")
        assert page.headers["cache-control"] == "no-cache"
        again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        [style] = re.findall(r'href="(web/[0-9a-f]+/app\.css)"', page.text)
        assert "immutable" in (await client.get(f"/{style}")).headers["cache-control"]
        old = await client.get("/web/0123456789abcdef/app.css")
        assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")


async def test_nothing_else_is_served_from_the_page_s_folder(stage: Stage, uploads: UploadStore) -> None:
    """No other file of the machine has an address, however it is written, and the page takes no other method than GET."""
    async with serving(stage, uploads, HOME) as (client, _):
        for address in (
            "/web/x/index.html",
            "/web/x/..%2f__init__.py",
            "/web/x/%2e%2e/daemon.py",
            "/web/x/",
            "/web/",
            "/web//etc/passwd",
        ):
            assert (await client.get(address)).status_code == 404, address
        assert (await client.post("/")).status_code == 405


async def test_the_page_may_load_only_what_is_the_daemon_s(stage: Stage, uploads: UploadStore) -> None:
    """The policy names the daemon's own files and sockets, by the name that the browser calls it by, and nothing else; nobody may frame it."""
    async with serving(stage, uploads, HOME) as (client, _):
        answer = await client.get("/", headers={"Host": "localhost:4141"})
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"] == "'self' ws://localhost:4242 wss://localhost:4242"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "microphone=(self)" in answer.headers["permissions-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["x; script-src *", "a b", "x,y", "", "http://x", "x'", "[::1] *"])
def test_a_name_that_is_none_gets_into_no_policy(host: str) -> None:
    """What a client calls the daemon by is no way to loosen the rules."""
    assert "connect-src 'self';" in content_policy(host, ["ws://127.0.0.1:4242"])


async def test_the_page_needs_no_token_and_what_it_shows_does(stage: Stage, uploads: UploadStore) -> None:
    """A browser cannot show a token before it has the page that asks for it; everything behind it does."""
    settings = HttpSettings(port=0, access=Access("correct-horse"))
    async with serving(stage, uploads, settings) as (client, _):
        page = await client.get("/")
        assert page.status_code == 200
        for address in re.findall(r'"(web/[^"]+)"', page.text):
            assert (await client.get(f"/{address}")).status_code == 200
        assert (await client.get("/v1/listeners")).status_code == 401
