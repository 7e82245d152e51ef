"""Who is let in."""

from typing import TypedDict


class Token(TypedDict):
    """A token, without its text."""

    name: str
    scopes: list[str]
    created_at: str
    last_used_at: str | None


class NewToken(Token):
    """A token with its text, which is told this once."""

    token: str


class Tokens(TypedDict):
    """All tokens."""

    tokens: list[Token]


class AddedToken(TypedDict):
    """A token that was made."""

    token: NewToken


class RemovedToken(TypedDict):
    """The token that is no more."""

    removed: Token


class Key(TypedDict):
    """A client's public key."""

    name: str
    key: str
    scopes: list[str]
    added_at: str


class KeyEndpoints(TypedDict):
    """Where clients with keys find the daemon."""

    control: list[str]
    events: list[str]


class Keys(TypedDict):
    """All clients' keys, and the daemon's own."""

    keys: list[Key]
    server_key: str
    endpoints: KeyEndpoints


class AddedKey(TypedDict):
    """The key of a client that is let in."""

    key: Key
    server_key: str
    endpoints: KeyEndpoints


class RemovedKey(TypedDict):
    """The key that is no more."""

    removed: Key
