"""What an operation of HTTP is: said in one place for the router and the OpenAPI document."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

from dejavud.services.event_handlers import MAX_TOPICS
from dejavud.wire.rules import AtMost, Matching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Params = dict[str, Any]

UPLOAD_PATH = "/upload"
HEALTH_PATH, READY_PATH = "/healthz", "/readyz"
EVENTS_PATH, CSV_PATH = "/v1/events", "/v1/matches.csv"
OPENAPI_PATH, DOCS_PATH = "/openapi.json", "/docs"


AUDIO = ("too_large", "timeout", "unsupported_audio", "unreadable_file", "no_fingerprint", "worker_died", "cancelled")
"""Codes of what becomes of audio."""
INDEX = ("index_unavailable", "index_full", "timeout")
"""Codes of what asks the index."""


class Body(Enum):
    """What follows the head of a request."""

    NONE = "none"
    AUDIO = "audio"
    """Sound: as the body itself, in a form, or where the operation says so named by a JSON object."""
    OBJECT = "object"
    """A JSON object of parameters."""


@dataclass(frozen=True, slots=True)
class EventsQuery:
    """Parameters of a stream of events."""

    topics: Annotated[tuple[Annotated[str, Matching("[^,]{0,64}", "how topics begin")], ...], AtMost(MAX_TOPICS)] = ()
    after: Annotated[
        str | None,
        Matching("([0-9a-f]{16}:)?[0-9]{1,18}", "the number of an event, or the id of the last one that came"),
    ] = None


@dataclass(frozen=True, slots=True)
class TrackChange:
    """What is changed of tracks that a selection means."""

    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of an address.

    command : what is run; its parameters' dataclass is the schema of query and body, unless `params` is another.
    by : the method of `Routes` that answers it; empty for what needs nothing of its own.
    takes : of the JSON object, where it is that of another dataclass.
    query : those of the parameters that the query may hold; `also` : those of a form or a JSON object only.
    place : by name in the path, the parameter that it is.
    fixed : parameters that the address itself says.
    body : what kind of body it has; its JSON object takes the parameters `also`.
    answer : the shape of what it answers; `media` its type where that is no JSON.
    least : so many parameters the JSON object has to have.
    status : of the answer; where `created` names a key, 201 where that is true in it.
    pick : makes the answer of the command's result and the parameters.
    errors : codes that it may fail with, beside those of every operation.
    is_open : it is answered without a token, beside the requests that there may be at a time.
    is_old : of dejavu's own interface, whose errors look otherwise.
    example : of a body.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    command: str = ""
    by: str = ""
    params: type | None = None
    takes: type | None = None
    query: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    place: Mapping[str, str] = field(default_factory=dict)
    fixed: Params = field(default_factory=dict)
    body: Body = Body.NONE
    least: int = 0
    answer: type | None = None
    media: str = "application/json"
    status: int = 200
    created: str = ""
    pick: Callable[[Params, Params], Params] | None = None
    errors: tuple[str, ...] = ()
    is_open: bool = False
    is_old: bool = False
    example: Any = None

    @property
    def named(self) -> frozenset[str]:
        """Return the parameters of the JSON object that name audio in the place of sending it."""
        return frozenset({"path", "url"}.intersection(self.also))
