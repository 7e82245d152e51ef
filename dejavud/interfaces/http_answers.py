"""Answers of HTTP: JSON, and errors in the one envelope."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dejavud.errors import DejavudError, InternalError, MethodNotAllowed, RateLimited, Unauthorized
from dejavud.interfaces.http_body import SlowBody
from dejavud.interfaces.http_operation import UPLOAD_PATH
from dejavud.wire.codec import encode
from dejavud.wire.codes import codes_of
from dejavud.wire.messages import error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    Scope = Any  # ASGI's own loose type

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
OK, CREATED, ACCEPTED, BAD_REQUEST, REQUEST_TIMEOUT, UNAVAILABLE = 200, 201, 202, 400, 408, 503
HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of everything but the web page: nobody is to keep, guess the type of, or embed what the daemon says."""


def json_answer(body: object, status: int = OK, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer of JSON."""
    return Response(encode(body), status, {**HEADERS, **(headers or {})}, "application/json")


def known_error(scope: Scope, error: Exception) -> DejavudError:
    """Return what `error` is to a client; a bug is logged with all there is to say."""
    if isinstance(error, HTTPException):  # starlette's only one: an address that does not take this method
        return _WrongMethod((error.headers or {}).get("Allow", ""), path=scope["path"], method=scope["method"])
    if isinstance(error, DejavudError):
        return error
    _LOG.error("http_request_failed", method=scope["method"], path=scope["path"], exc_info=error)
    return InternalError(reason=f"{type(error).__name__} (the daemon's log has the details)")


class _WrongMethod(MethodNotAllowed):
    """With the methods that the address takes."""

    def __init__(self, allowed: str, **details: object) -> None:
        super().__init__(**details)
        self.allowed = allowed


def status_of(error: DejavudError) -> int:
    """Return the status of the answer that reports `error`."""
    return REQUEST_TIMEOUT if isinstance(error, SlowBody) else codes_of(error.code).http


def error_response(scope: Scope, error: DejavudError) -> Response:
    """Return the answer that reports `error`, in the shape that the address's clients know."""
    headers = {"allow": error.allowed} if isinstance(error, _WrongMethod) else {}
    status = status_of(error)
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if status == UNAVAILABLE:
        headers["retry-after"] = "1"
    body = {"message": error.message} if scope["path"] == UPLOAD_PATH else {"error": error_body(error)}
    return json_answer(body, status, headers)
