"""Tokens: what programs and people of other machines show to be let in, and what each of them may do.

Of a token only its SHA-256 is kept.  That is enough, and a slow hash (scrypt, Argon2) would only cost each request its time: those keep a
thief of the file from guessing words that people think of, while these are 256 bits of chance, which nobody guesses at any speed.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dejavud.errors import InvalidConfig
from dejavud.services.clients import Scope, check_client_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

FILE = "tokens.json"
"""In the data folder."""
PREFIX = "djv_"
"""By which people, and programs that look for secrets where none should be, know a token of ours."""
MAX_TOKENS = 256
_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token that lets somebody in.

    sha256 : of its text, in hexadecimal.
    created_at : when it was made, ISO 8601; last_used_at : when it was last shown, to the minute or so, empty where it never was.
    """

    name: str
    sha256: str
    scopes: frozenset[Scope]
    created_at: str
    last_used_at: str = ""

    def __post_init__(self) -> None:
        check_client_name(self.name)
        if not _DIGEST.fullmatch(self.sha256):
            msg = "'sha256' is 64 digits"
            raise ValueError(msg)

    @property
    def view(self) -> dict[str, Any]:
        """Return it as people may see it."""
        return {
            "name": self.name,
            "scopes": [scope.value for scope in Scope if scope in self.scopes],
            "created_at": self.created_at,
            "last_used_at": self.last_used_at or None,
        }


def new_token() -> str:
    """Return a token that nobody has, in letters, digits, - and _: it can stand in a header, a WebSocket's subprotocol and a file."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token, by which it is known."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def scopes_of(texts: Collection[str]) -> frozenset[Scope]:
    """Return scopes by their names; raises ValueError where one is none, or none is there."""
    unknown = sorted(set(texts) - set(Scope))
    if unknown or not texts:
        msg = f"'scopes' is a list of {', '.join(Scope)}" + (
            f", not {unknown[0][:40]!r}" if unknown else "; it is empty"
        )
        raise ValueError(msg)
    return frozenset(map(Scope, texts))


def read_tokens(folder: Path) -> tuple[Token, ...]:
    """Return the tokens that are kept in the data folder.

    Raises `InvalidConfig` where the file cannot be used: to go on without it would shut everybody out, or let everybody in.
    """
    path = folder / FILE
    try:
        if path.stat().st_mode & 0o022:
            msg = f"others may write to it: chmod 600 {path}"
            raise ValueError(msg)  # noqa: TRY301 - told below, with the others
        tokens = tuple(_token(held) for held in json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        said = str(error) if isinstance(error, ValueError) else type(error).__name__
        reason = f"the file of tokens cannot be used ({said}): put it right, or remove it and make new ones (dejavuctl tokens add)"
        raise InvalidConfig(origin=str(path), reason=reason) from None
    return tokens


def record_of(token: Token) -> dict[str, Any]:
    """Return what the file holds of a token."""
    return {**token.view, "sha256": token.sha256}


def _token(held: Mapping[str, Any]) -> Token:
    created_at, last_used_at = str(held["created_at"]), held.get("last_used_at") or ""
    for moment in filter(None, (created_at, last_used_at)):
        datetime.fromisoformat(moment)
    return Token(held["name"], held["sha256"], scopes_of(held["scopes"]), created_at, last_used_at)
