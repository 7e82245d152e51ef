"""docs/protocol.md says what the code does, where the two can be compared."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import dejavud.errors
from dejavud.errors import DejavudError
from dejavud.interfaces.control_uploads import ChunkedUploads
from dejavud.interfaces.http_table import OPERATIONS
from dejavud.interfaces.legacy import NO_CORRECT_DATA, NO_FILE_CHOSEN, WRONG_EXTENSION, WS_FAILED, WS_WANTS_BYTES
from dejavud.interfaces.websocket_v1 import METHODS, SUBPROTOCOL
from dejavud.services.events import TRANSIENT
from dejavud.services.handlers import command_table
from dejavud.wire.codes import TABLE
from dejavud.wire.messages import CHUNK_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\w+)` \| (\d+) \| (-\d+) \| (\d+) \| .+ \|$", re.MULTILINE)


def test_every_error_code_is_on_the_page_with_its_numbers() -> None:
    """The page's table of errors is the code's, row by row, and no error is outside it."""
    on_page = {code: tuple(int(number) for number in numbers) for code, *numbers in ROW.findall(PAGE)}
    assert on_page == {code: (row.http, row.rpc, row.close) for code, row in TABLE.items()}
    raised = {
        kind.code for kind in vars(dejavud.errors).values() if isinstance(kind, type) and issubclass(kind, DejavudError)
    }
    assert raised == set(TABLE)


def test_no_two_errors_share_a_number_on_the_control_socket() -> None:
    """A client that looks at JSON-RPC numbers alone can tell errors apart."""
    numbers = [row.rpc for row in TABLE.values()]
    assert len(numbers) == len(set(numbers))


def test_every_command_and_sentence_is_on_the_page() -> None:
    """Commands, transport methods, the old interface's sentences and the size of a piece are written down."""
    services: Any = MagicMock()  # nothing is called
    commands = command_table(services).names
    for word in (*commands, *ChunkedUploads.methods, *METHODS):
        assert f"| `{word}` |" in PAGE, word
    for sentence in (NO_CORRECT_DATA, NO_FILE_CHOSEN, WRONG_EXTENSION, WS_FAILED, WS_WANTS_BYTES, str(CHUNK_BYTES)):
        assert sentence in PAGE


def test_every_topic_and_address_is_on_the_page() -> None:
    """What is published anywhere in the daemon, each address of HTTP, and the subprotocol's name are written down."""
    sources = (path.read_text("utf-8") for path in (Path(__file__).parents[2] / "dejavud").rglob("*.py"))
    topics = {topic for source in sources for topic in re.findall(r'publish\(\s*"([a-z.]+)"', source)}
    assert {"track.added", "listener.state", "daemon.ready"} <= topics
    addresses = {operation.path for operation in OPERATIONS}
    for word in (*topics, "match.started", "match.updated", "match.ended", "meter.listener"):
        assert f"`{word}`" in PAGE, word
    for word in (*addresses, TRANSIENT, SUBPROTOCOL):
        assert word in PAGE, word
