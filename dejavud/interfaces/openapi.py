"""The OpenAPI 3.1 document, made of the table of operations, the parameters of commands and the shapes of their results."""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from dejavud import __version__
from dejavud.interfaces.http_operation import Body
from dejavud.interfaces.http_params import MAX_LISTED, hints_of
from dejavud.services.job_book import JobBook
from dejavud.wire.codes import codes_of
from dejavud.wire.results.answers import OldAnswer
from dejavud.wire.results.past import Event
from dejavud.wire.results.work import ErrorEnvelope, OneJob
from dejavud.wire.schemas import Schemas, is_required

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dejavud.interfaces.http_operation import Operation

    Kind = Callable[[Operation], type]

COMMON = ("invalid_request", "forbidden", "rate_limited", "internal_error", "busy", "shutting_down")
"""Codes that any operation may fail with."""
_ASKS = "unauthorized"
_SLOW_BODY = 408
_FILE_NAME = {"type": "string", "example": 'form-data; name="file"; filename="clip.wav"'}
_DESCRIPTION = """Recognizes music from a library of your own. Errors are all of one form, with a stable `code`; objects may get more keys, so ignore those that you do
not know. Times are ISO 8601, durations and positions seconds, sizes bytes."""


def document(operations: Iterable[Operation], kind: Kind, *, asks: bool) -> dict[str, Any]:
    """Return the document.

    kind : returns the dataclass of an operation's parameters.
    asks : whether a token is wanted.
    """
    schemas, paths = Schemas(), dict[str, dict[str, Any]]()
    for operation in operations:
        described = _Described(operation, kind(operation), schemas, asks=asks and not operation.is_open)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described.operation()
    components: dict[str, Any] = {"schemas": schemas.components}
    if asks:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dejavud",
            "version": __version__,
            "summary": "Which recording is playing, where in it, and how sure that is.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": components,
    }


class _Described:
    """One operation as the document has it."""

    def __init__(self, operation: Operation, kind: type, schemas: Schemas, *, asks: bool) -> None:
        self._operation = operation
        self._kind = kind
        self._schemas = schemas
        self._asks = asks
        self._may_go_on = not operation.is_old and JobBook.may_take_long(operation.command)

    def operation(self) -> dict[str, Any]:
        """Return the object."""
        operation = self._operation
        described: dict[str, Any] = {
            "operationId": operation.name,
            "summary": operation.summary,
            "tags": [operation.tag],
            "parameters": [*self._place(), *self._query(), *self._headers()],
            "responses": self._responses(),
        }
        if operation.command:
            described["x-command"] = operation.command
        if operation.is_old:
            described["deprecated"] = True
        if self._asks:
            described["security"] = [{"token": []}]
        if operation.body is not Body.NONE:
            described["requestBody"] = {"required": True, "content": self._content()}
        return described

    def _place(self) -> list[dict[str, Any]]:
        """Return the parameters of the path: of one that is a list among the command's, an entry."""
        described = []
        for name, parameter in self._operation.place.items():
            field = self._field(parameter)
            schema: dict[str, Any] = field.get("items", field)
            if schema.get("type") == "string":
                schema = {"type": "string", "minLength": 1}
            described.append({"name": name, "in": "path", "required": True, "schema": schema})
        return described

    def _query(self) -> list[dict[str, Any]]:
        fields = {field.name: field for field in dataclasses.fields(self._kind)}
        described = []
        for name in self._operation.query:
            schema = _without_null(self._field(name))
            parameter: dict[str, Any] = {"name": name, "in": "query", "schema": schema}
            if schema.get("type") == "array":
                schema["maxItems"] = min(schema.get("maxItems", MAX_LISTED), MAX_LISTED)
                parameter |= {"style": "form", "explode": False}
            elif name in fields and is_required(fields[name]):
                parameter["required"] = True
            elif name in fields and fields[name].default not in {None, ""}:
                schema["default"] = fields[name].default
            described.append(parameter)
        return described

    def _headers(self) -> list[dict[str, Any]]:
        headers: list[dict[str, Any]] = []
        if self._may_go_on:
            says = "`respond-async` answers 202 with a job, which goes on when you leave, instead of the result (RFC 7240)."
            schema: dict[str, Any] = {"type": "string", "examples": ["respond-async"]}
            headers.append({"name": "Prefer", "in": "header", "description": says, "schema": schema})
        if self._operation.media == "text/event-stream":
            says = "The `id` of the last event that came; goes before `after`."
            schema = {"type": "string", "pattern": "^(?:([0-9a-f]{16}:)?[0-9]{1,18})?$"}
            headers.append({"name": "Last-Event-ID", "in": "header", "description": says, "schema": schema})
        return headers

    def _content(self) -> dict[str, Any]:
        operation = self._operation
        content: dict[str, Any] = {}
        if operation.body is Body.AUDIO:
            fields = {name: _without_null(self._field(name)) for name in operation.query}
            form = {
                "type": "object",
                "properties": {"file": {"type": "string", "format": "binary"}, **fields},
                "required": ["file"],
                "additionalProperties": operation.is_old,
            }
            content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
            file = {
                "contentType": "application/octet-stream",
                "headers": {"Content-Disposition": {"schema": _FILE_NAME}},
            }
            content["multipart/form-data"] = {"schema": form, "encoding": {"file": file}}
        if operation.also or operation.body is Body.OBJECT:
            content["application/json"] = {"schema": self._object()}
            if operation.example is not None:
                content["application/json"]["example"] = operation.example
        return content

    def _field(self, name: str) -> dict[str, Any]:
        hints = hints_of(self._kind)
        return self._schemas.of(hints[name]) if name in hints else {"type": "string"}

    def _object(self) -> dict[str, Any]:
        operation = self._operation
        kind, names = operation.takes or self._kind, operation.also
        schema = self._schemas.of_params(kind, names)
        schema["properties"] = {name: _without_null(each) for name, each in schema["properties"].items()}
        if operation.body is Body.AUDIO:
            schema["oneOf"] = [{"required": [name]} for name in sorted(operation.named)]
        if operation.least:
            schema["minProperties"] = operation.least
        return schema

    def _responses(self) -> dict[str, Any]:
        operation = self._operation
        responses: dict[str, Any] = {}
        for status in [operation.status, *([201] if operation.created else [])]:
            responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": self._answer()}
        if self._may_go_on:
            location = {"description": "Where the job is.", "required": True, "schema": {"type": "string"}}
            responses["202"] = {
                "description": "A job that goes on by itself",
                "headers": {"Location": location},
                "content": _json(self._schemas.of(OneJob)),
            }
        for status, codes in sorted(self._errors().items()):
            shape = OldAnswer if operation.is_old else ErrorEnvelope
            content = _json(self._schemas.of(shape))
            if operation.by == "ready" and status == HTTPStatus.SERVICE_UNAVAILABLE:
                content = _json({"anyOf": [self._schemas.of(operation.answer), self._schemas.of(ErrorEnvelope)]})
            responses[str(status)] = {"description": ", ".join(f"`{code}`" for code in codes), "content": content}
        return responses

    def _errors(self) -> dict[int, list[str]]:
        """Return the codes by the status that they come with."""
        operation = self._operation
        by_status: dict[int, list[str]] = {}
        for code in dict.fromkeys((*COMMON, *operation.errors, *([_ASKS] if self._asks else []))):
            by_status.setdefault(codes_of(code).http, []).append(code)
        if operation.body is not Body.NONE:
            by_status[_SLOW_BODY] = ["timeout"]
            by_status.setdefault(codes_of("too_large").http, ["too_large"])
        return by_status

    def _answer(self) -> dict[str, Any]:
        operation = self._operation
        if operation.media == "text/event-stream":
            data = {"type": "string", "contentMediaType": "application/json", "contentSchema": self._schemas.of(Event)}
            event = {"type": "object", "properties": {"id": {"type": "string"}, "data": data}}
            return {operation.media: {"schema": event}}
        if operation.answer is None:
            return {
                operation.media: {"schema": {"type": "object" if operation.media == "application/json" else "string"}}
            }
        return _json(self._schemas.of(operation.answer))


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without null, which neither a query nor an object that changes something can say."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [each for each in kind if each != "null"]
        return {**schema, "type": kinds[0] if len(kinds) == 1 else kinds}
    return schema
