"""The one table that says what an error code is on each transport."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Codes:
    """One error code as the transports have it.

    http : status of the response.
    rpc : JSON-RPC 2.0 error number (-32700 to -32600 are the specification's own).
    close : WebSocket close code, for errors that end the connection.
    """

    http: int
    rpc: int
    close: int


_INTERNAL = Codes(500, -32603, 1011)

TABLE: dict[str, Codes] = {
    "internal_error": _INTERNAL,
    "invalid_request": Codes(400, -32602, 1003),
    "unknown_command": Codes(404, -32601, 1003),
    "unauthorized": Codes(401, -32001, 1008),
    "too_large": Codes(413, -32002, 1009),
    "forbidden": Codes(403, -32005, 1008),
    "rate_limited": Codes(429, -32009, 1013),
    "not_found": Codes(404, -32006, 1008),
    "method_not_allowed": Codes(405, -32007, 1008),
    "cancelled": Codes(499, -32008, 1000),
    "timeout": Codes(504, -32003, 1011),
    "busy": Codes(503, -32004, 1013),
    "token_not_found": Codes(404, -32036, 1003),
    "unreadable_file": Codes(422, -32010, 1003),
    "unsupported_audio": Codes(415, -32011, 1003),
    "no_fingerprint": Codes(422, -32012, 1003),
    "microphone_unavailable": Codes(503, -32013, 1011),
    "worker_died": Codes(500, -32014, 1011),
    "unsupported_url": Codes(422, -32015, 1003),
    "unreachable_url": Codes(502, -32016, 1011),
    "listener_not_found": Codes(404, -32017, 1003),
    "job_not_found": Codes(404, -32034, 1003),
    "listener_exists": Codes(409, -32070, 1003),
    "too_many_listeners": Codes(409, -32071, 1003),
    "hook_not_found": Codes(404, -32072, 1003),
    "nothing_selected": Codes(403, -32073, 1003),
    "page_not_found": Codes(404, -32075, 1003),
    "device_not_found": Codes(404, -32074, 1003),
    "source_stalled": Codes(502, -32018, 1011),
    "not_listening": Codes(409, -32019, 1011),
    "key_not_found": Codes(404, -32029, 1003),
    "track_not_found": Codes(404, -32020, 1003),
    "track_id_taken": Codes(409, -32027, 1011),
    "index_unavailable": Codes(503, -32021, 1011),
    "index_locked": Codes(503, -32022, 1011),
    "index_damaged": Codes(503, -32023, 1011),
    "index_full": Codes(507, -32024, 1011),
    "schema_too_new": Codes(503, -32025, 1011),
    "params_mismatch": Codes(503, -32026, 1011),
    "source_unavailable": Codes(502, -32050, 1011),
    "source_unknown": Codes(422, -32051, 1003),
    "wrong_profile": Codes(409, -32052, 1003),
    "archive_damaged": Codes(422, -32060, 1003),
    "archive_foreign": Codes(422, -32061, 1003),
    "archive_too_new": Codes(422, -32062, 1003),
    "unwritable_file": Codes(422, -32063, 1003),
    "disk_full": Codes(507, -32064, 1011),
    "library_not_empty": Codes(409, -32065, 1003),
    "invalid_config": Codes(500, -32030, 1011),
    "address_in_use": Codes(500, -32031, 1011),
    "unsupported_database": Codes(500, -32032, 1011),
    "shutting_down": Codes(503, -32033, 1001),
}

EXIT_MATCHED = 0
"""Matched, or done."""
EXIT_NO_MATCH = 1
EXIT_USAGE = 2
EXIT_NO_DAEMON = 3
EXIT_FAILED = 4


def codes_of(code: str) -> Codes:
    """Return the row of `code`; a code from a newer version counts as an internal error."""
    return TABLE.get(code, _INTERNAL)
