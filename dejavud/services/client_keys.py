"""The keys by which programs of other machines come in over ZeroMQ: the daemon's own pair, and those of the clients that are let in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import InvalidConfig, InvalidRequest, KeyNotFound
from dejavud.services.clients import Client, Scope, check_client_name
from dejavud.services.commands import NoParameters
from dejavud.services.private_files import write_private
from dejavud.services.tokens import scopes_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from dejavud.services.commands import Call, Handler

log = structlog.get_logger(__name__)

MAX_KEYS = 1000
_KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
"""32 bytes in Z85 (ZeroMQ's RFC 32)."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The daemon's CURVE keys, in Z85."""

    public: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (_KEY.fullmatch(self.public) and _KEY.fullmatch(self.secret)):
            msg = "these are no CURVE keys"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A client that is let in.  public : its public key, in Z85.  added_at : ISO 8601."""

    name: str
    public: str
    scopes: frozenset[Scope]
    added_at: str

    @property
    def client(self) -> Client:
        """Return who asks by this key."""
        return Client(self.name, self.scopes)

    @property
    def view(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "name": self.name,
            "key": self.public,
            "scopes": [scope.value for scope in Scope if scope in self.scopes],
            "added_at": self.added_at,
        }


@dataclass(frozen=True, slots=True)
class AddKey:
    """Parameters of ``keys.add``: what the client is called, its public key, and what it may do."""

    name: str
    key: str
    scopes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_client_name(self.name)
        if not _KEY.fullmatch(self.key):
            msg = "'key' is a public CURVE key, 40 characters (Z85): dejavuctl keys new makes one"
            raise ValueError(msg)
        scopes_of(self.scopes)


@dataclass(frozen=True, slots=True)
class RemoveKey:
    """Parameters of ``keys.remove``."""

    name: str


class ClientKeys:
    """The allow list, in memory for whoever comes, and in a file that only the daemon's user may read.

    path : the file.
    make_pair : makes the daemon's pair, when there is none.
    thread : runs what blocks.
    endpoints : where each interface listens, by its name.
    """

    def __init__(
        self,
        path: Path,
        *,
        make_pair: Callable[[], KeyPair],
        thread: Callable[..., Awaitable[Any]],
        endpoints: Mapping[str, Any],
    ) -> None:
        self._path = path
        self._thread = thread
        self._endpoints = endpoints
        self._turns = trio.Lock()
        self._removed = trio.Event()
        self._make_pair = make_pair
        self._pair, self._by_key = _read(path)

    @property
    def names(self) -> tuple[str, ...]:
        """Return who is let in."""
        return tuple(sorted(key.name for key in self._by_key.values()))

    def client_of(self, public: str) -> Client | None:
        """Return whose public key this is; None where nobody who has it is let in (any more)."""
        found = self._by_key.get(public)
        return None if found is None else found.client

    async def pair(self) -> KeyPair:
        """Return the daemon's own keys, which last from here on."""
        async with self._turns:
            pair = self._pair or self._make_pair()
            if self._pair is None:
                await self._write(self._by_key, pair)
            return pair

    async def wait_removed(self) -> None:
        """Return when next a client is let in no more, or for less."""
        await self._removed.wait()

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (
            ("keys.list", NoParameters, self.list),
            ("keys.add", AddKey, self.add),
            ("keys.remove", RemoveKey, self.remove),
        )

    async def list(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return who is let in, and by which key and where clients find the daemon."""
        in_order = sorted(self._by_key.values(), key=lambda key: key.name)
        return {"keys": [key.view for key in in_order], **await self._way_in()}

    async def add(self, params: AddKey, _call: Call) -> dict[str, Any]:
        """Let one more client in, from its next connection on."""
        pair = await self.pair()
        async with self._turns:
            if any(key.name == params.name for key in self._by_key.values()):
                raise InvalidRequest(reason=f"there is a key {params.name!r} already: dejavuctl keys rm {params.name}")
            if params.key in self._by_key:
                raise InvalidRequest(reason=f"this key is there already, as {self._by_key[params.key].name!r}")
            if params.key == pair.public:
                raise InvalidRequest(reason="this is the daemon's own key: a client needs one of its own")
            if len(self._by_key) >= MAX_KEYS:
                raise InvalidRequest(reason=f"there are {MAX_KEYS} keys, which is all that there may be")
            added = ClientKey(
                params.name, params.key, scopes_of(params.scopes), datetime.now(UTC).isoformat(timespec="seconds")
            )
            await self._write({**self._by_key, added.public: added}, pair)
        log.info("key_added", key_name=added.name, scopes=added.view["scopes"])
        return {"key": added.view, **await self._way_in()}

    async def remove(self, params: RemoveKey, _call: Call) -> dict[str, Any]:
        """Let a client in no more: at once, connections that it has included."""
        pair = await self.pair()
        async with self._turns:
            found = next((key for key in self._by_key.values() if key.name == params.name), None)
            if found is None:
                raise KeyNotFound(name=params.name, known=", ".join(self.names) or "none")
            await self._write({public: key for public, key in self._by_key.items() if key is not found}, pair)
            removed, self._removed = self._removed, trio.Event()
            removed.set()
        log.info("key_removed", key_name=found.name)
        return {"removed": found.view}

    async def _way_in(self) -> dict[str, Any]:
        endpoints = {door: list(self._endpoints.get(f"{door}_tcp", ())) for door in ("control", "events")}
        return {"server_key": (await self.pair()).public, "endpoints": endpoints}

    async def _write(self, keys: dict[str, ClientKey], pair: KeyPair) -> None:
        """Have the file and then everybody go by these: what cannot be written changes nothing."""
        kept = {
            "server": {"public": pair.public, "secret": pair.secret},
            "clients": [key.view for key in keys.values()],
        }
        with trio.CancelScope(shield=True):
            await self._thread(write_private, self._path, kept)
        self._by_key, self._pair = keys, pair


def _read(path: Path) -> tuple[KeyPair | None, dict[str, ClientKey]]:
    """Return what the file holds; raises `InvalidConfig` where it cannot be read: to go on without it would lock everybody out."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        pair = KeyPair(held["server"]["public"], held["server"]["secret"])
        keys = [_client_key(one) for one in held["clients"]]
    except FileNotFoundError:
        return None, {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = f"the file of CURVE keys cannot be used ({type(error).__name__}): put it right, or remove it and give every client a new key"
        raise InvalidConfig(origin=str(path), reason=reason) from None
    return pair, {key.public: key for key in keys}


def _client_key(held: Mapping[str, Any]) -> ClientKey:
    checked = AddKey(held["name"], held["key"], tuple(held["scopes"]))
    return ClientKey(checked.name, checked.key, scopes_of(checked.scopes), str(held["added_at"]))
