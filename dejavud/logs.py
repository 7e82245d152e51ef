"""The log: one event a line on stderr, JSON for machines and columns for people.

What is written has no secret in it, no control character, and no end of lines that are all alike.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping, Sequence

    from structlog.typing import Processor

    Entry = MutableMapping[str, Any]

log = structlog.get_logger(__name__)

BURST, WINDOW_S = 10, 60.0
"""So many lines that are alike are written in so long; of the others their number is told."""
_MAX_KEYS = 512
_KEY_FIELDS = ("logger", "listener", "hook", "command", "transport", "outcome", "code", "service", "topic")
"""With the event and its level, what makes two lines alike: all of it takes few values, whatever clients send."""
_MAX_TEXT, _MAX_TRACE, _MAX_ITEMS = 1000, 20_000, 50
_MASK = "***"
_SECRET_KEYS = frozenset({"token", "password", "secret", "authorization"})
_URL_PASSWORD = re.compile(r"(://[^\s/@:]*):[^\s/@]+@")
_BEARER = re.compile(r"(?i)\b(bearer )\S+")
_TOKEN = re.compile(r"\bdjv_[A-Za-z0-9_-]{16,}")
"""A token, of which the daemon itself knows the hash only, where somebody wrote it into an address."""
_SHORTEST_SECRET = 4
"""Anything shorter may stand in any word."""
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_TROUBLES = frozenset({"warning", "error", "critical"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """The last line that was a warning or worse."""

    at: str
    level: str
    event: str
    reason: str


@dataclass(slots=True)
class _Alike:
    """Lines that are alike, since the first of them."""

    began_s: float
    n: int = 0
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def n_unwritten(self) -> int:
        return max(0, self.n - BURST)


class LogBook:
    """What the log does with each line before it is written: it counts it, drops what repeats, and hides what is not to be read.

    secrets : texts that are never written.
    limits : whether lines that repeat are dropped.
    """

    def __init__(
        self, secrets: Sequence[str] = (), *, limits: bool = True, clock: Callable[[], float] = monotonic
    ) -> None:
        self.n_lines: Counter[str] = Counter()
        self.last_trouble: Trouble | None = None
        self._secrets = sorted((one for one in secrets if len(one) >= _SHORTEST_SECRET), key=len, reverse=True)
        self._limits = limits
        self._clock = clock
        self._alike: dict[tuple[str, ...], _Alike] = {}
        self._lock = threading.Lock()  # threads log too

    @property
    def troubles(self) -> dict[str, Any]:
        """Return how many lines were warnings, and errors or worse, and the last of them, as JSON shows it."""
        n_errors = self.n_lines["error"] + self.n_lines["critical"]
        last = None if self.last_trouble is None else asdict(self.last_trouble)
        return {"n_warnings": self.n_lines["warning"], "n_errors": n_errors, "last": last}

    def change(self, secrets: Sequence[str], *, limits: bool) -> None:
        """Hide these too, and drop what repeats or no longer."""
        known = {*self._secrets, *(one for one in secrets if len(one) >= _SHORTEST_SECRET)}
        self._secrets = sorted(known, key=len, reverse=True)
        self._limits = limits

    # -- repeats ----------------------------------------------------------------------------------------------------

    def noted(self, _logger: object, _method: str, entry: Entry) -> Entry:
        """Return the entry, a processor of structlog; raises `structlog.DropEvent` for one like too many before it."""
        level, event = str(entry.get("level", "")), str(entry.get("event", ""))
        self.n_lines[level] += 1
        if level in _TROUBLES:
            reason = str(entry.get("reason") or entry.get("outcome") or "")
            self.last_trouble = Trouble(str(entry.get("timestamp", "")), level, self.shown(event), self.shown(reason))
        if self._limits and (level in _TROUBLES or entry.get("outcome", "ok") not in {"ok", "cancelled"}):
            n_before = self._n_before(level, event, entry)
            if n_before is None:
                raise structlog.DropEvent
            if n_before:
                entry["n_more_like_it"] = n_before
        return entry

    def _n_before(self, level: str, event: str, entry: Mapping[str, Any]) -> int | None:
        """Return how many lines like this one were dropped before it, and None where it is to be dropped too."""
        # What others' libraries say has figures in it: there the logger alone tells what is alike.
        fields = {name: str(entry[name]) for name in _KEY_FIELDS if name in entry}
        key = (level, *(() if "logger" in fields else (event,)), *(f"{name}={value}" for name, value in fields.items()))
        with self._lock:
            now, alike = self._clock(), self._alike.get(key)
            if alike is None or now - alike.began_s >= WINDOW_S:
                if alike is None and len(self._alike) >= _MAX_KEYS:
                    del self._alike[next(iter(self._alike))]
                self._alike[key] = _Alike(now, 1, {"of": event, "level_of": level, **fields})
                return 0 if alike is None else alike.n_unwritten
            alike.n += 1
            return 0 if alike.n <= BURST else None

    async def serve(self) -> None:
        """Say now and then, until cancelled and once more then, how many lines were not written."""
        try:
            while True:
                await trio.sleep(WINDOW_S)
                self.tell_repeats()
        finally:
            self.tell_repeats(all_of_them=True)

    def tell_repeats(self, *, all_of_them: bool = False) -> None:
        """Write one line for those that were like others, whose time is over."""
        with self._lock:
            now = self._clock()
            over = [key for key, alike in self._alike.items() if all_of_them or now - alike.began_s >= WINDOW_S]
            gone = [self._alike.pop(key) for key in over]
        for alike in gone:
            if alike.n_unwritten:
                log.info(
                    "more_like_it", n=alike.n_unwritten, **{k: v for k, v in alike.fields.items() if k != "outcome"}
                )

    # -- what may be read -------------------------------------------------------------------------------------------

    def guarded(self, _logger: object, _method: str, entry: Entry) -> Entry:
        """Return the entry as it may be read, a processor of structlog: without secrets and sound, on one line but for tracebacks."""
        for key, value in entry.items():
            if key in _SECRET_KEYS:
                entry[key] = _MASK
            elif key == "exception":
                entry[key] = "\n".join(self.shown(line) for line in str(value)[-_MAX_TRACE:].splitlines())
            elif not isinstance(value, bool | int | float | None):
                entry[key] = self._plain(value)
        return entry

    def _plain(self, value: object) -> object:
        if isinstance(value, str):
            return self.shown(value)
        if isinstance(value, bool | int | float | None):
            return value
        if isinstance(value, dict):
            return {self.shown(str(k)): _MASK if k in _SECRET_KEYS else self._plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._plain(item) for item in list(value)[:_MAX_ITEMS]]
        is_sound = isinstance(value, bytes | bytearray | memoryview) or hasattr(value, "shape")
        return f"<{type(value).__name__}>" if is_sound else self.shown(str(value))

    def shown(self, text: str) -> str:
        """Return a text of bounded length without secrets and without what would move a terminal's cursor or forge a line."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1:{_MASK}@", text)
        text = _TOKEN.sub(_MASK, _BEARER.sub(rf"\1{_MASK}", text))
        text = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}… ({len(text)} characters)"
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def configure_logs(
    level: str, form: str, *, secrets: Sequence[str] = (), journal: str = "", book: LogBook | None = None
) -> LogBook:
    """Set up structlog, and the standard library's loggers of what we build on, for the whole process.

    level : debug, info, warning or error; with debug nothing is dropped.  form : json, console, or auto: console on a terminal, json elsewhere.
    secrets : texts that are never written.  journal : JOURNAL_STREAM, by which systemd says that stderr is its journal, which takes a line's
    priority from its beginning.  book : the one that goes on, where the log is only changed.
    """
    is_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    if book is None:
        book = LogBook(secrets, limits=level != "debug")
    else:
        book.change(secrets, limits=level != "debug")
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # format_exc_info makes a traceback without the values of variables, which may be secrets: rich's, structlog's own choice where rich is
    # installed, would show them.
    last: list[Processor] = [structlog.processors.format_exc_info, book.guarded]
    if is_json:
        last.append(_journal_json if _is_journal(journal) else _json)
    else:
        plain = structlog.dev.plain_traceback
        last.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))
    structlog.configure(
        processors=[*first, book.noted, *last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=False,  # what is kept would keep its level, which a reload may change
    )
    foreign = logging.StreamHandler(sys.stderr)
    foreign.addFilter(_ForeignLimit(book))
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*first, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[foreign], force=True)
    return book


class _Lines:
    """Writes lines to stderr.

    One that cannot be written (the disk that it goes to is full, who read it has left) fails nobody's request; how many there were is
    told as soon as one can be written again.
    """

    n_lost = 0

    def msg(self, line: str) -> None:
        """Write a line."""
        lost = f"{_Lines.n_lost} lines of this log could not be written\n" if _Lines.n_lost else ""
        try:
            sys.stderr.write(f"{lost}{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            _Lines.n_lost += 1
        else:
            _Lines.n_lost = 0

    log = debug = info = warn = warning = error = critical = exception = fatal = failure = err = msg


class _ForeignLimit(logging.Filter):
    """Drops what repeats of others' loggers."""

    def __init__(self, book: LogBook) -> None:
        super().__init__()
        self._book = book

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record is to be written."""
        entry = {"level": record.levelname.lower(), "event": record.getMessage(), "logger": record.name}
        try:
            self._book.noted(None, "", entry)
        except structlog.DropEvent:
            return False
        return True


_to_json = structlog.processors.JSONRenderer(ensure_ascii=False, default=str)


def _json(logger: Any, method: str, entry: Entry) -> str:  # noqa: ANN401 - structlog's own type
    return str(_to_json(logger, method, entry))


def _journal_json(logger: Any, method: str, entry: Entry) -> str:  # noqa: ANN401
    """Return the line with its priority, which systemd takes off again (sd-daemon(3))."""
    return f"<{_PRIORITIES.get(str(entry.get('level')), 6)}>{_json(logger, method, entry)}"


def _is_journal(journal: str) -> bool:
    """Tell whether stderr is what JOURNAL_STREAM (device:inode) names."""
    stderr = os.fstat(2)
    return journal == f"{stderr.st_dev}:{stderr.st_ino}"
