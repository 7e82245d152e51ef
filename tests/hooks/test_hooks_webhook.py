"""Webhooks against a real HTTP server on this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hook_parts import listener, n_descriptors, play, ready, running, until
from standardwebhooks import Webhook as Receiver

from dejavud.hooks import webhook as module
from dejavud.hooks.settings import HookSettings, Webhook
from dejavud.hooks.webhook import WebhookHook, signature
from dejavud.services.events import EventHub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the first pauses be short."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(module, "MAX_PAUSE_S", 0.1)


class Posted:
    """What a server was sent."""

    def __init__(self, path: str, headers: dict[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.event = json.loads(body)


class Server:
    """A receiver that answers as `answers` say, one after the other, and from then on as the last one does.

    answers : writes the response of a handler.
    """

    def __init__(self, *answers: Callable[[BaseHTTPRequestHandler], None]) -> None:
        self.posted: list[Posted] = []
        self.url = ""
        self.closing = threading.Event()
        self._answers = answers

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Note what came, and answer it."""
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.posted.append(Posted(handler.path, headers, body))
        self._answers[min(len(self.posted), len(self._answers)) - 1](handler)

    @property
    def seqs(self) -> list[int]:
        """Return the numbers of the events that came, in order."""
        return [posted.event["seq"] for posted in self.posted]


def says(status: int, body: bytes = b"", **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"content-length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@contextmanager
def serving(server: Server, certificate: Path | None = None) -> Iterator[Server]:
    """Run `server` on a free port, with TLS where there is a certificate (and its key, in one file)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with suppress(OSError):  # of a client that had enough
                server.take(self)

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        server.url = f"http://127.0.0.1:{listening.server_port}"
        if certificate is not None:
            server.url = server.url.replace("http", "https")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            listening.socket = context.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
        try:
            yield server
        finally:
            server.closing.set()
            listening.shutdown()
            thread.join()


def made(hub: EventHub, url: str, *, timeout_s: float = 5.0, max_age_s: float = 3600.0, **fields: Any) -> WebhookHook:  # noqa: ANN401 - fields of a webhook
    """Return a webhook to `url`."""
    settings = HookSettings(webhook_timeout_s=timeout_s, webhook_max_age_s=max_age_s)
    return WebhookHook(Webhook(url, **fields), hub, settings)


async def test_an_event_is_posted_as_it_is_published_and_signed() -> None:
    """The body is the event's JSON to the byte, and a receiver's own library accepts the signature."""
    hub = EventHub()
    with serving(Server(says(204))) as server:
        hook = made(hub, f"{server.url}/in?key=7", secret=SECRET)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("listener.state", listener())
            event = hub.publish("match.started", play(title="Grün “é”"))
            assert event is not None
            await until(lambda: hook.figures.n_delivered)
    [posted] = server.posted
    assert posted.body == event.body
    assert posted.path == "/in?key=7"
    assert posted.headers["content-type"] == "application/json"
    assert Receiver(SECRET).verify(posted.body, posted.headers)["data"]["track"]["title"] == "Grün “é”"
    assert posted.headers["webhook-id"] == f"msg_{hub.daemon}_2"


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """HMAC-SHA256 over id, seconds and body with dots between, keyed by the bytes that the base64 stands for."""
    key = bytes(range(32))
    expected = base64.b64encode(hmac.new(key, b'msg_1.1700000000.{"a":1}', hashlib.sha256).digest()).decode()
    assert signature(SECRET, "msg_1", 1_700_000_000, b'{"a":1}') == f"v1,{expected}"


async def test_without_a_secret_nothing_is_signed() -> None:
    """There is an id and a time, and no signature that a receiver could take for one; what the address has of a user is sent."""
    hub = EventHub()
    with serving(Server(says(200))) as server:
        hook = made(hub, server.url.replace("//", "//me:pass@"))
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.ended", play())
            await until(lambda: hook.figures.n_delivered)
    assert "webhook-signature" not in server.posted[0].headers
    assert server.posted[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:pass").decode()
    assert server.posted[0].headers["webhook-timestamp"].isdecimal()


async def test_a_receiver_is_known_by_its_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over https nothing is posted to one that the system does not trust."""
    certificate = tmp_path / "both.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    await trio.run_process(
        [*make.split(), "-keyout", str(certificate), "-out", f"{certificate}.2"], capture_stderr=True
    )
    certificate.write_text(certificate.read_text() + (tmp_path / "both.pem.2").read_text())
    hub = EventHub()
    with serving(Server(says(204)), certificate) as server:
        stranger = made(hub, server.url, secret=SECRET)
        async with running(hub, stranger):
            await ready(stranger)
            hub.publish("match.started", play())
            await until(lambda: stranger.figures.state == "retrying")
        assert not server.posted
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        hook = made(hub, server.url, secret=SECRET)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.n_delivered)
    assert "CERTIFICATE_VERIFY_FAILED" in str(stranger.figures.last_error)


async def test_what_is_refused_is_tried_again_in_order() -> None:
    """After a 500 and a 429 the same event comes again under the same id, and only then the next one."""
    hub = EventHub()
    with serving(Server(says(500), says(429), says(200))) as server:
        hook = made(hub, server.url, secret=SECRET)
        async with running(hub, hook):
            await ready(hook)
            for number in (1, 2, 3):
                hub.publish("match.started", play(number))
            await until(lambda: hook.figures.n_delivered == 3)
        assert hook.figures.last_error == "HTTP 429 Too Many Requests"
    assert server.seqs == [1, 1, 1, 2, 3]
    assert len({posted.headers["webhook-id"] for posted in server.posted[:3]}) == 1
    for posted in server.posted:
        Receiver(SECRET).verify(posted.body, posted.headers)
    assert hook.figures.n_failed == 0


async def test_only_topics_that_were_asked_for_are_posted() -> None:
    """A prefix takes what begins with it, with or without the star that people write."""
    hub = EventHub()
    with serving(Server(says(200))) as server:
        hooks = [made(hub, server.url, name="a", topics=("match.ended", "track.*"))]
        async with running(hub, *hooks):
            await ready(*hooks)
            for topic in ("match.started", "match.ended", "track.added", "daemon.ready"):
                hub.publish(topic, {})
            await until(lambda: hooks[0].figures.n_delivered == 2)
    assert [posted.event["topic"] for posted in server.posted] == ["match.ended", "track.added"]


async def test_a_receiver_that_is_gone_is_left_alone() -> None:
    """After 410 nothing is posted any more, and `status` says why."""
    hub = EventHub()
    with serving(Server(says(410))) as server:
        hook = made(hub, server.url)
        async with running(hub, hook) as hooks:
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.state == "stopped")
            hub.publish("match.ended", play())
            await trio.testing.wait_all_tasks_blocked(0.2)
            [view] = hooks.view()
    assert server.seqs == [1]
    assert view["last_error"] == "HTTP 410 Gone"
    assert view["n_waiting"] == 0


async def test_redirects_are_not_followed() -> None:
    """What a receiver redirects to gets nothing: neither the event nor its signature."""
    hub = EventHub()
    with serving(Server(says(200))) as elsewhere:
        with serving(Server(says(307, location=f"{elsewhere.url}/secret-path"), says(200))) as server:
            hook = made(hub, server.url, secret=SECRET)
            async with running(hub, hook):
                await ready(hook)
                hub.publish("match.started", play())
                await until(lambda: hook.figures.n_delivered)
            assert "redirects are not followed" in str(hook.figures.last_error)
            assert "secret-path" not in str(hook.figures.last_error)
        assert server.seqs == [1, 1]
        assert not elsewhere.posted


async def test_a_receiver_that_hangs_is_given_so_long_and_no_longer() -> None:
    """One that takes the event and never answers is a failure after webhook_timeout_s; the next try is made."""
    hub = EventHub()
    server = Server(lambda _handler: server.closing.wait(5) and None, says(200))
    with serving(server):
        hook = made(hub, server.url, timeout_s=0.2)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.n_delivered)
    assert server.seqs == [1, 1]
    assert hook.figures.last_error == "no answer within 0.2 s"


async def test_a_receiver_that_drips_is_given_no_longer_either() -> None:
    """The deadline is for the whole try: a header that comes byte by byte does not stretch it."""

    def drips(handler: BaseHTTPRequestHandler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
            handler.wfile.write(bytes([byte]))
            if server.closing.wait(0.02):
                return

    hub = EventHub()
    server = Server(drips, says(200))
    with serving(server):
        hook = made(hub, server.url, timeout_s=0.3)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.n_delivered)
    assert hook.figures.last_error == "no answer within 0.3 s"


async def test_an_answer_without_end_is_not_read() -> None:
    """A body that never ends, or says that it is huge, is an answer all the same, and holds nothing up."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        try:
            while not server.closing.is_set():
                handler.wfile.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")
        except OSError:
            handler.close_connection = True

    def huge(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1" + "0" * 12)
        handler.end_headers()

    hub = EventHub()
    server = Server(endless, huge, says(200, b"x" * 100))
    with serving(server):
        hook = made(hub, server.url)
        async with running(hub, hook):
            await ready(hook)
            for number in (1, 2, 3):
                hub.publish("match.started", play(number))
            await until(lambda: hook.figures.n_delivered == 3)
    assert server.seqs == [1, 2, 3]


async def test_retry_after_is_honoured() -> None:
    """A receiver that asks to be left alone for a second, or until a moment, is."""
    hub = EventHub()
    times: list[float] = []

    def noted(answer: Callable[[BaseHTTPRequestHandler], None]) -> Callable[[BaseHTTPRequestHandler], None]:
        def note(handler: BaseHTTPRequestHandler) -> None:
            times.append(datetime.now(UTC).timestamp())
            answer(handler)

        return note

    with serving(Server(noted(says(503, retry_after="1")), noted(says(200)))) as server:
        hook = made(hub, server.url)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.n_delivered)
    assert times[1] - times[0] >= 0.95
    assert module._retry_after_s("120") == 120
    assert 50 < (module._retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60))) or 0) <= 60
    assert module._retry_after_s("Fri, 31 Feb") is None
    assert module._retry_after_s("") is None


async def test_what_is_too_old_is_given_up_and_told() -> None:
    """An event that was refused until it was too old is given up; the next one that arrives says that one was lost."""
    hub = EventHub()
    with serving(Server(says(500), says(500), says(200))) as server:
        hook = made(hub, server.url, max_age_s=0.0)
        async with running(hub, hook):
            await ready(hook)
            for number in (1, 2, 3):
                hub.publish("match.started", play(number))
            await until(lambda: hook.figures.n_delivered)
    assert server.seqs == [1, 2, 3]
    assert server.posted[2].event["lost"] == 2
    assert "lost" not in server.posted[0].event
    assert hook.figures.n_failed == 2


async def test_a_backlog_is_bounded_and_told() -> None:
    """While a receiver is away the oldest events make room, and what arrives first says how many did."""
    hub = EventHub(keep=5)
    with serving(Server(says(500), says(200))) as server:
        hook = made(hub, server.url)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: server.posted)
            for number in range(2, 12):
                hub.publish("match.updated", play(number))
            assert hook.n_waiting == 6
            await until(lambda: hook.figures.n_delivered == 6)
    assert server.seqs == [1, 1, 7, 8, 9, 10, 11]
    assert server.posted[2].event["lost"] == 5
    assert hook.figures.n_lost == 5


async def test_nobody_listening_there_is_tried_again() -> None:
    """A connection that is refused is a failure like any other, said in words, and the address's key is nowhere."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        hub = EventHub()
        hook = made(hub, f"http://me:hunter2@127.0.0.1:{port}/T0KEN?key=T0KEN")
        async with running(hub, hook) as hooks:
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.state == "retrying")
            [view] = hooks.view()
    assert "ConnectError" in view["last_error"]
    assert "onnect" in view["last_error"].partition(": ")[2]
    assert view["n_waiting"] == 1
    assert view["target"] == f"http://127.0.0.1:{port}/…"
    assert "T0KEN" not in str((view, hook._webhook))
    assert "hunter2" not in str((view, hook._webhook))


async def test_what_waits_when_the_daemon_stops_is_posted_once() -> None:
    """Events that were published in the last moment leave before the hook ends."""
    hub = EventHub()
    with serving(Server(says(200))) as server:
        hook = made(hub, server.url)
        async with running(hub, hook):
            await ready(hook)
            for number in (1, 2, 3):
                hub.publish("match.ended", play(number))
    assert server.seqs == [1, 2, 3]


async def test_a_receiver_that_hangs_does_not_keep_the_daemon_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last words have their time, and no more of it."""
    monkeypatch.setattr(module, "GRACE_S", 0.3)
    hub = EventHub()
    server = Server(lambda _handler: server.closing.wait(20) and None)
    with serving(server):
        hook = made(hub, server.url, timeout_s=60)
        with trio.fail_after(3):
            async with running(hub, hook):
                await ready(hook)
                hub.publish("match.started", play())
                hub.publish("match.ended", play())
                await until(lambda: server.posted)
    assert hook.figures.n_delivered == 0


async def test_failures_leak_no_descriptors() -> None:
    """Connections that are cut, at once or in the middle of an answer, are closed on this side too."""

    def cuts(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc" if len(server.posted) % 2 else b"HTTP/1"
        )
        handler.close_connection = True

    hub = EventHub()
    server = Server(cuts)
    with serving(server):
        hook = made(hub, server.url)
        async with running(hub, hook):
            await ready(hook)
            hub.publish("match.started", play())
            await until(lambda: hook.figures.n_delivered == 1)
            before = n_descriptors()
            for number in range(20):
                hub.publish("match.updated", play(number))
            await until(lambda: hook.figures.n_delivered == 21)
            await until(lambda: n_descriptors() <= before)
    assert hook.figures.last_error is not None


async def test_a_sample_is_posted_once_and_what_happened_is_said() -> None:
    """`hooks.test` posts a signed sample at once, past what waits, and says what was answered."""
    hub = EventHub()
    with serving(Server(says(200), says(403))) as server:
        hook = made(hub, server.url, secret=SECRET)
        async with running(hub, hook) as hooks:
            rows = {name: handler for name, _, handler in hooks.rows()}
            parameters = {name: kind for name, kind, _ in hooks.rows()}["hooks.test"]
            outcomes = [(await rows["hooks.test"](parameters(), None))["tests"][0] for _ in range(2)]
    assert outcomes[0]["ok"]
    assert outcomes[0]["said"].startswith("HTTP 200 OK after")
    assert not outcomes[1]["ok"]
    assert outcomes[1]["said"] == "HTTP 403 Forbidden"
    assert Receiver(SECRET).verify(server.posted[0].body, server.posted[0].headers)["data"]["sample"] is True
