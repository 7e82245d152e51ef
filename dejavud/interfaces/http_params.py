"""What a request asks for: texts of its path, query, form and JSON object as the parameters of a command."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from typing import TYPE_CHECKING, Any

from dejavud.errors import InvalidRequest
from dejavud.services.commands import check_values
from dejavud.wire.codec import decode
from dejavud.wire.schemas import alternatives, is_required

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request

    from dejavud.interfaces.http_body import Body

    Params = dict[str, Any]

MAX_OBJECT_BYTES = 1 << 20
"""A list of as many SHA1s as a command takes fits in."""
MAX_LISTED = 100
"""Entries of a list in an address: two lists of SHA1s fit into the 16 kB that a request's head may have."""
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(\.[0-9]{1,400})?([eE][+-]?[0-9]{1,3})?")


def hints_of(kind: type) -> dict[str, Any]:
    """Return the annotations of a dataclass of parameters, with their rules."""
    return typing.get_type_hints(kind, include_extras=True)


def query_of(request: Request, kind: type, names: Iterable[str]) -> Params:
    """Return the address's query as typed parameters; raises `InvalidRequest` for one that is not among `names`, or comes twice."""
    given = request.query_params.multi_items()
    names = tuple(names)
    for name, _ in given:
        if name not in names:
            known = ", ".join(names) or "none"
            raise InvalidRequest(reason=f"unknown query parameter {name[:80]!r}; this address takes: {known}")
    texts = dict(given)
    if len(texts) < len(given):
        raise InvalidRequest(reason="a query parameter comes twice; lists are separated by commas")
    return typed(texts, kind)


def typed(texts: Mapping[str, str], kind: type) -> Params:
    """Return texts as the types that the fields of `kind` have, and within their rules; what is no field stays a text.

    Raises `InvalidRequest`, for a value too that another one goes before.
    """
    hints = hints_of(kind)
    values = {name: _parsed(name, text, hints.get(name, str)) for name, text in texts.items()}
    check_values(kind, values)
    return values


def placed(text: str, kind: type, name: str) -> object:
    """Return a text of the path as the parameter `name`, in a list where that is one; raises `InvalidRequest`."""
    hint = _plain(hints_of(kind)[name])[0]
    if typing.get_origin(hint) is tuple:
        return [_parsed(name, text, typing.get_args(hint)[0])]
    return _parsed(name, text, hint)


async def object_of(body: Body, kind: type, names: Iterable[str], least: int = 0) -> Params:
    """Return the JSON object that a body is, which has no other keys than `names`; raises `InvalidRequest`."""
    text = b""
    while len(text) <= MAX_OBJECT_BYTES and (chunk := await body.read()):
        text += chunk
    if len(text) > MAX_OBJECT_BYTES:
        raise InvalidRequest(
            reason=f"the request's body is longer than the {MAX_OBJECT_BYTES} bytes that an object may have"
        )
    given, names = decode(text), tuple(names)
    if not isinstance(given, dict):
        raise InvalidRequest(reason=f"the body must be a JSON object with: {', '.join(names)}")
    for name, value in given.items():
        if name not in names:
            raise InvalidRequest(reason=f"unknown key {name[:80]!r}; the object takes: {', '.join(names)}")
        if value is None:
            raise InvalidRequest(reason=f"{name!r} is null: leave out what is not meant")
    missing = [
        field.name
        for field in dataclasses.fields(kind)
        if field.name in names and is_required(field) and field.name not in given
    ]
    if missing or len(given) < least:
        raise InvalidRequest(
            reason=f"the body lacks {missing[0]!r}" if missing else f"say at least one of: {', '.join(names)}"
        )
    return given


def _plain(hint: Any) -> list[Any]:  # noqa: ANN401 - any annotation
    """Return the types that an annotation allows, but None."""
    return [kind for kind, _ in alternatives(hint) if kind is not type(None)]


def _parsed(name: str, text: str, hint: Any) -> object:  # noqa: ANN401 - any annotation
    """Return a text as an annotation wants it; raises `InvalidRequest`."""
    options = _plain(hint)
    kind = options[0]
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        parts = text.split(",") if text else []
        if len(parts) > MAX_LISTED:
            raise InvalidRequest(reason=f"{name!r} holds {len(parts)} entries; an address takes at most {MAX_LISTED}")
        return [_parsed(name, part, item) for part in parts]
    if int in options and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if kind is int:
        raise InvalidRequest(reason=f"{name!r} must be a whole number, not {text[:80]!r}")
    if kind is bool:
        if text not in {"true", "false"}:
            raise InvalidRequest(reason=f"{name!r} must be true or false, not {text[:80]!r}")
        return text == "true"
    if kind is float:
        if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            raise InvalidRequest(reason=f"{name!r} must be a number, not {text[:80]!r}")
        return float(text)
    return text
