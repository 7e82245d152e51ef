"""JSON as the sockets speak it: UTF-8, one compact line, no NaN, and nothing that cannot be read back."""

from __future__ import annotations

import json
from typing import Any

from dejavud.errors import InvalidRequest


def encode(message: object) -> bytes:
    """Return `message` as one line of UTF-8 JSON; raises ValueError for NaN and infinities, TypeError for foreign types."""
    text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a character, as names of files may hold: as an escape it is UTF-8 all the same
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode()


def decode(data: bytes) -> Any:  # noqa: ANN401 - JSON is what it is until a caller has checked it
    """Return what `data` says; raises `InvalidRequest` for anything that is not UTF-8 JSON."""
    try:
        return json.loads(data.decode("utf-8", "surrogatepass"), parse_constant=_refuse)
    except RecursionError:
        raise InvalidRequest(reason="the message is not valid JSON: it is nested too deeply") from None
    except ValueError as error:
        raise InvalidRequest(reason=f"the message is not valid JSON: {error}") from None


def _refuse(constant: str) -> None:
    msg = f"{constant} is not a JSON number"
    raise ValueError(msg)
