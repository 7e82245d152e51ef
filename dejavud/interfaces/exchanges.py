"""Requests in work on a door that speaks JSON-RPC: each with its line in the log, one reply, and a scope by which it is cancelled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import structlog
import trio

from dejavud.errors import DejavudError, InternalError, InvalidRequest, RequestCancelled, ShuttingDown
from dejavud.services.requests import CANCELLED, OK
from dejavud.wire.messages import Reply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from dejavud.services.requests import Requests
    from dejavud.wire.messages import Request, RequestId

    Send = Callable[[Reply], Awaitable[None]]

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
_PROGRESS_INTERVAL_S = 0.05
_SHOWN_METHOD = 80


Key = TypeVar("Key")


class Exchanges(Generic[Key]):
    """The requests of one door, or of one connection.

    Each has a key: the id that its client gave it, and whatever tells one client from another.
    """

    def __init__(self, transport: str, requests: Requests) -> None:
        self._transport = transport
        self._requests = requests
        self._running: dict[Key, trio.CancelScope] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Key]:
        """Give the keys of what is in work."""
        return iter(self._running)

    def check_new(self, key: Key, request: Request) -> None:
        """Raise `InvalidRequest` where a request in work has this key."""
        if key in self._running:
            raise InvalidRequest(reason=f"the request {request.id!r} is still in work; give each its own id")

    def cancel(self, key: Key) -> bool:
        """Cancel a request, and return whether there was one."""
        scope = self._running.get(key)
        if scope is not None:
            scope.cancel()
        return scope is not None

    async def refuse(self, request_id: RequestId | None, error: DejavudError, log_id: str | None, send: Send) -> None:
        """Reply that a message is not taken on."""
        with self._requests.opened(self._transport, log_id) as entry:
            entry.fail(error)
            await send(Reply.of_error(request_id, error))

    def begin(self, key: Key) -> trio.CancelScope:
        """Take a request on: it counts as in work, and may be cancelled, before its task has begun."""
        self._running[key] = scope = trio.CancelScope()
        return scope

    async def serve(
        self,
        key: Key,
        request: Request,
        log_id: str | None,
        *,
        perform: Callable[[], Awaitable[dict[str, Any]]],
        send: Send,
        **fields: object,
    ) -> None:
        """Do a request that was begun and reply: the border that contains its errors.

        perform : returns its result.
        send : must not be stopped by a cancellation, as one that ends the request is replied to as well.
        fields : what its line in the log shall say.
        """
        reply = Reply.of_error(request.id, RequestCancelled())
        with self._requests.opened(self._transport, log_id) as entry:
            entry.outcome = CANCELLED
            entry.fields |= {"method": request.method[:_SHOWN_METHOD], **fields}
            try:
                with self._running[key]:
                    reply = Reply(request.id, result=await perform())
                    entry.outcome = OK
            except DejavudError as error:
                entry.fail(error)
                reply = Reply.of_error(request.id, error)
            except Exception as error:  # noqa: BLE001 - the border of one request
                _LOG.exception("request_failed", method=request.method)
                entry.fail(error)
                reply = _internal_error(request.id, error)
            except trio.Cancelled:  # the grace period is over, or the client gone
                reply = Reply.of_error(request.id, ShuttingDown())
                raise
            finally:
                del self._running[key]
                await send(reply)


class Notifier:
    """Sends the progress of one request, not more often than a person can see, and waits while `send` does."""

    def __init__(self, send: Send, request_id: RequestId) -> None:
        self._send = send
        self._request_id = request_id
        self._next_s = -math.inf

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Send figures, or skip them where the last ones were sent a moment ago."""
        await trio.lowlevel.checkpoint()
        now = trio.current_time()
        if must_arrive or now >= self._next_s:
            self._next_s = now + _PROGRESS_INTERVAL_S
            await self._send(Reply(self._request_id, progress=figures))


def frame_of(reply: Reply) -> bytes:
    """Return a reply's JSON."""
    try:
        return reply.to_bytes()
    except (TypeError, ValueError) as error:  # a command's result that is no JSON: a bug, and still one reply
        _LOG.exception("reply_is_no_json")
        return _internal_error(reply.id, error).to_bytes()


def wanted_id(request: Request) -> RequestId:
    """Return the id of the request that a ``cancel`` names; raises `InvalidRequest`."""
    wanted = request.params.get("id")
    if isinstance(wanted, bool) or not isinstance(wanted, int | str):
        raise InvalidRequest(reason="'id' must be the id of the request to cancel")
    return wanted


def _internal_error(request_id: RequestId | None, error: Exception) -> Reply:
    reason = f"{type(error).__name__} (the daemon's log has the details)"
    return Reply.of_error(request_id, InternalError(reason=reason))
