"""How the daemon is."""

from typing import Literal, TypedDict

from dejavud.wire.results.listening import Listener


class Hook(TypedDict):
    """What is told of what plays, and how that goes."""

    hook: str
    kind: str
    target: str
    state: Literal["starting", "ready", "retrying", "stopped"]
    n_delivered: int
    n_waiting: int
    n_failed: int
    n_lost: int
    last_error: str | None
    last_error_at: str | None
    next_try_at: str | None


class Hooks(TypedDict):
    """All hooks."""

    hooks: list[Hook]


class HookTest(TypedDict):
    """What became of a sample."""

    hook: str
    kind: str
    target: str
    ok: bool
    said: str


class HookTests(TypedDict):
    """What became of samples."""

    tests: list[HookTest]


class IndexStatus(TypedDict):
    """The index, as the status tells of it."""

    url: str
    size_bytes: int
    view_bytes: int | None
    clustered_share: float | None
    reachable: bool
    answers_from: Literal["view", "database"]


class WorkersStatus(TypedDict):
    """How busy the workers are."""

    n_processes: int
    n_busy: int
    n_waiting: int
    n_died: int
    n_replaced: int
    n_alive: int
    n_reads_waiting: int
    n_writes_waiting: int
    n_streams: int


class Process(TypedDict):
    """What the daemon's own process holds."""

    n_tasks: int
    n_threads: int | None
    n_descriptors: int | None
    max_descriptors: int
    memory_bytes: int | None
    cpu_s: float


class Loop(TypedDict):
    """How promptly the event loop turns."""

    longest_turn_s: float
    n_stalls: int


class Trouble(TypedDict):
    """A line of the log that complains."""

    at: str
    level: str
    event: str
    reason: str


class Troubles(TypedDict):
    """What the log has to complain of."""

    n_warnings: int
    n_errors: int
    last: Trouble | None


class MicrophoneStatus(TypedDict):
    """Whether there is a microphone."""

    available: bool
    reason: str | None


class HistoryStatus(TypedDict):
    """How the history is."""

    enabled: bool
    keep_days: float
    n_plays: int | None
    n_waiting: int
    n_dropped: int
    reason: str | None


class QueryCounts(TypedDict):
    """Queries since the daemon started."""

    n_matched: int
    n_unmatched: int
    n_failed: int


class StatusEngine(TypedDict):
    """The fingerprints' profile."""

    profile: str
    params: str


class Status(TypedDict):
    """How the daemon is."""

    version: str
    uptime_s: float
    n_tracks: int
    n_disabled: int
    n_postings: int
    duration_s: float
    index: IndexStatus
    engine: StatusEngine
    workers: WorkersStatus
    process: Process
    loop: Loop
    troubles: Troubles
    microphone: MicrophoneStatus
    listeners: list[Listener]
    history: HistoryStatus
    hooks: list[Hook]
    endpoints: dict[str, str | list[str]]
    queries: QueryCounts


class Metrics(TypedDict):
    """Every figure, as Prometheus reads them."""

    text: str
    content_type: str


class Ready(TypedDict):
    """Whether queries can be answered; a check is `ok` or the code of what stands in the way."""

    ready: bool
    checks: dict[str, str]


class Health(TypedDict):
    """The event loop answers."""

    status: Literal["ok"]


class Reloaded(TypedDict):
    """Settings that changed, and those that take a restart."""

    changed: list[str]
    needs_restart: list[str]


class Stopping(TypedDict):
    """The daemon ends."""

    stopping: bool
