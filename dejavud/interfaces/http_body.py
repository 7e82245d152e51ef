"""The body of one HTTP request on its way into a file: bounded in bytes and in time, whatever its headers promise."""

from __future__ import annotations

import math
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from dejavud.errors import InvalidRequest, Timeout, TooLarge
from dejavud.interfaces.multipart import FormReader, PartBegun
from dejavud.interfaces.serving import Gone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from dejavud.services.uploads import Receiver, UploadStore

    Message = Any  # ASGI's own loose type: a mapping with a "type"

FILE_FIELD = "file"
_FORM_OVERHEAD_BYTES = 1 << 16
"""What boundaries, part headers and text fields may take besides the audio."""
_FIELD_BYTES = 1 << 12
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_DRAIN_S = 1.0


class SlowBody(Timeout):
    """The client took too long to send what it asks about."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How long a body may take: `idle_s` between two pieces of it, `total_s` for all."""

    idle_s: float
    total_s: float


@dataclass(slots=True)
class Form:
    """What a body held: the audio's receiver (None when none came) and the text fields beside it."""

    receiver: Receiver | None = None
    fields: dict[str, str] = field(default_factory=dict)


class Body:
    """Reads what follows the head of one request."""

    def __init__(
        self, headers: dict[str, str], receive: Callable[[], Awaitable[Message]], limits: BodyLimits, max_bytes: int
    ) -> None:
        self.content_type = headers.get("content-type", "")
        self.is_form = self.content_type.lower().startswith("multipart/")
        self.is_read = "transfer-encoding" not in headers and headers.get("content-length", "0") == "0"
        self._declared = headers.get("content-length", "")
        self.receive = receive
        self._limits = limits
        self._max_bytes = max_bytes + (_FORM_OVERHEAD_BYTES if self.is_form else 0)
        self.n_bytes = 0
        self._deadline = math.inf

    async def read(self) -> bytes:
        """Return the next piece, b"" at the end; raises `TooLarge`, `SlowBody`, or `Gone` when the client left."""
        if _WHOLE_NUMBER.fullmatch(self._declared) and int(self._declared) > self._max_bytes:
            raise self._too_large()
        while not self.is_read:
            chunk = await self._receive_chunk()
            self.n_bytes += len(chunk)
            if self.n_bytes > self._max_bytes:
                raise self._too_large()
            if chunk:
                return chunk
        return b""

    async def _receive_chunk(self) -> bytes:
        now = trio.current_time()
        self._deadline = min(self._deadline, now + self._limits.total_s)  # counted from the first piece asked for
        is_last_chance = self._deadline < now + self._limits.idle_s
        with trio.move_on_at(min(self._deadline, now + self._limits.idle_s)) as scope:
            message = await self.receive()
        if scope.cancelled_caught:
            limit_s = self._limits.total_s if is_last_chance else self._limits.idle_s
            raise SlowBody(what="sending the request's body", limit_s=limit_s)
        if message["type"] == "http.disconnect":
            raise Gone
        self.is_read = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    def _too_large(self) -> TooLarge:
        return TooLarge(what="the request's body", limit_bytes=self._max_bytes)

    async def until_gone(self) -> None:
        """Return when the client has closed the connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def drain(self) -> None:
        """Throw away what is still coming, for a moment, so that the client reads the answer instead of a reset."""
        with trio.move_on_after(_DRAIN_S):
            while not self.is_read:
                message = await self.receive()
                self.is_read = message["type"] == "http.disconnect" or not message.get("more_body", False)

    @asynccontextmanager
    async def received(self, uploads: UploadStore, name: str | None) -> AsyncIterator[Form]:
        """Give the body's audio in a file that lives as long as the block; a raw body is called `name`.

        Of a form, the audio is the first file called ``file``, and its own name serves where `name` is None.
        """
        async with AsyncExitStack() as stack:
            if self.is_form:
                yield await self._read_form(uploads, name, stack)
            else:
                receiver = await stack.enter_async_context(uploads.receiving(name or "audio"))
                while chunk := await self.read():
                    await receiver.write(chunk)
                receiver.close()
                yield Form(receiver if receiver.n_bytes else None)

    async def _read_form(self, uploads: UploadStore, name: str | None, stack: AsyncExitStack) -> Form:
        reader = FormReader(self.content_type)
        form = Form()
        field_name = ""
        target: Receiver | bytearray | None = None  # where the current part goes; None: nowhere
        while chunk := await self.read():
            for event in reader.feed(chunk):
                if isinstance(event, PartBegun):
                    _keep(form, field_name, target)
                    field_name, target = event.name, bytearray() if event.filename is None else None
                    if event.name == FILE_FIELD and event.filename is not None and form.receiver is None:
                        upload_name = name or event.filename
                        target = form.receiver = await stack.enter_async_context(uploads.receiving(upload_name))
                elif isinstance(target, bytearray):
                    target += event.data
                    if len(target) > _FIELD_BYTES:
                        raise InvalidRequest(reason=f"the field {field_name!r} is longer than {_FIELD_BYTES} bytes")
                elif target is not None:
                    await target.write(event.data)
        reader.finish()
        _keep(form, field_name, target)
        if form.receiver is not None:
            form.receiver.close()
        return form


def _keep(form: Form, name: str, target: Receiver | bytearray | None) -> None:
    """Note a finished text field."""
    if isinstance(target, bytearray):
        form.fields[name] = target.decode("utf-8", "replace")
