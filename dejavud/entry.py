"""What stands before the doors that other programs come in by, as the configuration says: tokens, limits a client, TLS."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.interfaces.tls import Tls
from dejavud.services.access import Access
from dejavud.services.token_store import TokenStore
from dejavud.services.tokens import read_tokens

if TYPE_CHECKING:
    import ssl

    from dejavud.config import Config
    from dejavud.services.client_limits import ClientLimits
    from dejavud.services.workers import Workers


class Entry:
    """Who is let in, and how he is spoken with.

    limits : what is counted of each client.  Raises `InvalidConfig` where the files of tokens and of the certificate cannot be used.
    """

    def __init__(self, config: Config, workers: Workers, limits: ClientLimits) -> None:
        folder = Path(config.data.dir)
        self.access = Access(config.security.token, read_tokens(folder))
        self.store = TokenStore(self.access, folder, workers)
        self.tls = Tls(Path(config.tls.certificate), Path(config.tls.key)) if config.tls.certificate else None
        self._workers = workers
        self._limits = limits
        self.change(config, None)

    async def new_certificate(self) -> ssl.SSLContext | None:
        """Return what the files of the certificate say now, None without TLS; raises `InvalidConfig`."""
        return None if self.tls is None else await self._workers.thread(self.tls.read)

    def change(self, config: Config, certificate: ssl.SSLContext | None) -> None:
        """Go by these from now on."""
        self.access.change_password(config.security.token)
        self.access.allowed_hosts = frozenset(config.security.allowed_hosts)
        self.access.allowed_origins = frozenset(config.security.allowed_origins)
        self.access.trusted_proxies = tuple(map(ip_network, config.security.trusted_proxies))
        self._limits.change(config.limits.client_requests, config.limits.client_rate)
        if self.tls is not None and certificate is not None:
            self.tls.context = certificate
