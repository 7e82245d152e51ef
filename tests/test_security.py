"""Each rule of docs/security.md, attacked from the outside."""

from __future__ import annotations

import json
import stat
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from daemon_process import Place, ask, run_to_the_end, running_daemon
from security import bearer, code_of, ctl, http_client, made_token, opened, reached, shaken, websocket
from trio_websocket import ConnectionClosed

from dejavuctl.failures import Failed
from dejavud.services.clients import SCOPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WIDE = "0.0.0.0:0"


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("s"))


def configured(place: Place, conf: str) -> Place:
    """Return the place with a conf file."""
    file = place.folder / "dejavud.toml"
    file.write_text(conf)
    return replace(place, options={**place.options, "--config": str(file)})


# -- scopes ---------------------------------------------------------------------------------------------------------

ATTEMPTS = {
    "recognize": [("POST", "/v1/recognize"), ("POST", "/v1/scan"), ("POST", "/upload")],
    "read": [
        ("GET", "/v1/status"),
        ("GET", "/v1/tracks"),
        ("GET", "/v1/tracks/1"),
        ("GET", "/v1/matches"),
        ("GET", "/v1/matches.csv"),
        ("GET", "/v1/listeners"),
        ("GET", "/v1/devices"),
        ("GET", "/metrics"),
        ("HEAD", "/v1/events"),
    ],
    "write": [
        ("POST", "/v1/tracks"),
        ("DELETE", "/v1/tracks/1"),
        ("DELETE", "/v1/tracks?state=all"),
        ("PATCH", "/v1/tracks/1"),
        ("POST", "/v1/listeners"),
        ("DELETE", "/v1/listeners/none"),
    ],
}
"""What needs which scope."""
METHODS = {
    "recognize": ("recognize", "scan", "recognize_microphone"),
    "read": ("status", "tracks.list", "history.list", "listen.list", "events.replay", "metrics", "events.subscribe"),
    "write": ("fingerprint", "tracks.remove", "listen.add", "listen.remove", "history.remove", "listen.send"),
    "admin": ("hooks.test", "compact", "check", "export", "backup", "migrate", "access.list", "access.add", "shutdown"),
}
MAY = {
    ("recognize",): {"recognize"},
    ("read",): {"read"},
    ("write",): {"read", "write"},
    ("admin",): {"recognize", "read", "write", "admin"},
}


async def test_a_token_opens_what_its_scopes_say_and_nothing_else(place: Place) -> None:
    """Over HTTP and WebSocket, each command: what is forbidden is refused for that; what is allowed fails for its own reasons, if it does."""
    async with running_daemon(place) as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        for number, (scopes, may) in enumerate(MAY.items()):
            token = await made_token(daemon, f"client{number}", *scopes)
            async with http_client(http, token) as client, websocket(ws, token) as socket:
                for scope, attempts in ATTEMPTS.items():
                    for method, path in attempts:
                        answer = await client.request(method, path, content=b"{}" if method != "GET" else None)
                        is_forbidden = answer.status_code == 403
                        assert is_forbidden == (scope not in may), (scopes, method, path, answer.text)
                for scope, methods in METHODS.items():
                    for method in methods:
                        code = await socket.ask(method)
                        assert (code == "forbidden") == (scope not in may), (scopes, method, code)
                forbidden = await client.delete("/v1/tracks?state=all")
                if forbidden.status_code == 403:
                    assert "'tracks.remove' needs the scope write" in forbidden.json()["error"]["message"]
                assert (await client.get("/healthz")).status_code == 200
        async with http_client(http) as stranger:
            assert {(await stranger.get(path)).status_code for path in ("/healthz", "/readyz")} == {200}
            for attempts in ATTEMPTS.values():
                for method, path in attempts:
                    assert (await stranger.request(method, path)).status_code == 401
        assert (await daemon.ask("status"))["n_tracks"] == 0
        with pytest.raises(Failed) as unknown:
            await daemon.ask("no.such.command")
    # One that is in no row would be for administrators, which is safe and seldom meant; and no row is of a command that is gone.
    assert set(str(unknown.value.details["known"]).split(", ")) == set(SCOPES)


async def test_nothing_is_received_for_who_may_not_ask(place: Place) -> None:
    """Of a file that a token without scope sends nothing is stored, however it comes."""
    async with running_daemon(place) as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        token = await made_token(daemon, "reader", "read")
        uploads = trio.Path(place.folder, "data", "uploads")
        seen = []

        async def sound() -> AsyncIterator[bytes]:
            for _ in range(64):
                seen.extend(await uploads.iterdir())
                yield b"RIFF" * 4096

        async with http_client(http, token) as client:
            for path in ("/v1/recognize", "/v1/tracks", "/v1/scan", "/upload"):
                answer = await client.post(path, content=sound())
                assert answer.status_code == 403
        async with websocket(ws, token) as socket:
            await socket.connection.send_message(json.dumps({"id": 1, "method": "fingerprint", "audio": True}))
            assert (await socket.receive())["error"]["data"]["code"] == "forbidden"
        assert not seen


# -- tokens ---------------------------------------------------------------------------------------------------------


async def test_a_token_counts_at_once_and_until_it_is_removed(place: Place) -> None:
    """Made, it opens; removed, it opens nothing any more, and what it had opened is closed; the next life of the daemon knows it still."""
    async with running_daemon(place) as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        async with http_client(http) as client:
            assert (await client.get("/v1/status")).status_code == 200
            async with websocket(ws) as early:
                assert await early.ask("status") == "ok"
                phone = (await ctl(place, "tokens", "add", "phone", "--scope", "read")).out.strip()
                with pytest.raises(ConnectionClosed):  # who had no token, while none was asked for
                    await early.receive()
            assert (await client.get("/v1/status")).status_code == 401
            assert (await client.get("/v1/status", headers=bearer(phone))).status_code == 200
        again = await ctl(place, "tokens", "add", "phone")
        assert (again.status, "there is a token 'phone' already" in again.remarks) == (4, True)
        kept = await trio.Path(place.folder, "data", "tokens.json").stat()
        assert stat.S_IMODE(kept.st_mode) == 0o600
    async with running_daemon(place) as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        async with (
            http_client(http, phone) as client,
            websocket(ws, phone) as socket,
            client.stream("GET", "/v1/events") as events,
        ):
            lines = events.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            assert await socket.ask("events.subscribe") == "ok"
            assert (await ctl(place, "tokens", "rm", "phone")).status == 0
            with trio.fail_after(5):
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.receive()
                with pytest.raises(httpx.RemoteProtocolError):  # the stream is cut off
                    async for _ in lines:
                        pass
            assert closed.value.reason is not None
            assert closed.value.reason.code == 1008
        gone = await ctl(place, "tokens", "rm", "phone")
        assert (gone.status, "there is no token 'phone'" in gone.remarks) == (4, True)
        async with http_client(http) as client:
            assert (await client.get("/v1/status")).status_code == 200  # there is none any more, on loopback


async def test_tokens_are_nowhere_but_in_their_owners_hands(place: Place) -> None:
    """Neither the data folder nor log, status, list, error or echoed subprotocol holds one, wherever it was shown; ls says when it last was."""
    async with running_daemon(place, "--log-level", "debug") as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        token = await made_token(daemon, "page", "read")
        listed = (await daemon.ask("access.list"))["tokens"]
        assert listed[0]["last_used_at"] is None
        said = []
        async with http_client(http, token) as client:
            said += [(await client.get("/v1/status")).text, (await client.delete(f"/v1/tracks/{token}")).text]
            said += [
                (await client.get("/v1/status", params={"token": token})).text,
                (await client.get(f"/{token}")).text,
            ]
        async with websocket(ws, None, f"dejavud.token.{token}") as socket:
            assert socket.connection.subprotocol == "dejavud.v1"
            said.append(repr(socket.connection.handshake_headers))
            assert await socket.ask("tracks.list") == "ok"
            assert await socket.ask("tracks.remove", state="all") == "forbidden"
        said += [json.dumps(await daemon.ask("status")), (await ctl(place, "tokens", "ls")).out]
        listed += (await daemon.ask("access.list"))["tokens"]
    assert listed[1]["last_used_at"] is not None
    assert set(listed[1]) == {"name", "scopes", "created_at", "last_used_at"}
    kept = everything_below(place.folder / "data")
    assert token.encode() not in kept
    assert token not in daemon.log
    assert not any(token in text for text in said[4:])
    assert b"last_used_at" in kept


def everything_below(folder: Path) -> bytes:
    """Return what the files of a folder hold."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_token_among_the_subprotocols_is_a_token_like_another(place: Place) -> None:
    """The right one opens, %-encoded where it has to be; a wrong one is answered 401, before there is a connection."""
    guarded = configured(place, "[security]\ntoken = 'correct-horse+battery/staple='\n")
    async with running_daemon(guarded) as daemon:
        status = await trio.to_thread.run_sync(partial(status_of, guarded, "correct-horse+battery/staple="))
        ws = status["endpoints"]["websocket"][0]
        for offered in ("dejavud.token.wrong", "dejavud.token.", "dejavud.token.%00", "DEJAVUD.TOKEN.x", "x"):
            refused = await shaken(ws, sec_websocket_protocol=f"dejavud.v1, {offered}")
            assert refused == (401, "unauthorized")
        async with websocket(ws, None, "dejavud.token.correct-horse%2Bbattery%2Fstaple%3D") as socket:
            assert await socket.ask("status") == "ok"
        assert "battery" not in daemon.log


def status_of(place: Place, token: str) -> dict[str, Any]:
    """Return the daemon's status, asked with a token."""
    return ask(place.control, "status", {}, token)


# -- other machines -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["--http", "--ws"])
async def test_nobody_listens_to_other_machines_without_a_token(place: Place, door: str) -> None:
    """Refused with what to do; with a token made before it starts, and when that is removed it lets nobody in, rather than everybody."""
    wide = replace(place, options={**place.options, door: WIDE})
    refused = await run_to_the_end(wide)
    assert refused.returncode == 2
    assert "dejavuctl tokens add NAME" in refused.stderr
    assert "security.token" in refused.stderr
    if door == "--ws":
        return
    async with running_daemon(place) as daemon:
        token = await made_token(daemon, "tablet", "read")
    async with running_daemon(wide) as daemon:
        http = await reached(daemon, "http")
        async with http_client(http) as client:
            assert (await client.get("/v1/status")).status_code == 401
            assert (await client.get("/v1/status", headers=bearer(token))).status_code == 200
            await daemon.ask("access.remove", name="tablet")
            assert (await client.get("/v1/status")).status_code == 401
            assert (await client.get("/v1/status", headers=bearer(token))).status_code == 401


async def test_a_file_of_tokens_that_cannot_be_used_stops_the_daemon(place: Place) -> None:
    """To go on without it would let in who should not be, or shut out who should."""
    data = place.folder / "data"
    data.mkdir()
    (data / "tokens.json").write_text('[{"name": "phone", "scopes": ["read"]}]')
    done = await run_to_the_end(place)
    assert done.returncode == 2
    assert "tokens.json: the file of tokens cannot be used (KeyError): put it right, or remove it" in done.stderr


# -- limits ---------------------------------------------------------------------------------------------------------


async def test_a_client_has_its_share_and_no_more(place: Place) -> None:
    """What one asks beyond its rate is refused with when to come again, over HTTP and WebSocket; others, and this user's socket, go on.

    Programs of this machine are not counted while there is no token: they are alone.
    """
    limited = configured(place, "[limits]\nclient_rate = 0.5\n")
    async with running_daemon(limited) as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        async with http_client(http) as client:
            assert [(await client.get("/v1/tracks")).status_code for _ in range(10)] == [200] * 10
        one, other = await made_token(daemon, "one", "read"), await made_token(daemon, "other", "read")
        async with http_client(http, one) as client:
            answers = [await client.get("/v1/tracks") for _ in range(7)]
            codes = [code_of(answer) for answer in answers]
            assert codes == ["ok"] * 5 + ["rate_limited"] * 2
            assert (answers[-1].status_code, int(answers[-1].headers["retry-after"])) == (429, 2)
            assert 0 < answers[-1].json()["error"]["details"]["retry_after_s"] <= 2
            assert (await client.get("/healthz")).status_code == 200
            assert (await client.get("/v1/events")).status_code == 429
            assert await shaken(ws, authorization=f"Bearer {one}") == (429, "rate_limited")
        async with http_client(http, other) as client, websocket(ws, other) as socket:
            assert code_of(await client.get("/v1/tracks")) == "ok"
            codes = [await socket.ask("tracks.list") for _ in range(4)]
            assert codes == ["ok"] * 3 + ["rate_limited"]
        for _ in range(20):
            await daemon.ask("status")
    assert '"outcome": "rate_limited"' in daemon.log


async def test_a_client_has_so_many_requests_in_work(place: Place) -> None:
    """Beyond client_requests the next is refused at once; when one ends there is room again.  A reload changes the limit."""
    limited = configured(place, "[limits]\nclient_requests = 2\n")
    async with running_daemon(limited) as daemon:
        http = await reached(daemon, "http")
        held = [trio.Event() for _ in range(2)]
        release = trio.Event()

        async def slow(began: trio.Event) -> AsyncIterator[bytes]:
            yield b"RIFF"
            began.set()
            await release.wait()

        token = await made_token(daemon, "one", "admin")
        async with http_client(http, token) as client, trio.open_nursery() as nursery:
            for began in held:
                nursery.start_soon(partial(client.post, "/v1/recognize", content=slow(began)))
            for began in held:
                await began.wait()
            await until_refused(client)
            configured(place, "[limits]\nclient_requests = 3\n")
            assert "limits.client_requests" in (await daemon.ask("reload"))["changed"]
            assert code_of(await client.get("/v1/tracks")) == "ok"
            release.set()


async def test_what_is_in_work_ends_with_its_token(place: Place) -> None:
    """A request whose token is removed is answered 401 and given up, in the middle of its body too."""
    async with running_daemon(place) as daemon:
        token, http = await made_token(daemon, "phone", "recognize"), await reached(daemon, "http")
        head = f"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 99\r\n\r\nRIFF"
        async with await opened(urlsplit(http)) as stream:
            await stream.send_all(head.encode())
            with trio.fail_after(10):
                while not list(await trio.Path(place.folder, "data", "uploads").iterdir()):  # noqa: ASYNC110 - the daemon's
                    await trio.sleep(0.01)
            await daemon.ask("access.remove", name="phone")
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 401")


async def until_refused(client: httpx.AsyncClient) -> None:
    """Return when a request is refused, as soon as the daemon has read the heads of those before it."""
    with trio.fail_after(10):
        while code_of(await client.get("/v1/tracks")) != "rate_limited":
            pass


async def test_usual_limits_hinder_nobody(place: Place) -> None:
    """Two hundred requests of this machine at once are all answered."""
    async with running_daemon(place) as daemon:
        http = await reached(daemon, "http")
        address, codes = urlsplit(http), Counter[bytes]()

        async def ask() -> None:
            async with await opened(address) as stream:
                await stream.send_all(b"GET /v1/tracks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                codes[(await stream.receive_some(12))[9:12]] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(200):
                nursery.start_soon(ask)
    assert codes == {b"200": 200}


async def test_nobody_guesses_on_by_saying_that_he_is_another(place: Place) -> None:
    """What X-Forwarded-For says counts for nothing, until its writer is trusted; and then no more than what that wrote, over HTTP and WebSocket alike."""
    text = "[security]\ntoken = 'correct-horse'\n"
    guarded = configured(place, text)

    async def guesses(client: httpx.AsyncClient, *told: str) -> list[int]:
        wrong = bearer("guess")
        return [(await client.get("/v1/status", headers={**wrong, "x-forwarded-for": one})).status_code for one in told]

    async with running_daemon(guarded) as daemon:
        endpoints = (await trio.to_thread.run_sync(partial(status_of, guarded, "correct-horse")))["endpoints"]
        [ws] = endpoints["websocket"]
        async with http_client(endpoints["http"][0]) as client:
            others = [f"192.0.2.{number}" for number in range(12)]
            assert await guesses(client, *others) == [401] * 10 + [429] * 2
            configured(place, f"{text}trusted_proxies = ['127.0.0.1']\n")
            assert (await ctl(guarded, "--token", "correct-horse", "reload")).status == 0
            assert await guesses(client, *others) == [401] * 12
            spoofed = [f"192.0.2.{number}, 198.51.100.1" for number in range(12)]
            assert await guesses(client, *spoofed) == [401] * 10 + [429] * 2
            for last, status in (("198.51.100.1", 429), ("198.51.100.2", 401)):
                assert (await shaken(ws, authorization="Bearer guess", x_forwarded_for=f"127.0.0.1, {last}"))[
                    0
                ] == status
    assert '"client": "198.51.100.1"' in daemon.log


async def test_guessing_is_slow_and_shuts_nobody_out(place: Place) -> None:
    """After ten wrong tokens an address is told to wait, even for the right word of conf; a token of ours from there is still taken."""
    guarded = configured(place, "[security]\ntoken = 'correct-horse'\n")
    async with running_daemon(guarded) as daemon:
        status = await trio.to_thread.run_sync(partial(status_of, guarded, "correct-horse"))
        http = status["endpoints"]["http"][0]
        made = await ctl(guarded, "--token", "correct-horse", "tokens", "add", "phone", "--scope", "read")
        async with http_client(http) as client:
            assert (await client.get("/v1/status", headers=bearer("correct-horse"))).status_code == 200
            guesses = [await client.get("/v1/status", headers=bearer(f"guess-{n:03}")) for n in range(12)]
            assert [guess.status_code for guess in guesses] == [401] * 10 + [429] * 2
            assert int(guesses[-1].headers["retry-after"]) >= 1
            assert (await client.get("/v1/status", headers=bearer("correct-horse"))).status_code == 429
            assert (await client.get("/v1/status", headers=bearer(made.out.strip()))).status_code == 200
            assert (await client.get("/v1/status")).status_code == 401  # none is no guess
        assert "correct-horse" not in daemon.log
        assert "guess-" not in daemon.log
