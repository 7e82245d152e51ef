"""Long work, and how it ended."""

from typing import Any, Literal, NotRequired, TypedDict

JsonObject = dict[str, Any]


class AskedBy(TypedDict):
    """Who asked for a job: the client's name, the door, and the request's id there."""

    client: str
    transport: str | None
    request_id: str | None


class ErrorBody(TypedDict):
    """What is wrong: a stable code for programs, a message for people."""

    code: str
    message: str
    details: JsonObject


class ErrorEnvelope(TypedDict):
    """An error."""

    error: ErrorBody


class Job(TypedDict):
    """A command that takes long, and how far it is."""

    id: str
    command: str
    state: Literal["running", "done", "failed", "cancelled"]
    asked_by: AskedBy
    started_at: str
    ended_at: str | None
    elapsed_s: float
    progress: JsonObject
    error: ErrorBody | None


class WholeJob(Job):
    """A job with what it came to, null until it is done."""

    result: JsonObject | None


class Jobs(TypedDict):
    """Jobs that run, then the last that have ended."""

    jobs: list[Job]


class OneJob(TypedDict):
    """A job."""

    job: WholeJob


class CancelledJob(TypedDict):
    """A job, and whether it was still running."""

    job: Job
    cancelled: bool


class Compacted(TypedDict):
    """The index's file, before and after."""

    n_bytes_before: int
    n_bytes_after: int
    is_rewritten: bool
    elapsed_s: float


class Finding(TypedDict):
    """Something in the index that is not as it should be."""

    kind: str
    track_id: int | None
    reason: str
    repair: str | None


class Checked(TypedDict):
    """What was found in the index."""

    n_tracks: int
    n_findings: int
    n_repaired: int
    kinds: dict[str, int]
    findings: list[Finding]
    elapsed_s: float


class Migration(TypedDict):
    """What became of an old database."""

    migration: JsonObject


class Archive(TypedDict):
    """A file that a library, or some of it, was written to or read from."""

    file: str
    n_tracks: int
    n_plays: int
    n_bytes: int
    n_added: NotRequired[int]
    n_known: NotRequired[int]
    n_updated: NotRequired[int]
    n_removed: NotRequired[int]
    elapsed_s: float


class Archived(TypedDict):
    """An archive."""

    archive: Archive
