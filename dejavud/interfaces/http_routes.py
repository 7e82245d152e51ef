"""Runs the operations of HTTP: query and body become a command's parameters, the command's result the answer."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route, Router

from dejavud.errors import InvalidRequest, ListenerNotFound, NotFound, TrackNotFound
from dejavud.interfaces import legacy
from dejavud.interfaces.http_answers import (
    ACCEPTED,
    BAD_REQUEST,
    CREATED,
    HEADERS,
    OK,
    UNAVAILABLE,
    json_answer,
)
from dejavud.interfaces.http_docs import POLICY, docs_page
from dejavud.interfaces.http_events import EventStream, last_event_id
from dejavud.interfaces.http_matches import PlayCsv
from dejavud.interfaces.http_operation import Body, Operation, TrackChange
from dejavud.interfaces.http_params import hints_of, object_of, placed, query_of, typed
from dejavud.interfaces.http_table import OPERATIONS
from dejavud.interfaces.multipart import BrokenForm
from dejavud.interfaces.openapi import document
from dejavud.interfaces.serving import run_unless
from dejavud.services.clients import EVENTS, LOCAL
from dejavud.services.commands import Call, NoParameters
from dejavud.wire.codec import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request

    from dejavud.interfaces.http_body import Body as RequestBody
    from dejavud.interfaces.http_body import Form
    from dejavud.interfaces.http_events import EventFeed
    from dejavud.services.clients import Client
    from dejavud.services.commands import CommandTable
    from dejavud.services.uploads import Upload, UploadStore

    Scope = Any  # ASGI's own loose type
    Params = dict[str, Any]
    Endpoint = Callable[[Operation, Request], Awaitable[Any]]

PROBE_PATHS = frozenset(operation.path for operation in OPERATIONS if operation.is_open)
"""What those who look after the daemon ask, without a token and beside the requests that there may be at a time."""
BODY, CLIENT = "body", "client"
"""The keys of the request's state under which its `Body` is, and who sent it."""
_JSON = "application/json"
_ASYNC = re.compile(r"(?:^|[,;])\s*respond-async\s*(?:$|[,;=])", re.IGNORECASE)


class Routes:
    """The operations, over one command table.  asks : tells whether a token is wanted just now."""

    def __init__(
        self, table: CommandTable, uploads: UploadStore, feed: EventFeed, asks: Callable[[], bool] = bool
    ) -> None:
        self._table = table
        self._uploads = uploads
        self._feed = feed
        self._asks = asks
        self._documents: dict[bool, Params] = {}
        self._pages: dict[bool, bytes] = {}
        self.requests, self.limits = table.requests, table.limits

    def router(self, more: Iterable[Route] = ()) -> Router:
        """Return the addresses, with `more`: each takes the methods that the table says, and HEAD where it takes GET."""
        paths: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            paths.setdefault(operation.path, {})[operation.method] = operation
        routes = [*more]
        for path, operations in paths.items():
            endpoint = partial(self._answer, operations)
            routes.append(Route(path.replace("{name}", "{name:path}"), endpoint, methods=list(operations)))
        return Router(routes, redirect_slashes=False, default=_nothing_there)

    async def _answer(self, operations: dict[str, Operation], request: Request) -> Any:  # noqa: ANN401 - any ASGI application
        operation = operations["GET" if request.method == "HEAD" else request.method]
        endpoint: Endpoint = getattr(self, f"_{operation.by}") if operation.by else self._run
        return await endpoint(operation, request)

    def _kind(self, operation: Operation) -> type:
        """Return the dataclass of an operation's parameters."""
        if operation.params is not None:
            return operation.params
        return self._table.params_of(operation.command) if operation.command else NoParameters

    def _asked(self, operation: Operation, request: Request) -> Params:
        """Return what path and query ask for."""
        kind = self._kind(operation)
        query = query_of(request, kind, operation.query)
        try:
            place = {
                parameter: placed(request.path_params[name], kind, parameter)
                for name, parameter in operation.place.items()
            }
        except InvalidRequest:  # only tracks are called by numbers, and none by what is no number
            raise TrackNotFound(track=str(next(iter(request.path_params.values())))[:80]) from None
        return {**query, **operation.fixed, **place}

    async def _run(self, operation: Operation, request: Request) -> Response:
        """Do an operation that is a command and nothing else."""
        body, params = _body_of(request), self._asked(operation, request)
        self._table.check(operation.command, _client_of(request))
        async with AsyncExitStack() as kept:
            audio = None
            if operation.body is Body.OBJECT or (operation.also and body.content_type.lower().startswith(_JSON)):
                params = self._called(operation, params)
                params |= await object_of(body, self._kind(operation), operation.also, operation.least)
                if operation.body is Body.AUDIO and not operation.named & params.keys():
                    lacks = " or ".join(map(repr, sorted(operation.named, reverse=True)))
                    raise InvalidRequest(reason=f"the body lacks {lacks}, which names the audio")
            elif operation.body is Body.AUDIO:
                form = await kept.enter_async_context(body.received(self._uploads, params.get("name")))
                params = self._with_form(operation, params, form)
                audio = _audio_of(form)
            call = Call(audio=audio, client=_client_of(request))
            if self._goes_on(operation, request):
                return await self._begun(operation, params, call, request, kept)
            result = await self._call(operation.command, params, call, body)
        if operation.pick is not None:
            result = operation.pick(result, params)
        status = (CREATED if result[operation.created] else OK) if operation.created else operation.status
        return json_answer(result, status)

    def _with_form(self, operation: Operation, params: Params, form: Form) -> Params:
        """Return what is asked for by a form too, whose text fields stand for query parameters."""
        unknown = sorted(form.fields.keys() - {*operation.query})
        if unknown:
            known = ", ".join(operation.query)
            raise InvalidRequest(reason=f"unknown form field {unknown[0][:80]!r}; this form takes: file, {known}")
        return self._called(operation, typed(form.fields, self._kind(operation)) | params)

    def _called(self, operation: Operation, params: Params) -> Params:
        """Return what is asked for, in the words of the command: a query is called by its `source`."""
        if "name" in params and "name" not in hints_of(self._kind(operation)):
            return {name: value for name, value in params.items() if name != "name"} | {"source": params["name"]}
        return params

    def _goes_on(self, operation: Operation, request: Request) -> bool:
        """Tell whether a job is begun that its client does not wait for: where he prefers that, and the command may take long (RFC 7240)."""
        prefers = any(_ASYNC.search(value) for value in request.headers.getlist("prefer"))
        return prefers and self._table.may_go_on(operation.command)

    async def _begun(
        self, operation: Operation, params: Params, call: Call, request: Request, kept: AsyncExitStack
    ) -> Response:
        """Answer that a job has begun, and where it is; the whole body is here by now."""
        body = _body_of(request)
        while await body.read():
            pass
        begun = self._table.begin(operation.command, params, call, kept)
        headers = {"location": f"/v1/jobs/{begun['job']['id']}", "preference-applied": "respond-async"}
        return json_answer(begun, ACCEPTED, headers)

    async def _call(self, command: str, params: Params, call: Call, body: RequestBody) -> Params:
        """Run a command for as long as its client waits."""
        while await body.read():  # what no command asked for
            pass
        return await run_unless(body.until_gone, partial(self._table.call, command, params, call))

    # -- what is more than a command ---------------------------------------------------------------------------------

    async def _old_upload(self, _operation: Operation, request: Request) -> Response:
        """Answer as dejavu's own HTTP server did: same checks in the same order, same words, same statuses."""
        self._table.check("recognize", _client_of(request))
        body = _body_of(request)
        try:
            async with body.received(self._uploads, None) as form:
                complaint = _legacy_complaint(form, is_form=body.is_form)
                if complaint is not None:
                    return json_answer({"message": complaint}, BAD_REQUEST)
                call = Call(audio=_audio_of(form), client=_client_of(request))
                found = await self._call("recognize", {"raw_fallback": not body.is_form}, call, body)
        except BrokenForm:  # the old server found no field in it
            return json_answer({"message": legacy.NO_DATA}, BAD_REQUEST)
        return json_answer({"message": legacy.song(found)}, CREATED)

    async def _change_tracks(self, operation: Operation, request: Request) -> Response:
        chosen = self._asked(operation, request)
        change = await object_of(_body_of(request), TrackChange, ("disabled",))
        if not isinstance(change["disabled"], bool):
            raise InvalidRequest(reason='tracks that are chosen by a filter are changed by {"disabled": true} or false')
        command = "tracks.disable" if change["disabled"] else "tracks.enable"
        return json_answer(await self._call(command, chosen, Call(client=_client_of(request)), _body_of(request)))

    async def _show_listener(self, operation: Operation, request: Request) -> Response:
        query_of(request, NoParameters, ())
        call = Call(client=_client_of(request))
        result = await self._call(operation.command, {}, call, _body_of(request))
        return json_answer(_named_listener(result, request.path_params))

    async def _events(self, operation: Operation, request: Request) -> EventStream:
        _client_of(request).check("the stream of events", EVENTS)
        topics = self._feed.asked_for(query_of(request, self._kind(operation), operation.query), last_event_id(request))
        return EventStream(self._feed, topics, _body_of(request), HEADERS)

    async def _export_matches(self, operation: Operation, request: Request) -> PlayCsv:
        async def ask(params: Params) -> Params:
            return await self._call(operation.command, params, Call(client=_client_of(request)), _body_of(request))

        return PlayCsv(ask, self._asked(operation, request), HEADERS)

    async def _health(self, _operation: Operation, request: Request) -> Response:
        query_of(request, NoParameters, ())
        return json_answer({"status": "ok"})

    async def _ready(self, _operation: Operation, request: Request) -> Response:
        query_of(request, NoParameters, ())
        answer = await self._table.call("ready", {}, Call(client=LOCAL))
        if answer["ready"]:
            return json_answer(answer)
        return json_answer(answer, UNAVAILABLE, {"retry-after": "1"})

    async def _metrics(self, operation: Operation, request: Request) -> Response:
        call = Call(client=_client_of(request))
        page = await self._call(operation.command, self._asked(operation, request), call, _body_of(request))
        return Response(page["text"], OK, {**HEADERS, "content-type": page["content_type"]})

    async def _openapi(self, _operation: Operation, request: Request) -> Response:
        query_of(request, NoParameters, ())
        return Response(encode(self._document()), OK, {**HEADERS, "cache-control": "no-cache"}, _JSON)

    async def _docs(self, _operation: Operation, request: Request) -> Response:
        query_of(request, NoParameters, ())
        if self._asks() not in self._pages:
            self._pages[self._asks()] = docs_page(self._document())
        headers = {
            **HEADERS,
            "cache-control": "no-cache",
            "content-security-policy": POLICY,
            "referrer-policy": "no-referrer",
        }
        return Response(self._pages[self._asks()], OK, headers, "text/html")

    def _document(self) -> Params:
        """Return the OpenAPI document, which says whether a token is wanted just now."""
        asks = self._asks()
        if asks not in self._documents:
            known = [each for each in OPERATIONS if not each.command or each.command in self._table.names]
            self._documents[asks] = document(known, self._kind, asks=asks)
        return self._documents[asks]


def _named_listener(result: Params, params: Params) -> Params:
    """Return the listener that is meant; raises `ListenerNotFound`."""
    views: list[Params] = result["listeners"]
    for view in views:
        if view["listener"] == params["name"]:
            return view
    raise ListenerNotFound(name=params["name"][:80], known=", ".join(view["listener"] for view in views) or "none")


async def _nothing_there(scope: Scope, _receive: object, _send: object) -> None:
    raise NotFound(path=scope["path"])


def _body_of(request: Request) -> RequestBody:
    body: RequestBody = request.scope["state"][BODY]
    return body


def _client_of(request: Request) -> Client:
    client: Client = request.scope["state"][CLIENT]
    return client


def _audio_of(form: Form) -> Upload:
    """Return the audio that came; raises `InvalidRequest` where none did."""
    if form.receiver is None or form.receiver.n_bytes == 0:
        raise InvalidRequest(reason='no audio came: send it as the body, or in the form field "file"')
    return form.receiver.upload


def _legacy_complaint(form: Form, *, is_form: bool) -> str | None:
    """Return what the old server said of a request that it did not recognize, None for one that it did."""
    if not is_form:
        return None if form.receiver is not None else legacy.NO_CORRECT_DATA
    if form.receiver is None:
        return legacy.NO_DATA
    if not form.receiver.upload.name:
        return legacy.NO_FILE_CHOSEN
    return None if form.receiver.upload.name.lower().endswith(legacy.EXTENSIONS) else legacy.WRONG_EXTENSION
