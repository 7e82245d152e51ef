"""Every request leaves one line in the log, and its figures, whichever door it came through and however it ended."""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import structlog
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from dejavud.errors import DejavudError, InternalError
from dejavud.services.figures import Counter, Histogram
from dejavud.wire.codes import codes_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from dejavud.services.figures import Page

log = structlog.get_logger(__name__)

OK, CANCELLED = "ok", "cancelled"
SLOW_S = 1.0
"""What took longer is told whatever it was."""
SLOW_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
STAGE_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_FAULT = 500
"""From this HTTP status on it is the daemon's own affair, and worth a warning."""

QUIET = frozenset(
    {
        "status",
        "metrics",
        "ready",
        "tracks.list",
        "tracks.get",
        "tracks.known",
        "listen.list",
        "jobs.list",
        "jobs.get",
        "history.list",
        "history.summary",
        "hooks.list",
        "devices",
        "events.replay",
    }
)
"""Asked often and changing nothing: told where somebody asks for debug lines, or where it is slow or fails."""
_QUERIES = frozenset({"recognize", "recognize_microphone"})
_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")


def sane_id(given: object) -> str | None:
    """Return an id that a client gave its request, as text, where it is one that a log may hold; None otherwise."""
    text = str(given)
    return text if _SANE_ID.fullmatch(text) else None


def id_of(connection: str, number: object) -> str | None:
    """Return the id of a request that its connection numbers for itself; None where what it calls a number is not to be logged."""
    return sane_id(f"{connection}/{number}")


def new_id() -> str:
    """Return an id that no other request has."""
    return secrets.token_hex(8)


@dataclass(slots=True)
class Request:
    """What is known of a request so far.

    command : the first that it asked for; empty where it asked for none.
    outcome : "ok", "cancelled", or the code of the error that it was answered with.
    fields : what else its line shall say.
    """

    transport: str
    id: str
    command: str = ""
    outcome: str = OK
    fields: dict[str, Any] = field(default_factory=dict)
    n_commands: int = 0

    def fail(self, error: BaseException) -> None:
        """Take note of what it ends with."""
        if isinstance(error, DejavudError):
            self.outcome = error.code
            self.fields["reason"] = error.message
        else:
            self.outcome = InternalError.code if isinstance(error, Exception) else CANCELLED


_CURRENT: ContextVar[Request | None] = ContextVar("dejavud_request", default=None)


def current_request() -> Request | None:
    """Return the request that the running task deals with, None where it deals with none."""
    return _CURRENT.get()


class Requests:
    """Counts requests and writes their lines."""

    def __init__(self) -> None:
        self.answered = Counter(
            "dejavud_requests_total",
            "Requests by door, command (none: refused before it came to one) and outcome.",
            "transport",
            "command",
            "outcome",
        )
        self.took = Histogram(
            "dejavud_request_seconds", "Time from a command's parameters to its answer.", SLOW_BOUNDS_S, "command"
        )
        self.queries = Counter(
            "dejavud_queries_total",
            "Queries by door and outcome: matched, unmatched or failed.",
            "transport",
            "outcome",
        )
        self.stages = Histogram(
            "dejavud_query_stage_seconds", "Where the time of queries went.", STAGE_BOUNDS_S, "stage"
        )
        self.n_open = 0

    @contextmanager
    def opened(self, transport: str, request_id: str | None = None) -> Iterator[Request]:
        """Give what is known of a request while the block deals with it; its line is written when the block ends.

        Commands that are run in the block belong to it.  Whatever ends the block is taken note of and goes on; who answers with an error
        instead of raising it says so by `Request.fail`.
        """
        request = Request(transport, request_id or new_id())
        started, before = perf_counter(), get_contextvars()
        token = _CURRENT.set(request)
        bind_contextvars(transport=transport, request_id=request.id)
        self.n_open += 1
        try:
            yield request
        except BaseException as error:
            if request.outcome == OK:
                request.fail(error)
            raise
        finally:
            self.n_open -= 1
            self._tell(request, perf_counter() - started)
            _CURRENT.reset(token)
            clear_contextvars()
            bind_contextvars(**before)

    async def run(self, command: str, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """Return what a command returns: its bugs contained, its figures taken; a request of its own where none is open."""
        request = _CURRENT.get()
        if request is None:
            with self.opened("local"):
                return await self.run(command, work)
        request.command = request.command or command
        request.n_commands += 1
        bind_contextvars(command=request.command)
        started, result, outcome = perf_counter(), None, CANCELLED
        try:
            result = await work()
            outcome = OK
        except DejavudError as error:
            outcome = error.code
            raise
        except Exception as error:
            outcome = InternalError.code
            log.exception("command_failed")
            raise InternalError(reason=f"{type(error).__name__} in {command!r}; the daemon's log has more") from error
        finally:
            self._count(request.transport, command, outcome, perf_counter() - started, result)
        return result

    def _count(
        self, transport: str, command: str, outcome: str, elapsed_s: float, result: Mapping[str, Any] | None
    ) -> None:
        self.answered.add(transport, command, outcome)
        self.took.observe(elapsed_s, command)
        if command not in _QUERIES or outcome == CANCELLED:
            return
        if result is None:
            self.queries.add(transport, "failed")
            return
        self.queries.add(transport, "matched" if result["matches"] else "unmatched")
        for stage, elapsed_ms in result["timings"].items():
            self.stages.observe(elapsed_ms / 1000, stage.removesuffix("_ms"))

    def _tell(self, request: Request, elapsed_s: float) -> None:
        """Write the line of a request: see docs/operations.md for which are told at what level."""
        outcome = request.outcome
        if not request.n_commands and outcome not in {OK, CANCELLED}:
            self.answered.add(request.transport, "none", outcome)
        if outcome not in {OK, CANCELLED}:
            status = request.fields.get("status") or codes_of(outcome).http
            level = log.warning if status >= _FAULT else log.info
        elif not request.command or (outcome == OK and request.command in QUIET and elapsed_s < SLOW_S):
            level = log.debug
        else:
            level = log.info
        event = "command_answered" if request.command else "request_answered"
        level(event, outcome=outcome, elapsed_ms=round(elapsed_s * 1000, 1), **request.fields)

    def show(self, page: Page) -> None:
        """Write the figures on a page."""
        for figures in (self.answered, self.took, self.queries, self.stages):
            figures.show(page)
        page.gauge("dejavud_requests_open", "Requests in work, streams of events among them.", self.n_open)
