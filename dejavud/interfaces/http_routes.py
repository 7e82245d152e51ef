"""What each HTTP address does: its query and body become a command's parameters, the command's result the answer."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, Router

from dejavud.errors import (
    DejavudError,
    InternalError,
    InvalidRequest,
    ListenerNotFound,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    TrackNotFound,
    Unauthorized,
)
from dejavud.interfaces import legacy
from dejavud.interfaces.http_body import SlowBody
from dejavud.interfaces.http_events import EVENTS_PATH, EventStream, last_event_id
from dejavud.interfaces.http_matches import CSV_PATH, PlayCsv
from dejavud.interfaces.http_matches import SELECTION as PLAYS
from dejavud.interfaces.multipart import BrokenForm
from dejavud.interfaces.serving import run_unless
from dejavud.services.clients import EVENTS, LOCAL
from dejavud.services.commands import Call
from dejavud.wire.codec import decode, encode
from dejavud.wire.codes import codes_of
from dejavud.wire.messages import error_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from dejavud.interfaces.http_body import Body, Form
    from dejavud.interfaces.http_events import EventFeed
    from dejavud.services.clients import Client
    from dejavud.services.commands import CommandTable
    from dejavud.services.uploads import Upload, UploadStore

    Scope = Any  # ASGI's own loose type
    Params = dict[str, Any]

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger()
UPLOAD_PATH = "/upload"
HEALTH_PATH, READY_PATH = "/healthz", "/readyz"
PROBE_PATHS = frozenset({HEALTH_PATH, READY_PATH})
"""What those who look after the daemon ask, without a token and beside the requests that there may be at a time."""
BODY, CLIENT = "body", "client"
"""The keys of the request's state under which its `Body` is, and who asks."""

_OK, _CREATED, _BAD_REQUEST, _REQUEST_TIMEOUT, _UNAVAILABLE = 200, 201, 400, 408, 503
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_MAX_OBJECT_BYTES = 1 << 16
_SELECTION: dict[str, type] = {
    "ids": list,
    "sha1s": tuple,
    "search": str,
    "artist": str,
    "album": str,
    "path": str,
    "state": str,
    "added_after": str,
    "added_before": str,
}
"""The query parameters that say which tracks are meant; lists are separated by commas."""
_HEADERS = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Routes:
    """The endpoints, over one command table."""

    def __init__(self, table: CommandTable, uploads: UploadStore, feed: EventFeed) -> None:
        self._table = table
        self._uploads = uploads
        self._feed = feed
        self.requests, self.limits = table.requests, table.limits

    def router(self, more: Iterable[Route] = ()) -> Router:
        """Return the table of addresses, with `more`."""
        return Router(
            [
                *more,
                Route(UPLOAD_PATH, self._upload, methods=["GET", "POST"]),
                Route("/v1/recognize", self._recognize, methods=["POST"]),
                Route("/v1/scan", self._scan, methods=["POST"]),
                Route("/v1/tracks", self._list_tracks, methods=["GET"]),
                Route("/v1/tracks", self._add_track, methods=["POST"]),
                Route("/v1/tracks", self._change_tracks, methods=["PATCH"]),
                Route("/v1/tracks", self._remove_tracks, methods=["DELETE"]),
                Route("/v1/tracks/{id}", self._show_track, methods=["GET"]),
                Route("/v1/tracks/{id}", self._change_track, methods=["PATCH"]),
                Route("/v1/tracks/{id}", self._remove_track, methods=["DELETE"]),
                Route("/v1/listeners", self._list_listeners, methods=["GET"]),
                Route("/v1/listeners", self._add_listener, methods=["POST"]),
                Route("/v1/listeners/{name:path}/pause", self._pause_listener, methods=["POST"]),
                Route("/v1/listeners/{name:path}/resume", self._resume_listener, methods=["POST"]),
                Route("/v1/listeners/{name:path}/peaks", self._listener_peaks, methods=["GET"]),
                Route("/v1/listeners/{name:path}", self._show_listener, methods=["GET"]),
                Route("/v1/listeners/{name:path}", self._remove_listener, methods=["DELETE"]),
                Route("/v1/devices", self._devices, methods=["GET"]),
                Route("/v1/matches", self._list_matches, methods=["GET"]),
                Route("/v1/matches/summary", self._summarize_matches, methods=["GET"]),
                Route(CSV_PATH, self._export_matches, methods=["GET"]),
                Route(EVENTS_PATH, self._events, methods=["GET"]),
                Route("/v1/status", self._status, methods=["GET"]),
                Route("/metrics", self._metrics, methods=["GET"]),
                Route(HEALTH_PATH, self._health, methods=["GET"]),
                Route(READY_PATH, self._ready, methods=["GET"]),
            ],
            redirect_slashes=False,
            default=_nothing_there,
        )

    async def _upload(self, request: Request) -> Response:
        """Answer as dejavu's own HTTP server did: same checks in the same order, same words, same statuses."""
        body = _body_of(request)
        try:
            async with body.received(self._uploads, None) as form:
                complaint = _legacy_complaint(form, is_form=body.is_form)
                if complaint is not None:
                    return _json({"message": complaint}, _BAD_REQUEST)
                found = await self._call("recognize", {"raw_fallback": not body.is_form}, request, form)
        except BrokenForm:  # the old server found no field in it
            return _json({"message": legacy.NO_DATA}, _BAD_REQUEST)
        return _json({"message": legacy.song(found)}, _CREATED)

    async def _recognize(self, request: Request) -> Response:
        given = _query(request, name=str, limit_s=float)
        async with _body_of(request).received(self._uploads, given.pop("name", None)) as form:
            return _json(await self._call("recognize", given, request, form))

    async def _scan(self, request: Request) -> Response:
        given = _query(request, name=str, url=str, limit_s=float)
        name = given.pop("name", None)
        if "url" in given:
            return _json(await self._call("scan", given if name is None else {**given, "source": name}, request))
        async with _body_of(request).received(self._uploads, name) as form:
            return _json(await self._call("scan", given, request, form))

    async def _add_track(self, request: Request) -> Response:
        kinds: dict[str, type] = {"name": str, "title": str, "artist": str, "album": str, "limit_s": float}
        given = _query(request, **kinds)
        async with _body_of(request).received(self._uploads, given.get("name")) as form:
            given = _typed(form.fields, kinds) | given
            result = await self._call("fingerprint", given, request, form)
        return _json(result, _CREATED if result["added"] else _OK)

    async def _list_tracks(self, request: Request) -> Response:
        own: dict[str, type] = {"limit": int, "after_id": int, "cursor": str, "sort": str, "reverse": bool}
        return _json(await self._call("tracks.list", _query(request, **own, **_SELECTION), request))

    async def _change_tracks(self, request: Request) -> Response:
        chosen = _query(request, **_SELECTION)
        change = await _object(request)
        if list(change) != ["disabled"] or not isinstance(change["disabled"], bool):
            raise InvalidRequest(reason='tracks that are chosen by a filter are changed by {"disabled": true} or false')
        return _json(await self._call("tracks.disable" if change["disabled"] else "tracks.enable", chosen, request))

    async def _remove_tracks(self, request: Request) -> Response:
        return _json(await self._call("tracks.remove", _query(request, **_SELECTION), request))

    async def _show_track(self, request: Request) -> Response:
        return _json(await self._call("tracks.get", {"id": _track_id(request)}, request))

    async def _change_track(self, request: Request) -> Response:
        track_id = _track_id(request)
        change = await _object(request)
        result = await self._call("tracks.edit", {**change, "ids": [track_id]}, request)
        if not result["updated"]:
            raise TrackNotFound(track=track_id)
        return _json({"track": result["updated"][0]})

    async def _remove_track(self, request: Request) -> Response:
        track_id = _track_id(request)
        result = await self._call("tracks.remove", {"ids": [track_id]}, request)
        if not result["removed"]:
            raise TrackNotFound(track=track_id)
        return _json(result)

    async def _list_listeners(self, request: Request) -> Response:
        return _json(await self._call("listen.list", _query(request), request))

    async def _add_listener(self, request: Request) -> Response:
        return _json(await self._call("listen.add", {**await _object(request), **_query(request)}, request), _CREATED)

    async def _pause_listener(self, request: Request) -> Response:
        return await self._of_listener("listen.pause", request)

    async def _resume_listener(self, request: Request) -> Response:
        return await self._of_listener("listen.resume", request)

    async def _listener_peaks(self, request: Request) -> Response:
        return await self._of_listener("listen.peaks", request)

    async def _remove_listener(self, request: Request) -> Response:
        return await self._of_listener("listen.remove", request)

    async def _of_listener(self, command: str, request: Request) -> Response:
        return _json(await self._call(command, {**_query(request), "name": request.path_params["name"]}, request))

    async def _show_listener(self, request: Request) -> Response:
        views = (await self._call("listen.list", _query(request), request))["listeners"]
        name = request.path_params["name"]
        for view in views:
            if view["listener"] == name:
                return _json(view)
        raise ListenerNotFound(name=name[:80], known=", ".join(view["listener"] for view in views) or "none")

    async def _devices(self, request: Request) -> Response:
        return _json(await self._call("devices", _query(request), request))

    async def _events(self, request: Request) -> EventStream:
        _client_of(request).check("the stream of events", EVENTS)
        topics = self._feed.asked_for(_query(request, topics=str, after=str), last_event_id(request))
        return EventStream(self._feed, topics, _body_of(request), _HEADERS)

    async def _list_matches(self, request: Request) -> Response:
        return _json(await self._call("history.list", _query(request, limit=int, cursor=str, **PLAYS), request))

    async def _summarize_matches(self, request: Request) -> Response:
        given = _query(request, by=str, sort=str, limit=int, **PLAYS)
        return _json(await self._call("history.summary", given, request))

    async def _export_matches(self, request: Request) -> PlayCsv:
        async def ask(params: Params) -> Params:
            return await self._call("history.list", params, request)

        return PlayCsv(ask, _query(request, **PLAYS), _HEADERS)

    async def _status(self, request: Request) -> Response:
        return _json(await self._call("status", {}, request))

    async def _health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def _ready(self, _request: Request) -> Response:
        answer = await self._table.call("ready", {}, Call(client=LOCAL))
        return _json(answer, _OK if answer["ready"] else _UNAVAILABLE, {} if answer["ready"] else {"retry-after": "1"})

    async def _metrics(self, request: Request) -> Response:
        page = await self._call("metrics", _query(request), request)
        return Response(page["text"], _OK, {**_HEADERS, "content-type": page["content_type"]})

    async def _call(self, command: str, params: Params, request: Request, form: Form | None = None) -> Params:
        """Run a command for as long as its client waits."""
        body = _body_of(request)
        audio: Upload | None = None
        if form is not None:
            if form.receiver is None or form.receiver.n_bytes == 0:
                raise InvalidRequest(reason='no audio came: send it as the body, or in the form field "file"')
            audio = form.receiver.upload
        while await body.read():  # what no command asked for
            pass
        call = Call(audio=audio, client=_client_of(request))
        return await run_unless(body.until_gone, partial(self._table.call, command, params, call))


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


def error_response(scope: Scope, error: DejavudError) -> Response:
    """Return the answer that reports `error`, in the shape that the address's clients know."""
    headers = {"allow": error.allowed} if isinstance(error, _WrongMethod) else {}
    status = _REQUEST_TIMEOUT if isinstance(error, SlowBody) else codes_of(error.code).http
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(math.ceil(error.retry_after_s))
    if status == _UNAVAILABLE:
        headers["retry-after"] = "1"
    body = {"message": error.message} if scope["path"] == UPLOAD_PATH else {"error": error_body(error)}
    return _json(body, status, headers)


def _json(body: object, status: int = _OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(body), status, {**_HEADERS, **(headers or {})}, "application/json")


async def _nothing_there(scope: Scope, _receive: object, _send: object) -> None:
    raise NotFound(path=scope["path"])


def _body_of(request: Request) -> Body:
    body: Body = request.scope["state"][BODY]
    return body


def _client_of(request: Request) -> Client:
    client: Client = request.scope["state"][CLIENT]
    return client


async def _object(request: Request) -> Params:
    """Return the JSON object that the request's body is; raises `InvalidRequest`."""
    body, text = _body_of(request), b""
    while len(text) <= _MAX_OBJECT_BYTES and (chunk := await body.read()):
        text += chunk
    if len(text) > _MAX_OBJECT_BYTES:
        raise InvalidRequest(
            reason=f"the request's body is longer than the {_MAX_OBJECT_BYTES} bytes that a change takes"
        )
    change = decode(text)
    if not isinstance(change, dict) or change.keys() & {"ids", "sha1s"}:
        raise InvalidRequest(reason='the body must be a JSON object of what to change, such as {"title": "…"}')
    return change


def _legacy_complaint(form: Form, *, is_form: bool) -> str | None:
    """Return what the old server said of a request that it did not recognize, None for one that it did."""
    if not is_form:
        return None if form.receiver is not None else legacy.NO_CORRECT_DATA
    if form.receiver is None:
        return legacy.NO_DATA
    if not form.receiver.upload.name:
        return legacy.NO_FILE_CHOSEN
    return None if form.receiver.upload.name.lower().endswith(legacy.EXTENSIONS) else legacy.WRONG_EXTENSION


def _query(request: Request, **kinds: type) -> Params:
    """Return the address's query as typed parameters; raises `InvalidRequest` for one that is not among `kinds`."""
    given = dict(request.query_params)
    unknown = sorted(set(given) - set(kinds))
    if unknown:
        known = ", ".join(kinds) or "none"
        raise InvalidRequest(reason=f"unknown query parameter {unknown[0]!r}; this address takes: {known}")
    return _typed(given, kinds)


def _typed(given: Mapping[str, str], kinds: Mapping[str, type]) -> Params:
    """Return texts as the kinds of their names; a name that has none stays a text, for the command to judge."""
    return {name: _parsed(name, text, kinds.get(name, str)) for name, text in given.items()}


def _parsed(name: str, text: str, kind: type) -> object:
    if kind is int:
        if not _WHOLE_NUMBER.fullmatch(text):
            raise InvalidRequest(reason=f"{name!r} must be a whole number, not {text[:80]!r}")
        return int(text)
    if kind is list:
        return [_parsed(name, part, int) for part in text.split(",")]
    if kind is tuple:
        return text.split(",")
    if kind is bool:
        if text not in {"true", "false"}:
            raise InvalidRequest(reason=f"{name!r} must be true or false, not {text[:80]!r}")
        return text == "true"
    if kind is float:
        if not _NUMBER.fullmatch(text):
            raise InvalidRequest(reason=f"{name!r} must be a number, not {text[:80]!r}")
        return float(text)
    return text


def _track_id(request: Request) -> int:
    text = request.path_params["id"]
    if not _WHOLE_NUMBER.fullmatch(text):
        raise TrackNotFound(track=text[:80])
    return int(text)
