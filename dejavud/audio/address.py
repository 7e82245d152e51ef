"""The one place that decides which addresses audio may be fetched from."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dejavud.errors import UnsupportedUrl

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CARRIERS_OF_IPV4 = tuple(map(ipaddress.IPv6Network, ("::/96", "::ffff:0:0/96", "64:ff9b::/96")))
"""Addresses whose last four bytes are an IPv4 address that is meant."""
_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Of these: tunnels to IPv4 (Teredo, 6to4), which may lead anywhere, protocols and examples."""

SCHEMES = ("http", "https", "rtsp", "rtsps")

_SECRET_VALUE = re.compile(
    r"(?i)([?&;][^=&;#]*(?:pas|pwd|secret|token|key|auth|sig|cred|session|user|usr|login)[^=&;#]*|[?&;](?:u|p|pw|sid))=[^&;#]*"
)
"""What lets somebody in, as cameras, media servers and signed addresses have it behind the question mark."""


@dataclass(frozen=True, slots=True)
class Way:
    """How what an address sends is fetched.

    url : what to open, checked before.
    proxy : the HTTP proxy that is asked for this, and for whatever this leads to, and nothing else; empty: it leads where it leads.
    """

    url: str
    proxy: str = ""


def check_url(url: str) -> None:
    """Raise `UnsupportedUrl` unless audio may be fetched from `url`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:  # a bracket without its other half
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason=f"this is not an address ({error})") from None
    try:
        _ = parts.port
    except ValueError:  # which would tell what stands there: a part of a password, perhaps
        reason = "what follows the host is no port; in user and password @ / ? # and % are written as %40 %2F %3F %23 and %25"
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason=reason) from None
    if parts.scheme not in SCHEMES:
        reason = f"addresses begin with {', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}://"
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason=reason)
    if not host or not url.isprintable() or " " in url or "\\" in url:
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason="this names no host, or is not an address")


def is_public(address: Address) -> bool:
    """Tell whether `address` means the same from everywhere: none of a private network, of this machine, this link or a provider's, and no multicast."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not (address.is_multicast or address.is_reserved)
    if any(address in network for network in _CARRIERS_OF_IPV4):
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _UNICAST and address.is_global and not any(address in network for network in _SPECIAL)


def url_without_password(url: str) -> str:
    """Return `url` as it may be shown: without user and password, a token among its parameters, and what never leaves this machine (its fragment).

    Of one whose password was written as it is, with a slash in it, what is left is what follows the last @.
    """
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url.rpartition("@")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in authority:
        rest = authority.rpartition("@")[2] + rest[len(authority) :]
    elif not re.fullmatch(r"[^:]*(:[0-9]*)?|\[.*\](:[0-9]*)?", authority):
        rest = rest.rpartition("@")[2]
    return scheme + mark + _SECRET_VALUE.sub(r"\1=***", rest.partition("#")[0])
