"""TLS of our own for HTTP and WebSocket: a certificate and its key, in files that are read again when the configuration is."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trio

from dejavud.errors import InvalidConfig

if TYPE_CHECKING:
    from pathlib import Path


class Tls:
    """The certificate that clients are shown, from their next connection on the newest that was read."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context = self.read()

    def read(self) -> ssl.SSLContext:
        """Return what the files say now, TLS 1.2 and later only; raises `InvalidConfig`.  Reads files."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        for name, path in (("tls.certificate", self._certificate), ("tls.key", self._key)):
            try:
                path.open("rb").close()
            except OSError as error:
                raise InvalidConfig(origin=name, reason=f"{path} cannot be read: {error.strerror}") from None
        try:
            # Asked for a password OpenSSL would wait for one at the terminal: a key that has one is refused instead.
            context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            said = getattr(error, "reason", None) or "they hold no certificate and key"
            reason = (
                f"{self._certificate} and the key {self._key} cannot be used ({str(said).lower().replace('_', ' ')}): they must be PEM, belong "
                "together, begin with the certificate of this machine, and the key must have no password"
            )
            raise InvalidConfig(origin="tls", reason=reason) from None
        return context

    def wrap(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        """Return a connection that will be spoken over with TLS."""
        return trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
