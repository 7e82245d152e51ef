"""The one place that decides which addresses audio may be fetched from."""

from __future__ import annotations

from urllib.parse import urlsplit

from dejavud.errors import UnsupportedUrl

SCHEMES = ("http", "https", "rtsp", "rtsps")


def check_url(url: str) -> None:
    """Raise `UnsupportedUrl` unless audio may be fetched from `url`."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:  # a bracket without its other half
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason=f"this is not an address ({error})") from None
    if parts.scheme not in SCHEMES:
        reason = f"addresses begin with {', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}://"
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason=reason)
    if not host or not url.isprintable() or " " in url:
        raise UnsupportedUrl(url=url_without_password(url)[:200], reason="this names no host, or is not an address")


def url_without_password(url: str) -> str:
    """Return `url` as it may be shown: without user and password."""
    scheme, mark, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"
