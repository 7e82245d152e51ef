"""Audio that comes over the control socket in pieces: ``upload.open``, ``upload.append``, ``upload.discard``."""

from __future__ import annotations

import math
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import Busy, InvalidRequest, TooLarge
from dejavud.services.commands import parse_params
from dejavud.wire.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from dejavud.services.uploads import Receiver, Upload, UploadStore

OPEN, APPEND, DISCARD = "upload.open", "upload.append", "upload.discard"


@dataclass(frozen=True, slots=True)
class OpenParams:
    """What an upload is called, and how large it will be, where that is known."""

    name: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class UploadParams:
    """The upload that is meant."""

    upload: str


@dataclass(slots=True)
class _Held:
    """One upload between its opening and its use.

    expiry : its deadline is when the upload is given up.
    released : set when it has been used or discarded.
    """

    receiver: Receiver
    size_bytes: int | None
    expiry: trio.CancelScope = field(default_factory=trio.CancelScope)
    released: trio.Event = field(default_factory=trio.Event)
    turn: trio.Lock = field(default_factory=trio.Lock)


class ChunkedUploads:
    """The uploads of all clients; each belongs to the client that opened it.

    max_of_one : how many one client may have open, `Busy` beyond.
    idle_s : an upload that gets no piece for so long is given up.
    holders : the nursery in which uploads live; they end with it.
    """

    methods = frozenset({OPEN, APPEND, DISCARD})

    def __init__(self, store: UploadStore, *, max_of_one: int, idle_s: float, holders: trio.Nursery) -> None:
        self._store = store
        self._max_of_one = max_of_one
        self._idle_s = idle_s
        self._holders = holders
        self._held: dict[tuple[bytes, str], _Held] = {}

    async def call(
        self, identity: bytes, method: str, params: Mapping[str, Any], chunk: bytes | None
    ) -> dict[str, Any]:
        """Do what one of `methods` asks and return its result."""
        if method == OPEN:
            return await self._open(identity, parse_params(OpenParams, params))
        upload_id = parse_params(UploadParams, params).upload
        if method == DISCARD:
            async with self.taken(identity, upload_id, is_whole=False):
                return {"discarded": True}
        if chunk is None:
            raise InvalidRequest(reason="the piece to append comes as the message's second frame")
        check_chunk(chunk)
        return await self._append(identity, upload_id, chunk)

    @asynccontextmanager
    async def taken(self, identity: bytes, upload_id: object, *, is_whole: bool = True) -> AsyncIterator[Upload]:
        """Give an upload to a command: from here on nobody else finds it, and with the block its bytes are gone.

        Raises `InvalidRequest` where there is none, or, if it should be whole, where it is shorter than was announced.
        """
        held = self._find(identity, upload_id)
        del self._held[identity, str(upload_id)]
        held.expiry.deadline = math.inf
        try:
            async with held.turn:  # a piece may still be on its way into the file
                held.receiver.close()
                if is_whole and held.size_bytes not in {None, held.receiver.n_bytes}:
                    reason = f"the upload has {held.receiver.n_bytes} of {held.size_bytes} bytes"
                    raise InvalidRequest(reason=reason)
                yield held.receiver.upload
        finally:
            held.released.set()

    async def _open(self, identity: bytes, params: OpenParams) -> dict[str, Any]:
        n_open = sum(owner == identity for owner, _ in self._held)
        if n_open >= self._max_of_one:
            raise Busy(what=f"{n_open} uploads of one client")
        if params.size_bytes is not None and params.size_bytes > self._store.max_bytes:
            raise TooLarge(what=params.name, limit_bytes=self._store.max_bytes)
        upload_id = secrets.token_hex(8)
        await self._holders.start(self._hold, (identity, upload_id), params)
        return {"upload": upload_id, "chunk_bytes": CHUNK_BYTES}

    async def _hold(
        self,
        key: tuple[bytes, str],
        params: OpenParams,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with self._store.receiving(params.name) as receiver:
            held = self._held[key] = _Held(receiver, params.size_bytes)
            held.expiry.deadline = trio.current_time() + self._idle_s
            task_status.started()
            with held.expiry:
                await held.released.wait()
            self._held.pop(key, None)

    async def _append(self, identity: bytes, upload_id: str, chunk: bytes) -> dict[str, Any]:
        held = self._find(identity, upload_id)
        async with held.turn:
            self._find(identity, upload_id)  # it may have been used or given up before our turn came
            held.expiry.deadline = math.inf
            try:
                await held.receiver.write(chunk)
            except TooLarge:
                held.released.set()
                raise
            finally:
                held.expiry.deadline = trio.current_time() + self._idle_s
            return {"received_bytes": held.receiver.n_bytes}

    def _find(self, identity: bytes, upload_id: object) -> _Held:
        held = self._held.get((identity, upload_id)) if isinstance(upload_id, str) else None
        if held is None:
            reason = f"there is no open upload {str(upload_id)[:40]!r} of this client; one without a piece for {self._idle_s:g} s is given up"
            raise InvalidRequest(reason=reason)
        return held


def check_chunk(chunk: bytes) -> None:
    """Raise `TooLarge` when one message carries more audio than it may."""
    if len(chunk) > CHUNK_BYTES:
        raise TooLarge(what="the audio in one message (send more of it with upload.open)", limit_bytes=CHUNK_BYTES)
