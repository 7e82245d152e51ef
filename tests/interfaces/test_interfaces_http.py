"""HTTP ``/v1``: what its addresses answer, whom they answer, and what a bad client costs."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import trio
from interfaces_http import serving
from interfaces_table import CRASH, MUSIC, NOISE, RUBBISH, SHA1, SLOW, TRACK

from dejavud.errors import AddressInUse, InvalidConfig
from dejavud.interfaces.http import HttpSettings, serve_http
from dejavud.services.access import Access

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore

TOKEN = "s3cret"  # noqa: S105 - of a server that lives for one test


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return the error in an envelope that is exactly one."""
    body = response.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message", "details"}
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = body["error"]
    return error


async def raw_exchange(client: httpx.AsyncClient, *pieces: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes."""
    stream = await trio.open_tcp_stream(str(client.base_url.host), client.base_url.port or 0)
    answer = b""
    async with stream:
        for piece in pieces:
            await stream.send_all(piece)
        while data := await stream.receive_some(65536):
            answer += data
    return answer


async def until_refused(client: httpx.AsyncClient) -> None:
    """Return when nobody listens any more."""
    with contextlib.suppress(OSError):
        while True:
            await (await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)).aclose()


def is_filled(folder: Path) -> bool:
    """Tell whether anything is in `folder`."""
    return any(folder.iterdir())


# -- answers --------------------------------------------------------------------------------------------------------


async def test_recognize_takes_a_body_and_a_form(stage: Stage, uploads: UploadStore) -> None:
    """Both ways to send audio give the same recognition; the query's name and limit reach the command."""
    async with serving(stage, uploads) as (client, _):
        raw = await client.post("/v1/recognize?name=clip.wav&limit_s=2.5", content=MUSIC)
        form = await client.post("/v1/recognize", files={"file": ("clip.wav", MUSIC)})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json()
    assert raw.json()["query"]["source"] == "clip.wav"
    assert raw.json()["matches"][0]["track"] == TRACK
    assert [params.limit_s for _, params, _ in stage.calls] == [2.5, None]
    assert not any(call.may_read_paths or params.raw_fallback for _, params, call in stage.calls)


async def test_recognize_without_a_match_is_a_success(stage: Stage, uploads: UploadStore) -> None:
    """Nothing recognized is an answer with no matches, not an error."""
    async with serving(stage, uploads) as (client, _):
        response = await client.post("/v1/recognize", content=NOISE)
    assert (response.status_code, response.json()["matches"]) == (200, [])


async def test_scan_takes_a_body_a_form_and_an_address(stage: Stage, uploads: UploadStore) -> None:
    """A recording comes as `recognize` takes it, or a JSON object names its address; its name and limit reach the command."""
    async with serving(stage, uploads) as (client, _):
        raw = await client.post("/v1/scan?name=show.mp3&limit_s=60", content=MUSIC)
        form = await client.post("/v1/scan", files={"file": ("show.mp3", MUSIC)})
        remote = await client.post(
            "/v1/scan", json={"url": "http://radio.example/a?b=c", "limit_s": 9, "source": "radio"}
        )
        nothing = await client.post("/v1/scan")
    assert [answer.status_code for answer in (raw, form, remote, nothing)] == [200, 200, 200, 400]
    assert [answer.json()["recording"]["source"] for answer in (raw, form, remote)] == ["show.mp3", "show.mp3", "radio"]
    assert [(params.url, params.limit_s, params.source) for _, params, _ in stage.calls] == [
        (None, 60.0, "show.mp3"),
        (None, None, None),
        ("http://radio.example/a?b=c", 9.0, "radio"),
    ]


async def test_tracks_are_added_listed_shown_and_removed(stage: Stage, uploads: UploadStore) -> None:
    """A track is created once with 201, is there with 200 afterwards, and its tags come by query or by form field."""
    async with serving(stage, uploads) as (client, _):
        added = await client.post("/v1/tracks?title=One&artist=A", content=MUSIC)
        again = await client.post("/v1/tracks", content=MUSIC)
        form = await client.post(
            "/v1/tracks", files={"file": ("b.mp3", NOISE)}, data={"title": "Två", "album": "B", "limit_s": "3"}
        )
        page = await client.get("/v1/tracks?limit=5&after_id=3")
        shown = await client.get("/v1/tracks/7")
        removed = await client.delete("/v1/tracks/7")
    assert [added.status_code, again.status_code, form.status_code] == [201, 200, 201]
    assert (added.json()["added"], again.json()["added"]) == (True, False)
    assert form.json()["track"]["title"] == "Två"
    params = [params for name, params, _ in stage.calls if name == "fingerprint"]
    assert (params[0].title, params[0].artist) == ("One", "A")
    assert (params[2].album, params[2].limit_s) == ("B", 3.0)
    assert page.json() == {"tracks": [TRACK] * 5, "next_after_id": None}
    assert shown.json() == {"track": TRACK}
    assert removed.json() == {"removed": [TRACK]}


async def test_tracks_are_chosen_changed_and_removed_by_what_is_known_of_them(
    stage: Stage, uploads: UploadStore
) -> None:
    """The query says which tracks, as the commands take it, and a body of JSON what to change."""
    chosen = "ids=7,8&sha1s=" + SHA1 + "&search=one%20two&artist=A&album=&path=/m&state=all&added_after=2026-01-01"
    async with serving(stage, uploads) as (client, _):
        await client.get(f"/v1/tracks?{chosen}&sort=title&reverse=true&cursor=x&limit=3")
        edited = await client.patch("/v1/tracks/7", json={"title": "New", "artist": ""})
        for disabled in (True, False):
            assert (await client.patch(f"/v1/tracks?{chosen}", json={"disabled": disabled})).status_code == 200
        removed = await client.delete(f"/v1/tracks?{chosen}")
    names = ["tracks.list", "tracks.edit", "tracks.disable", "tracks.enable", "tracks.remove"]
    assert [name for name, _, _ in stage.calls] == names
    listed, edit, *changes = [params for _, params, _ in stage.calls]
    for params in (listed, *changes):
        assert (params.ids, params.sha1s, params.search) == ((7, 8), (SHA1,), "one two")
        assert (params.artist, params.album, params.path, params.state) == ("A", "", "/m", "all")
    assert (listed.sort, listed.reverse, listed.cursor, listed.limit) == ("title", True, "x", 3)
    assert (edit.ids, edit.title, edit.artist, edit.album) == ((7,), "New", "", None)
    assert edited.json() == {"track": {**TRACK, "title": "New"}}
    assert removed.json() == {"removed": [TRACK]}


async def test_status_and_health_answer(stage: Stage, uploads: UploadStore) -> None:
    """Status is the command's result; health says ok without asking any command."""
    async with serving(stage, uploads) as (client, _):
        assert (await client.get("/v1/status")).json() == {"version": "0"}
        assert (await client.get("/healthz")).json() == {"status": "ok"}


ERRORS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "unknown address": ("GET", "/v2/songs", {}, 404, "not_found"),
    "slash too many": ("GET", "/v1/tracks/", {}, 404, "not_found"),
    "wrong method": ("DELETE", "/v1/status", {}, 405, "method_not_allowed"),
    "recognize by GET": ("GET", "/v1/recognize", {"content": MUSIC}, 405, "method_not_allowed"),
    "no audio": ("POST", "/v1/recognize", {}, 400, "invalid_request"),
    "empty file in a form": ("POST", "/v1/recognize", {"files": {"file": ("a.wav", b"")}}, 400, "invalid_request"),
    "form without the field": ("POST", "/v1/recognize", {"files": {"x": ("a.wav", MUSIC)}}, 400, "invalid_request"),
    "field too long": (
        "POST",
        "/v1/tracks",
        {"files": {"file": ("a.wav", MUSIC)}, "data": {"title": "x" * 5000}},
        400,
        "invalid_request",
    ),
    "undecodable": ("POST", "/v1/recognize", {"content": RUBBISH}, 415, "unsupported_audio"),
    "unknown query parameter": ("GET", "/v1/tracks?page=2", {}, 400, "invalid_request"),
    "wrong number": ("GET", "/v1/tracks?limit=ten", {}, 400, "invalid_request"),
    "not a number": ("POST", "/v1/recognize?limit_s=nan", {"content": MUSIC}, 400, "invalid_request"),
    "unknown form field": (
        "POST",
        "/v1/tracks",
        {"files": {"file": ("a.wav", MUSIC)}, "data": {"year": "1999"}},
        400,
        "invalid_request",
    ),
    "no such track": ("GET", "/v1/tracks/8", {}, 404, "track_not_found"),
    "no such track to remove": ("DELETE", "/v1/tracks/8", {}, 404, "track_not_found"),
    "no such track to change": ("PATCH", "/v1/tracks/8", {"json": {"title": "x"}}, 404, "track_not_found"),
    "no change": ("PATCH", "/v1/tracks/7", {}, 400, "invalid_request"),
    "an unknown change": ("PATCH", "/v1/tracks/7", {"json": {"year": 1999}}, 400, "invalid_request"),
    "other tracks than the address's": ("PATCH", "/v1/tracks/7", {"json": {"ids": [8]}}, 400, "invalid_request"),
    "too long a change": ("PATCH", "/v1/tracks/7", {"json": {"title": "x" * 1_100_000}}, 400, "invalid_request"),
    "titles by filter": ("PATCH", "/v1/tracks?artist=A", {"json": {"title": "x"}}, 400, "invalid_request"),
    "removing without saying what": ("DELETE", "/v1/tracks", {}, 403, "nothing_selected"),
    "disabling without saying what": ("PATCH", "/v1/tracks", {"json": {"disabled": True}}, 403, "nothing_selected"),
    "a wrong list": ("DELETE", "/v1/tracks?ids=1,x", {}, 400, "invalid_request"),
    "neither true nor false": ("GET", "/v1/tracks?reverse=1", {}, 400, "invalid_request"),
    "not a track id": ("GET", "/v1/tracks/seven", {}, 404, "track_not_found"),
    "absurd track id": ("GET", "/v1/tracks/" + "9" * 5000, {}, 404, "track_not_found"),
    "path of the server": ("POST", "/v1/recognize?path=/etc/passwd", {"content": MUSIC}, 400, "invalid_request"),
    "a bug": ("POST", "/v1/recognize", {"content": CRASH}, 500, "internal_error"),
    "a result that is no JSON": ("POST", "/v1/recognize", {"content": b"RIFF nan"}, 500, "internal_error"),
    "too large": ("POST", "/v1/recognize", {"content": b"x" * (5 << 20)}, 413, "too_large"),
    "too large a form": ("POST", "/v1/recognize", {"files": {"file": ("a", b"x" * (5 << 20))}}, 413, "too_large"),
    "broken form": (
        "POST",
        "/v1/recognize",
        {"content": b"--y", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        "invalid_request",
    ),
}


@pytest.mark.parametrize("row", ERRORS)
async def test_every_error_has_its_status_and_the_one_envelope(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, row: str
) -> None:
    """Whatever is wrong, the body is the envelope with a stable code, and no upload is left behind."""
    method, path, request, status, code = ERRORS[row]
    async with serving(stage, uploads) as (client, _):
        response = await client.request(method, path, **request)
        assert (response.status_code, error_of(response)["code"]) == (status, code)
        assert (await client.get("/healthz")).status_code == 200
        assert not is_filled(uploads_folder)


async def test_wrong_method_names_the_right_ones(stage: Stage, uploads: UploadStore) -> None:
    """A 405 carries Allow, as HTTP asks."""
    async with serving(stage, uploads) as (client, _):
        response = await client.put("/v1/recognize")
    assert response.headers["allow"] == "POST"


# -- who may ask ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/status", "/v1/tracks", "/upload", "/nowhere"])
@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer {TOKEN}x", "Bearer \u00e9"]
)
async def test_a_token_is_asked_everywhere(
    stage: Stage, uploads: UploadStore, path: str, authorization: str | None
) -> None:
    """Without the token, or with anything but it, no address answers but with 401."""
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    async with serving(stage, uploads, HttpSettings(port=0, access=Access(TOKEN))) as (client, _):
        response = await client.get(path, headers=headers)  # type: ignore[arg-type]
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert not stage.calls


async def test_the_token_opens_and_health_needs_none(stage: Stage, uploads: UploadStore) -> None:
    """The right token is let in from anywhere and by any name; health is for whoever watches the daemon."""
    foreign = {"host": "radio.example:4141", "origin": "https://radio.example"}
    async with serving(stage, uploads, HttpSettings(port=0, access=Access(TOKEN))) as (client, _):
        assert (await client.get("/healthz", headers=foreign)).status_code == 200
        opened = await client.get("/v1/status", headers={"authorization": f"bearer {TOKEN}", **foreign})
    assert opened.status_code == 200


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "localhost"}, True),
        ({"host": "LOCALHOST:1"}, True),
        ({"host": "127.0.0.1:4141"}, True),
        ({"host": "127.8.8.8"}, True),
        ({"host": "[::1]:4141"}, True),
        ({"origin": "http://localhost:3000"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example:4141"}, False),
        ({"host": "localhost.evil.example"}, False),
        ({"host": "localhost@evil.example"}, False),
        ({"host": "evil@localhost"}, False),
        ({"host": "192.168.1.5"}, False),
        ({"host": "[::1"}, False),
        ({"host": ""}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1.evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
    ],
)
@pytest.mark.parametrize("path", ["/v1/tracks", "/upload", "/healthz"])
async def test_foreign_pages_and_rebound_names_are_refused(
    stage: Stage, uploads: UploadStore, headers: dict[str, str], path: str, *, allowed: bool
) -> None:
    """Without a token only loopback's names may be used, by pages of loopback's names."""
    async with serving(stage, uploads) as (client, _):
        response = await client.post(path, content=MUSIC, headers=headers)
    assert (response.status_code == 403) is not allowed
    assert bool(stage.calls) is (allowed and path != "/healthz")


# -- bad clients ----------------------------------------------------------------------------------------------------


HEAD = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\n"


async def test_chunked_body_beyond_the_limit_is_cut(stage: Stage, uploads: UploadStore, uploads_folder: Path) -> None:
    """A body that names no length is refused where the limit is, not when it ends."""
    piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with serving(stage, uploads) as (client, _):
        answer = await raw_exchange(client, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[piece] * 100)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert not is_filled(uploads_folder)
        assert (await client.get("/healthz")).status_code == 200


async def test_client_that_never_stops_sending_is_cut_off(stage: Stage, uploads: UploadStore) -> None:
    """A refused client that goes on sending for ever holds its connection for a moment only."""
    async with serving(stage, uploads) as (client, _):
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        async with stream:
            with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - the loop ends with the error
                await stream.send_all(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                while True:
                    await stream.send_all(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        assert (await client.get("/healthz")).status_code == 200


async def test_refusal_is_readable_while_the_client_still_sends(stage: Stage, uploads: UploadStore) -> None:
    """A declared body beyond the limit gets its 413 at once, and the rest of it does not reset the answer away."""
    async with serving(stage, uploads) as (client, _):
        answer = await raw_exchange(client, HEAD + b"Content-Length: 104857600\r\n\r\n", b"x" * (1 << 20))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"too_large"' in answer


async def test_length_that_lies_short_leaves_no_audio_behind(stage: Stage, uploads: UploadStore) -> None:
    """Bytes past the declared length are no part of the audio, and what they are taken for is refused."""
    async with serving(stage, uploads) as (client, _):
        answer = await raw_exchange(
            client, HEAD + b"Content-Length: 10\r\n\r\n" + MUSIC + b"and more, all of it rubbish\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in answer
    assert stage.heard == [MUSIC]


async def test_requests_behind_each_other_are_answered_in_order(stage: Stage, uploads: UploadStore) -> None:
    """Sent all at once on one connection, each is one request with its own body."""
    one = HEAD + b"Content-Length: %d\r\n\r\n" % len(MUSIC) + MUSIC
    other = HEAD.replace(b"recognize", b"nowhere") + b"Content-Length: 4\r\n\r\nbody"
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with serving(stage, uploads) as (client, _):
        answer = await raw_exchange(client, one + other + one + last)
    statuses = re.findall(rb"HTTP/1.1 (\d+) ", answer)
    assert statuses == [b"200", b"404", b"200", b"200"]
    assert stage.heard == [MUSIC, MUSIC]


async def test_a_client_that_asks_first_is_told_to_send(stage: Stage, uploads: UploadStore) -> None:
    """`Expect: 100-continue`: told to go on, then answered; and refused where its length is beyond the limit, though it has sent nothing."""
    async with serving(stage, uploads) as (client, _):
        asked = HEAD + b"Expect: 100-continue\r\nConnection: close\r\nContent-Length: "
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        async with stream:
            await stream.send_all(asked + b"%d\r\n\r\n" % len(MUSIC))
            told = b""
            while b"\r\n\r\n" not in told:
                told += await stream.receive_some(65536)
            assert told.startswith(b"HTTP/1.1 100 ")
            await stream.send_all(MUSIC)
            answer = b""
            while data := await stream.receive_some(65536):
                answer += data
        refused = await raw_exchange(client, asked + b"104857600\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 413 " in refused


@pytest.mark.parametrize(
    "lie",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nRIFF musi",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nRIFF",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\nRIFF\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity, chunked\r\n\r\n4\r\nRIFF\r\n0\r\n\r\n",
        b"Content-Length: +4\r\n\r\nRIFF",
        b"Content-Length: 99999999999999999999999\r\n\r\nRIFF",
    ],
)
async def test_bodies_that_lie_are_never_recognized(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, lie: bytes
) -> None:
    """Two lengths, chunks of another size than they say, of an absurd and of a negative one: no audio, and no second request smuggled in."""
    async with serving(stage, uploads, HttpSettings(port=0, keep_alive_s=0.3, body_idle_s=0.3)) as (client, _):
        answer = await raw_exchange(client, HEAD + lie)
        assert b"HTTP/1.1 200 " not in answer
        assert not stage.calls
        assert (await client.get("/healthz")).status_code == 200
        while is_filled(uploads_folder):  # the connection is closed before its request is
            await trio.lowlevel.checkpoint()


async def test_a_form_of_very_many_parts_costs_what_a_form_costs(
    stage: Stage, uploads: UploadStore, uploads_folder: Path
) -> None:
    """Thousands of fields and files: refused, or the first file taken, and nothing is kept of the others."""
    async with serving(stage, uploads) as (client, _):
        fields = await client.post("/v1/tracks", files=[(f"f{n}", (None, b"x")) for n in range(2000)])
        assert (fields.status_code, error_of(fields)["code"]) == (400, "invalid_request")
        files = await client.post("/v1/recognize", files=[("file", (f"{n}.wav", MUSIC)) for n in range(500)])
        assert (files.status_code, stage.heard) == (200, [MUSIC])
        assert not is_filled(uploads_folder)


async def test_length_that_lies_long_is_no_request(stage: Stage, uploads: UploadStore, uploads_folder: Path) -> None:
    """A client that ends before its declared length is not answered with a recognition of the half that came."""
    async with serving(stage, uploads) as (client, _):
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        await stream.send_all(HEAD + b"Content-Length: 1000\r\n\r\nRIFF half")
        await stream.send_eof()
        answer = b""
        while data := await stream.receive_some(65536):
            answer += data
        await stream.aclose()
        assert b" 200 " not in answer
        assert (await client.get("/healthz")).status_code == 200
    assert not stage.heard
    assert not is_filled(uploads_folder)


@pytest.mark.parametrize("pace", ["stalls", "trickles"])
async def test_slow_body_is_cut(stage: Stage, uploads: UploadStore, uploads_folder: Path, pace: str) -> None:
    """A body that stops coming, or comes for ever, ends in 408 with the code of a timeout."""
    settings = HttpSettings(port=0, body_idle_s=0.2, body_total_s=0.5)
    async with serving(stage, uploads, settings) as (client, _):
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        await stream.send_all(HEAD + b"Content-Length: 1000\r\n\r\n")
        answer = b""
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(0.05)

            if pace == "trickles":
                nursery.start_soon(trickle)
            while b"\r\n\r\n{" not in answer:
                answer += await stream.receive_some(65536)
            nursery.cancel_scope.cancel()
        await stream.aclose()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "timeout"
    assert not is_filled(uploads_folder)


async def test_slow_head_and_silent_connections_are_closed(stage: Stage, uploads: UploadStore) -> None:
    """A connection that does not bring a whole request head in time is closed."""
    async with serving(stage, uploads, HttpSettings(port=0, keep_alive_s=0.2)) as (client, _):
        assert await raw_exchange(client) == b""
        assert await raw_exchange(client, b"GET /healthz HTTP/1.1\r\nHost: loc") == b""


async def test_client_that_does_not_read_is_cut_off(stage: Stage, uploads: UploadStore) -> None:
    """An answer that nobody takes holds its connection for `send_s`, and the end of the server not at all."""
    health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    async with serving(stage, uploads, HttpSettings(port=0, send_s=0.3, max_connections=1)) as (client, _):
        stuck = trio.socket.socket()
        stuck.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
        await stuck.connect(("127.0.0.1", client.base_url.port))
        stream = trio.SocketStream(stuck)
        await stream.send_all(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        with trio.fail_after(5):  # not the time for which a connection may be idle, which is three times that
            while not (await raw_exchange(client, health)).startswith(b"HTTP/1.1 200 "):
                pass  # the one connection there may be is still the stuck one
        await stream.aclose()


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"y" * 40_000 + b"\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x05\x02\x00\x00\x00\x01\x00\x00\x00\x01\x10",
    ],
)
async def test_broken_requests_end_their_connection_and_nothing_else(
    stage: Stage, uploads: UploadStore, rubbish: bytes
) -> None:
    """Whatever bytes come, the server closes that connection and goes on serving the others."""
    async with serving(stage, uploads, HttpSettings(port=0, keep_alive_s=0.3, body_idle_s=0.3)) as (client, _):
        answer = await raw_exchange(client, rubbish)
        assert b" 200 " not in answer
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "upgrade",
    [
        b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    ],
)
async def test_upgrades_are_not_followed(stage: Stage, uploads: UploadStore, upgrade: bytes) -> None:
    """A request to change the protocol is answered in this one."""
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    async with serving(stage, uploads, HttpSettings(port=0, keep_alive_s=0.2)) as (client, _):
        answer = await raw_exchange(client, head + upgrade + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_client_that_leaves_takes_its_request_along(
    stage: Stage, uploads: UploadStore, uploads_folder: Path
) -> None:
    """When a client is gone before its answer, the command is cancelled and its bytes are deleted."""
    async with serving(stage, uploads) as (client, _):
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        await stream.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % len(SLOW) + SLOW)
        await stage.until(lambda: stage.working == 1)
        await stream.aclose()
        await stage.until(lambda: stage.abandoned == 1)
        assert (await client.get("/healthz")).status_code == 200
        assert not is_filled(uploads_folder)


async def test_too_many_requests_are_busy_but_health_is_not(stage: Stage, uploads: UploadStore) -> None:
    """Beyond the bound a request is told to come again, while those in work go on."""
    async with serving(stage, uploads, HttpSettings(port=0, max_requests=1)) as (client, _):
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.post("/v1/recognize", content=SLOW))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await stage.until(lambda: stage.working == 1)
            busy = await client.get("/v1/status")
            assert (busy.status_code, error_of(busy)["code"]) == (503, "busy")
            assert busy.headers["retry-after"] == "1"
            assert (await client.get("/healthz")).status_code == 200
            stage.release.set()
    assert answers[0].status_code == 200


async def test_too_many_connections_are_told_so(stage: Stage, uploads: UploadStore) -> None:
    """A connection beyond the bound gets a 503 in the envelope and is closed."""
    async with serving(stage, uploads, HttpSettings(port=0, max_connections=1)) as (client, _):
        await client.get("/healthz")  # this connection is kept alive
        answer = await raw_exchange(client)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "busy"


# -- the end --------------------------------------------------------------------------------------------------------


async def test_shutdown_lets_what_is_in_flight_finish(stage: Stage, uploads: UploadStore) -> None:
    """After the end nobody can connect any more, but the request in work is answered."""
    async with serving(stage, uploads) as (client, scope), trio.open_nursery() as nursery:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.post("/v1/recognize", content=SLOW))

        nursery.start_soon(ask)
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        await until_refused(client)
        stage.release.set()
    assert answers[0].status_code == 200


async def test_shutdown_does_not_wait_longer_than_its_grace(stage: Stage, uploads: UploadStore) -> None:
    """A request that does not end is cancelled when the grace period is over."""
    async with serving(stage, uploads, HttpSettings(port=0, grace_s=0.1)) as (client, scope):
        stream = await trio.open_tcp_stream("127.0.0.1", client.base_url.port or 0)
        await stream.send_all(HEAD + b"Content-Length: %d\r\n\r\n" % len(SLOW) + SLOW)
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        await stage.until(lambda: stage.abandoned == 1)
        await stream.aclose()


async def test_taken_port_and_foreign_address_are_refused(stage: Stage, uploads: UploadStore) -> None:
    """A port in use is `AddressInUse`, an address that is not this machine's is `InvalidConfig`."""
    async with serving(stage, uploads) as (client, _):
        taken = HttpSettings(port=client.base_url.port or 0)
        with pytest.raises(AddressInUse):
            await serve_http(stage.table(), uploads, stage.hub, settings=taken)
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(InvalidConfig):
            await serve_http(stage.table(), uploads, stage.hub, settings=HttpSettings(host=host, port=0))
