"""The control socket's messages: JSON-RPC 2.0, one request a ZeroMQ message.

A message is one or two frames: the JSON, and where a command takes audio, the audio's bytes.  With a token set, every
request's top level carries it as ``"token"``.  While a long command runs the daemon sends notifications of method ``progress``
whose params hold the request's id; then exactly one reply follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dejavud.errors import DejavudError, InvalidRequest
from dejavud.wire.codec import decode, encode
from dejavud.wire.codes import codes_of

RequestId = int | str

CHUNK_BYTES = 1 << 20
"""The most audio that one message may carry: a request's second frame, or one piece of an upload."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command asked for.  `id` is the caller's own, and comes back with the reply."""

    id: RequestId
    method: str
    params: dict[str, Any] = field(default_factory=dict)
    token: str | None = None

    def to_bytes(self) -> bytes:
        """Return the JSON frame."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "id": self.id, "method": self.method, "params": self.params}
        if self.token is not None:
            message["token"] = self.token
        return encode(message)

    @classmethod
    def from_bytes(cls, frame: bytes) -> Request:
        """Return the request that `frame` holds; raises `InvalidRequest` when it holds none."""
        return cls.from_message(decode(frame))

    @classmethod
    def from_message(cls, message: object) -> Request:
        """Return the request that a decoded message is; raises `InvalidRequest` when it is none."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise InvalidRequest(reason='a request is a JSON object with "jsonrpc": "2.0"')
        request_id, method, params = message.get("id"), message.get("method"), message.get("params", {})
        if isinstance(request_id, bool) or not isinstance(request_id, int | str):
            raise InvalidRequest(reason='"id" must be a number or a string: requests without one cannot be answered')
        if not isinstance(method, str):
            raise InvalidRequest(reason='"method" must be the name of a command')
        if not isinstance(params, dict):
            raise InvalidRequest(reason='"params" must be an object of named parameters')
        token = message.get("token")
        return cls(request_id, method, params, token if isinstance(token, str) else None)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the daemon says of a request: progress while it runs, then one result or one error."""

    id: RequestId | None
    result: Any = None
    error: dict[str, Any] | None = None
    progress: dict[str, Any] | None = None

    def to_bytes(self) -> bytes:
        """Return the JSON frame."""
        if self.progress is not None:
            return encode({"jsonrpc": "2.0", "method": "progress", "params": {"id": self.id, **self.progress}})
        body = {"error": self.error} if self.error is not None else {"result": self.result}
        return encode({"jsonrpc": "2.0", "id": self.id, **body})

    @classmethod
    def from_bytes(cls, frame: bytes) -> Reply:
        """Return the reply that `frame` holds; raises `InvalidRequest` when it holds none."""
        message = decode(frame)
        if not isinstance(message, dict):
            raise InvalidRequest(reason="a reply is a JSON object")
        if message.get("method") == "progress":
            params = dict(message.get("params") or {})
            return cls(params.pop("id", None), progress=params)
        return cls(message.get("id"), message.get("result"), message.get("error"))

    @classmethod
    def of_error(cls, request_id: RequestId | None, error: DejavudError) -> Reply:
        """Return the reply that reports `error`."""
        return cls(
            request_id, error={"code": codes_of(error.code).rpc, "message": error.message, "data": error_body(error)}
        )


def error_body(error: DejavudError) -> dict[str, Any]:
    """Return `error` as every transport shows it: its stable code, its message, and its details as text or numbers."""
    details = {k: v if isinstance(v, bool | int | float | str | None) else str(v) for k, v in error.details.items()}
    return {"code": error.code, "message": error.message, "details": details}
