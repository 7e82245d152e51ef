"""HTTP and WebSocket over TLS, attacked from the outside."""

from __future__ import annotations

import signal
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
import trio
from daemon_process import Place, RunningDaemon, run_to_the_end, running_daemon
from security import http_client, make_certificate, opened, reached, websocket

from dejavud.config import Config
from dejavud.doctor.certificate import certificate, end_of

if TYPE_CHECKING:
    from pathlib import Path

    from trio import SSLStream


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("t"))


def with_tls(place: Place, certificate: str = "certificate.pem", key: str = "key.pem") -> Place:
    """Return the place with a conf file that names a certificate; relative to the daemon's folder, as it is written there."""
    conf = place.folder / "dejavud.toml"
    conf.write_text(f"[tls]\ncertificate = '{certificate}'\nkey = '{key}'\n")
    return replace(place, options={**place.options, "--config": str(conf)})


async def shown(url: str) -> str:
    """Return when the certificate ends that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with await opened(urlsplit(url), context) as stream:
        secure: SSLStream[trio.SocketStream] = stream  # type: ignore[assignment]  # with a context, it is one
        await secure.do_handshake()
        return ssl.DER_cert_to_PEM_cert(secure.getpeercert(binary_form=True) or b"")


async def test_both_are_spoken_with_tls_and_with_nothing_else(place: Place) -> None:
    """Clients that trust the certificate are served, streams and closing included; those that speak no TLS, or an old one, are not, and cost nothing."""
    certificate, _ = await make_certificate(place.folder)
    trusted = ssl.create_default_context(cafile=str(certificate))
    async with running_daemon(with_tls(place)) as daemon:
        http, ws = await reached(daemon, "http"), await reached(daemon, "websocket")
        assert (http[:8], ws[:6]) == ("https://", "wss://")
        by_name = http.replace("127.0.0.1", "localhost")
        async with http_client(by_name, verify=trusted) as client:
            assert (await client.get("/v1/status")).json()["endpoints"]["http"] == [http]
            body = b"x" * 3_000_000
            refused = await client.post("/v1/recognize", content=body)
            assert refused.json()["error"]["code"] == "unsupported_audio"
        async with await opened(urlsplit(http), trusted) as stream:
            await stream.send_all(b"GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            told = b""
            while b"retry: 2000\n" not in told:
                told += await stream.receive_some()
        async with websocket(ws, tls=trusted) as socket:
            assert await socket.ask("status") == "ok"
        async with http_client(by_name) as stranger:
            with pytest.raises(httpx.ConnectError):
                await stranger.get("/healthz")
        await attack(urlsplit(http).port or 0)
        async with http_client(by_name, verify=trusted) as client:
            assert (await client.get("/healthz")).status_code == 200
    assert "Traceback" not in daemon.log
    assert "connection_failed" not in daemon.log


async def attack(port: int) -> None:
    """Speak plainly, nonsense, TLS of yesterday, and not at all."""
    for said in (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 500, b""):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(said)
            await stream.send_eof()
            answer = b""
            try:
                while piece := await stream.receive_some():
                    answer += piece
            except trio.BrokenResourceError:
                continue
            assert b"HTTP/1.1" not in answer
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with await opened(urlsplit(f"https://127.0.0.1:{port}"), old) as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")


async def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(place: Place) -> None:
    """By a reload and by SIGHUP, for new connections; where the files are wrong the reload is refused and the old one goes on."""
    certificate, key = await make_certificate(place.folder)
    async with running_daemon(with_tls(place)) as daemon:
        url = await reached(daemon, "http")
        first = await shown(url)
        assert first == certificate.read_text()
        await make_certificate(place.folder, days=3)
        assert await shown(url) == first
        await daemon.ask("reload")
        second = await shown(url)
        assert second == certificate.read_text() != first
        key.write_text("no key")
        with pytest.raises(Exception, match="cannot be used"):
            await daemon.ask("reload")
        assert await shown(url) == second
        await make_certificate(place.folder, days=4)
        daemon.process.send_signal(signal.SIGHUP)
        await until_shown(url, certificate, daemon)


async def until_shown(url: str, certificate: Path, daemon: RunningDaemon) -> None:
    """Return when new connections are shown the certificate."""
    with trio.fail_after(20):
        wanted = await trio.Path(certificate).read_text()
        while await shown(url) != wanted:
            assert daemon.process.returncode is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("missing", "No such file"),
        ("foreign key", "belong together"),
        ("password", "no password"),
        ("swapped", "cannot be used"),
        ("alone", "TLS needs both"),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_told_at_the_start(place: Place, wrong: str, reason: str) -> None:
    """The daemon does not start, and asks nobody for a password; what it says names both files and neither's content."""
    certificate, key = await make_certificate(place.folder)
    names = {"certificate": certificate.name, "key": key.name}
    if wrong == "missing":
        certificate.unlink()
    elif wrong == "foreign key":
        command = f"openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {key}"
        await trio.run_process(command.split(), capture_stderr=True)
    elif wrong == "password":
        await trio.run_process(
            f"openssl ec -in {key} -aes256 -passout pass:hunter2 -out {key}".split(), capture_stderr=True
        )
    elif wrong == "swapped":
        names = {"certificate": key.name, "key": certificate.name}
    else:
        names["key"] = ""
    done = await run_to_the_end(with_tls(place, **names))
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert "BEGIN" not in done.stderr


@pytest.mark.parametrize(
    ("days", "state", "said"), [(60, "ok", "is good until"), (3, "warn", "days"), (-1, "fail", "clients refuse it")]
)
async def test_the_doctor_says_when_a_certificate_ends(place: Place, days: int, state: str, said: str) -> None:
    """As OpenSSL says it, in good time before, with what mends it; a certificate that cannot be used is a finding too."""
    file, key = await make_certificate(place.folder, days=max(1, days))
    if days < 0:
        old = ["openssl", "x509", "-req", "-days", "-1"]
        ask = f"openssl req -new -key {key} -subj /CN=localhost -out {place.folder}/request.pem"
        await trio.run_process(ask.split(), capture_stderr=True)
        await trio.run_process(
            [*old, "-in", f"{place.folder}/request.pem", "-signkey", str(key), "-out", str(file)], capture_stderr=True
        )
    config = replace(Config(), tls=replace(Config().tls, certificate=str(file), key=str(key)))
    (finding,) = certificate(config)
    assert (finding.check, finding.state) == ("certificate", state)
    assert said in finding.said
    told = await trio.run_process(["openssl", "x509", "-enddate", "-noout", "-in", str(file)], capture_stdout=True)
    ends_at = end_of(file.read_text())
    assert f"notAfter={ends_at:%b} {ends_at.day:2} {ends_at:%H:%M:%S %Y} GMT" == told.stdout.decode().strip()
    key.write_text("no key")
    (finding,) = certificate(config)
    assert finding.state == "fail"
    assert not list(certificate(Config()))
