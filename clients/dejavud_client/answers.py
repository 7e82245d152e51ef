"""What dejavud answers, as frozen dataclasses.  Their keys are those of docs/protocol.md, which says what they mean; keys that are not here are ignored."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import datetime
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

UNREACHABLE, INTERNAL = "unreachable", "internal_error"


class Error(Exception):
    """What the daemon refused; `code` is one of docs/protocol.md, or "unreachable" where no daemon answers.  status : None then."""

    def __init__(
        self, code: str, message: str, details: dict[str, Any] | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.details, self.status = code, message, details or {}, status


@dataclass(frozen=True, slots=True)
class Track:
    """A recording of the library.  The last three are known where tracks themselves were asked for."""

    id: int
    title: str
    artist: str | None = None
    album: str | None = None
    path: str | None = None
    file_sha1: str = ""
    duration_s: float = 0.0
    n_hashes: int | None = None
    added_at: datetime | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch in which a track is not heard."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Match:
    """A track that sounds in a query: from `query_start_s` to `query_end_s` of it, which are these moments of the track."""

    track: Track
    confidence: float
    query_start_s: float
    query_end_s: float
    track_start_s: float
    track_end_s: float
    speed: float = 1.0
    coverage: float = 1.0
    gaps: tuple[Gap, ...] = ()
    twins: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Recognition:
    """What a query is: the best match first, none where nothing was recognized.  raw : the whole answer."""

    matches: tuple[Match, ...]
    timings: dict[str, float] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def best(self) -> Match | None:
        """Return the first match, if there is one."""
        return self.matches[0] if self.matches else None


@dataclass(frozen=True, slots=True)
class Added:
    """A track that was sent; `added` is false where the library had these bytes already."""

    track: Track
    added: bool


@dataclass(frozen=True, slots=True)
class Play:
    """A track that a listener heard."""

    id: str
    listener: str
    track: Track
    started_at: datetime
    ended_at: datetime
    heard_s: float
    confidence: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Listener:
    """A source that is listened to.  listener : its name."""

    listener: str
    source: str
    state: str
    reason: str | None = None
    level_db: float | None = None
    heard_s: float = 0.0
    plays: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """A command that takes long.  state : running, done, failed or cancelled.  result : None until it is done."""

    id: str
    command: str
    state: str
    elapsed_s: float
    progress: dict[str, Any]
    error: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What happened.  lost : so many before it could not be told.  `place` is what `Dejavud.events` takes as `after`."""

    topic: str
    data: dict[str, Any]
    time: datetime
    daemon: str
    seq: int | None = None
    lost: int = 0

    @property
    def place(self) -> str:
        """Return where it stands among all events."""
        return f"{self.daemon}:{self.seq}"


def read(kind: type[T], answer: dict[str, Any]) -> T:
    """Return the JSON object `answer` as the dataclass `kind`; raises `Error` where something that it must have is not there."""
    hints, places = get_type_hints(kind), fields(kind)  # type: ignore[arg-type]
    given = {one.name: _value(hints[one.name], answer[one.name]) for one in places if one.name in answer}
    wanted = (one.name for one in places if one.default is MISSING and one.default_factory is MISSING)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise Error(INTERNAL, f"the daemon's answer has no {missing[0]!r}: another version?")
    return kind(**given)


def _value(hint: Any, value: Any) -> Any:  # noqa: ANN401 - any JSON value in, a value of the type `hint` out
    if value is None:
        return None
    if isinstance(hint, UnionType):
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_value(get_args(hint)[0], one) for one in value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    return read(hint, value) if is_dataclass(hint) and isinstance(hint, type) else value
