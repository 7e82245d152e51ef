"""What clients have the daemon fetch, attacked: by names, numbers, redirects, playlists, and servers that change their mind."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from security import make_certificate
from service_parts import PARAMS, RATE_HZ
from stations import HttpStation, Page, RtspStation, encoded
from synthetic import synthesize

from dejavud.errors import DejavudError, UnreachableUrl, UnsupportedUrl
from dejavud.services import listen_jobs
from dejavud.services.url_guard import UrlGuard, _exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dejavud.audio.address import Way

HERE = ["127.0.0.1/32"]
"""What these tests call public; all else of loopback is what nobody may reach."""


class Inside:
    """A service of the daemon's machine that no client may reach."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.place = f"127.0.0.2:{listener.getsockname()[1]}"

    @property
    def was_reached(self) -> bool:
        """Whether anybody connected."""
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def inside() -> Iterator[Inside]:
    """Give a service on another address of loopback."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        listener.settimeout(0)
        yield Inside(listener)


@pytest.fixture
def station() -> Iterator[HttpStation]:
    """Give a server without pages."""
    with HttpStation({}).on_air() as station:
        yield station


@pytest.fixture(scope="module")
def music() -> bytes:
    """Return some seconds of music, as parts of HLS playlists are."""
    return encoded(synthesize(1, 6.0, 44100), 44100, "mpegts")


async def n_heard(url: str, networks: list[str] | None = None) -> int:
    """Return how many seconds are heard at an address that a client named, on whatever way the guard gives."""

    def hear(way: Way) -> int:
        sounds = listen_jobs.hear_url(way, "there", PARAMS, -66.0)
        return sum(isinstance(sound, listen_jobs.Sound) for sound in sounds)

    with trio.fail_after(30):
        async with UrlGuard(HERE if networks is None else networks).way(url) as way:
            return await trio.to_thread.run_sync(hear, way)
    raise AssertionError


# -- what may be ----------------------------------------------------------------------------------------------------


async def test_what_is_open_is_heard(station: HttpStation, music: bytes) -> None:
    """A stream, one behind a redirect, and a playlist with its parts, one level below another, come through."""
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n/a.ts\n#EXTINF:6,\na.ts?b=1\n#EXT-X-ENDLIST\n"
    station.pages = {
        "/a.ts": Page((music,), "video/mp2t"),
        "/a.ts?b=1": Page((music,), "video/mp2t"),
        "/moved": Page((), status=302, headers={"Location": "/a.ts"}),
        "/low.m3u8": Page((playlist,), "application/vnd.apple.mpegurl"),
        "/all.m3u8": Page(
            (b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\nlow.m3u8\n",), "application/vnd.apple.mpegurl"
        ),
    }
    assert await n_heard(f"{station.url}/a.ts") >= 5
    assert await n_heard(f"{station.url}/moved") >= 5
    assert await n_heard(f"{station.url}/all.m3u8") >= 10


async def test_a_camera_is_heard() -> None:
    """RTSP passes through the hop, sound and all."""
    with RtspStation(synthesize(1, 6.0, RATE_HZ), RATE_HZ).on_air() as camera:
        assert await n_heard(camera.url) >= 5


async def test_what_is_encrypted_is_heard(tmp_path: Path, music: bytes) -> None:
    """Over https sound comes through the hop as the server encrypted it, and by rtsps the hop speaks TLS itself."""
    certificate, key = await make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    (tmp_path / "a.ts").write_bytes(music)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            assert await n_heard(f"https://127.0.0.1:{server.server_port}/a.ts") >= 5
        finally:
            server.shutdown()
            thread.join()
    with RtspStation(synthesize(1, 6.0, RATE_HZ), RATE_HZ).on_air() as camera:
        plain = int(camera.url.split(":")[2].split("/")[0])

        async def decrypt(stream: trio.SocketStream) -> None:
            outer = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            async with outer, await trio.open_tcp_stream("127.0.0.1", plain) as inner:
                await _exchange(outer, inner)

        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(partial(trio.serve_tcp, decrypt, 0, host="127.0.0.1"))
            port = listener.socket.getsockname()[1]
            assert await n_heard(f"rtsps://127.0.0.1:{port}/live") >= 5
            nursery.cancel_scope.cancel()


async def test_why_nothing_is_heard_is_told() -> None:
    """A machine that refuses and a name that nobody knows are said by what they are, though FFmpeg saw the hop only."""
    with pytest.raises(UnreachableUrl, match="refused"):
        await n_heard("http://127.0.0.1:1/")
    with pytest.raises(UnreachableUrl, match="not known"):
        await n_heard("http://nothing.invalid/")


# -- names and numbers ----------------------------------------------------------------------------------------------

NOT_PUBLIC = (  # nothing here is bound to
    "127.0.0.1", "localhost", "LOCALHOST", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0", "10.0.0.1",  # noqa: S104 - refused, not bound to
    "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.1]", "[64:ff9b:1::1]",
    "[2002:7f00:1::]", "[2001::1]", "[fe80::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]", "[fec0::1]", "[2001:db8::1]",
    "nothing.invalid@127.0.0.1", "nothing.invalid:80@127.0.0.1", "127.0.0.1#@nothing.invalid", "127.0.0.1?@nothing.invalid", "127.0.0.1\\@nothing.invalid",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
@pytest.mark.parametrize("host", NOT_PUBLIC)
async def test_no_spelling_of_an_address_that_is_not_public_is_asked(scheme: str, host: str) -> None:
    """Loopback, private, link-local, shared, multicast and reserved addresses, as names, in other numbers, in IPv6, behind user names."""
    with pytest.raises(UnsupportedUrl):
        await n_heard(f"{scheme}://{host}/a.mp3", [])


@pytest.mark.parametrize(
    "host", ["1.1.1.1", "[2606:4700::1111]", "[64:ff9b::1.1.1.1]", "[::ffff:1.1.1.1]", "8.8.8.8:8000"]
)
async def test_public_addresses_may_be_asked(host: str) -> None:
    """As they are, and where IPv6 carries them."""
    await UrlGuard().check(f"http://{host}/live")


async def test_networks_are_opened_by_conf_and_closed_again() -> None:
    """What lies in one may be asked, and nothing beside it."""
    guard = UrlGuard(["192.168.1.0/24", "fd00::/8"])
    await guard.check("http://192.168.1.7/")
    await guard.check("rtsp://[fd00::1]/")
    with pytest.raises(UnsupportedUrl):
        await guard.check("http://192.168.2.7/")
    guard.change(())
    with pytest.raises(UnsupportedUrl):
        await guard.check("http://192.168.1.7/")


# -- what leads on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_no_redirect_leads_inside(station: HttpStation, inside: Inside, code: int, scheme: str) -> None:
    """At once, or after one that is all right; to what is encrypted neither."""
    station.pages = {
        "/first": Page((), status=302, headers={"Location": "/second"}),
        "/second": Page((), status=code, headers={"Location": f"{scheme}://{inside.place}/"}),
    }
    for path in ("first", "second"):
        with pytest.raises(UnsupportedUrl, match="not public"):
            await n_heard(f"{station.url}/{path}")
    assert not inside.was_reached


PLAYLISTS = {
    "a part": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{target}\n#EXT-X-ENDLIST\n",
    "a later part": "#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n/a.ts\n#EXTINF:6,\n{target}\n#EXT-X-ENDLIST\n",
    "a key": '#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:6,\n/a.ts\n#EXT-X-ENDLIST\n',
    "an encrypted part": '#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXT-X-KEY:METHOD=AES-128,URI="/key"\n#EXTINF:6,\n{target}\n#EXT-X-ENDLIST\n',
    "a map": '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-MAP:URI="{target}"\n#EXTINF:6,\n/a.ts\n#EXT-X-ENDLIST\n',
    "a variant": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\n{target}\n",
    "a rendition": '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="{target}"\n'
    '#EXT-X-STREAM-INF:BANDWIDTH=64000,AUDIO="a"\n{target}\n',
    "ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "sdp": "v=0\no=- 1 1 IN IP4 {host}\ns=x\nc=IN IP4 {host}\nt=0 0\nm=audio {port} RTP/AVP 0\na=rtpmap:0 PCMU/8000\n",
    "pls": "[playlist]\nFile1={target}\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "smil": '<smil><body><audio src="{target}"/></body></smil>',
    "dash": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>{target}</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>',
}


@pytest.mark.parametrize("kind", PLAYLISTS)
async def test_no_playlist_leads_inside(station: HttpStation, inside: Inside, music: bytes, kind: str) -> None:
    """What any kind of list names is asked only where an address that a client named may be; also by a redirect of a part."""
    host, _, port = inside.place.partition(":")
    targets = (f"http://{inside.place}/x.ts", f"https://{inside.place}/x.ts", f"{station.url}/moved.ts")
    for n, target in enumerate(targets):
        station.pages[f"/list{n}"] = Page(
            (PLAYLISTS[kind].format(target=target, host=host, port=port).encode(),), "application/vnd.apple.mpegurl"
        )
    station.pages |= {
        "/a.ts": Page((music,), "video/mp2t"),
        "/key": Page((b"k" * 16,), "application/octet-stream"),
        "/moved.ts": Page((), status=302, headers={"Location": f"http://{inside.place}/x.ts"}),
    }
    for n in range(len(targets)):
        with pytest.raises(DejavudError):
            await n_heard(f"{station.url}/list{n}")
        assert not inside.was_reached


OTHER_SCHEMES = (
    "file://{file}", "{file}", "concat:{file}", "subfile:,,start,0,end,0,,:{file}", "crypto:{file}", "cache:{file}", "async:{file}",
    "tcp://{inside}", "tls://{inside}", "udp://{inside}", "rtmp://{inside}/x", "ftp://{inside}/x", "gopher://{inside}/x", "httpproxy://{inside}/x",
    "tcp://{inside}?listen=0", "pipe:0", "unix:{file}",
)  # fmt: skip


@pytest.mark.parametrize("scheme", OTHER_SCHEMES)
async def test_no_playlist_opens_anything_but_http(
    station: HttpStation, inside: Inside, tmp_path: Path, music: bytes, scheme: str
) -> None:
    """A file of the daemon's machine is not heard, and no other protocol spoken, whether a part or a redirect says so."""
    file = tmp_path / "secret.ts"
    file.write_bytes(music)
    target = scheme.format(file=file, inside=inside.place)
    station.pages = {
        "/list": Page((PLAYLISTS["a part"].format(target=target).encode(),), "application/vnd.apple.mpegurl"),
        "/concat": Page((PLAYLISTS["ffconcat"].format(target=target).encode(),), "text/plain"),
        "/moved": Page((), status=302, headers={"Location": target}),
    }
    for path in ("list", "concat", "moved"):
        try:
            assert await n_heard(f"{station.url}/{path}") == 0
        except DejavudError as error:
            assert error.code in {"unsupported_url", "unreachable_url", "unsupported_audio"}, error  # noqa: PT017 - either end is right
        assert not inside.was_reached


# -- who changes his mind -------------------------------------------------------------------------------------------


class Rebinding(trio.abc.HostnameResolver):
    """A name server that says one address first and another one later."""

    def __init__(self, inside: str) -> None:
        self._answers = ["127.0.0.1", inside]

    async def getaddrinfo(self, host: Any, port: Any, *_more: int) -> Any:  # type: ignore[override]  # noqa: ANN401, ARG002, D102 - trio's
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (answer, int(port)))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> Any:  # noqa: ANN401, D102 - trio's
        raise NotImplementedError


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
async def test_a_name_that_is_bound_anew_leads_nowhere(inside: Inside, scheme: str) -> None:
    """A name whose address was looked at, and is another one when it is connected to, is not followed there."""
    port = inside.place.partition(":")[2]
    trio.socket.set_custom_hostname_resolver(Rebinding("127.0.0.2"))
    with pytest.raises(UnsupportedUrl, match="not public"):
        await n_heard(f"{scheme}://rebound.example:{port}/live")
    assert not inside.was_reached


async def test_the_environment_opens_no_way(
    station: HttpStation, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg passes proxies by for hosts that ``no_proxy`` names: not for ours."""
    monkeypatch.setenv("no_proxy", "*")
    station.pages = {"/moved": Page((), status=302, headers={"Location": f"http://{inside.place}/"})}
    with pytest.raises(UnsupportedUrl):
        await n_heard(f"{station.url}/moved")
    assert not inside.was_reached


REDIRECTS = (
    b"RTSP/1.0 302 Moved\r\nCSeq: {n}\r\nLocation: rtsp://{inside}/x\r\n\r\n",
    b"RTSP/1.0   \t 0301 Moved\nCSeq: {n}\nLocation: rtsp://{inside}/x\n\n",
    b"R\rTSP/1\r.0 \r3\r02 Moved\r\nCSeq: {n}\r\nLocation: rtsp://{inside}/x\r\n\r\n",
    b"RTSP/1.0 200 OK\r\nCSeq: {n}\r\nContent-Length: 4\r\n$\0\0\4\r\n\r\nRTSP/1.0 302 Moved\r\nCSeq: {n}\r\nLocation: rtsp://{inside}/x\r\n\r\n",
    b"$\0\0\1xRTSP/1.0 302 Moved\r\nCSeq: {n}\r\nLocation: rtsp://{inside}/x\r\n\r\n",
)


@contextmanager
def sending_away(answer: bytes, inside: Inside, piece_bytes: int) -> Iterator[str]:
    """Give the address of a camera that answers everything so, a few bytes at a time."""

    def serve(listener: socket.socket) -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    asked = connection.recv(4096)
                    number = asked.lower().partition(b"cseq: ")[2].partition(b"\r")[0]
                    said = answer.replace(b"{n}", number).replace(b"{inside}", inside.place.encode())
                    for first in range(0, len(said), piece_bytes):
                        connection.sendall(said[first : first + piece_bytes])
                    connection.recv(4096)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("piece_bytes", [1, 4096])
@pytest.mark.parametrize("answer", REDIRECTS)
async def test_no_camera_sends_us_elsewhere(inside: Inside, answer: bytes, piece_bytes: int) -> None:
    """However a redirect is written, cut up, or hidden in what looks like sound or a body, it is the end."""
    with sending_away(answer, inside, piece_bytes) as url, pytest.raises(DejavudError):
        await n_heard(url)
    assert not inside.was_reached


# -- the hop itself -------------------------------------------------------------------------------------------------


async def test_what_is_encrypted_is_connected_to_no_other_place(
    station: HttpStation, inside: Inside, music: bytes
) -> None:
    """The tunnel of https leads to addresses that are open, and to no others; what is no request of HTTP is not answered."""
    station.pages = {"/a.ts": Page((music,))}
    port = int(station.url.rpartition(":")[2])

    async def ask(way: Way, text: str) -> bytes:
        stream = await trio.open_tcp_stream("127.0.0.1", int(way.proxy.rpartition(":")[2]))
        async with stream:
            await stream.send_all(text.encode())
            return bytes(await stream.receive_some(100))

    async with UrlGuard(HERE).way(f"{station.url}/a.ts") as way:
        assert (
            await ask(way, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n")
            == b"HTTP/1.1 200 Connection established\r\n\r\n"
        )
        for text in (
            "GET /a.ts HTTP/1.1\r\n\r\n",
            "GET ftp://x/ HTTP/1.1\r\n\r\n",
            "\x16\x03\x01\r\n\r\n",
            "GET http://127.0.0.1:x/ HTTP/1.1\r\n\r\n",
            "GET http://[::1/ HTTP/1.1\r\n\r\n",
            "CONNECT [::1 HTTP/1.1\r\n\r\n",
            "CONNECT \0 HTTP/1.1\r\n\r\n",
            f"GET http://{'a' * 300}/ HTTP/1.1\r\n\r\n",
        ):
            assert await ask(way, text) == b""

    async def lead_inside() -> None:
        async with UrlGuard(HERE).way(f"{station.url}/a.ts") as way:
            await ask(way, f"CONNECT {inside.place} HTTP/1.1\r\n\r\n")
            await trio.sleep_forever()

    with pytest.raises(UnsupportedUrl):
        await lead_inside()
    assert not inside.was_reached
