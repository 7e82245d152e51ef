from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

_PROGRAM = """
import logging, sys
from dejavud.logs import configure_logs
configure_logs(*sys.argv[1:])
import structlog
log = structlog.get_logger("test")
log.debug("too_quiet")
log.info("track_ingested", title="Caf\\u00e9", duration_s=1.5)
logging.getLogger("elsewhere").warning("a library's %s", "words")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it_failed")
"""


def logged(*arguments: str) -> list[str]:
    """Return the lines that a program logs into a pipe."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("form", ["auto", "json"])
def test_into_a_pipe_every_line_is_one_json_object(form: str) -> None:
    """Ours, a library's, and a traceback: each is one line with its level and time."""
    first, second, third = map(json.loads, logged("info", form))
    assert (first["event"], first["title"], first["duration_s"], first["level"]) == (
        "track_ingested",
        "Café",
        1.5,
        "info",
    )
    assert (second["event"], second["level"], second["logger"]) == ("a library's words", "warning", "elsewhere")
    assert third["event"] == "it_failed"
    assert "ZeroDivisionError" in third["exception"]
    assert all("timestamp" in line for line in (first, second, third))


def test_the_level_is_a_floor() -> None:
    """What is below the level that is asked for is not written."""
    assert [json.loads(line)["event"] for line in logged("error", "json")] == ["a library's words", "it_failed"]
    assert json.loads(logged("debug", "json")[0])["event"] == "too_quiet"


def test_on_a_terminal_it_is_for_reading() -> None:
    """With auto, a person gets columns."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", _PROGRAM, "info", "auto"], stderr=theirs, check=True)
    os.close(theirs)
    text = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "track_ingested" in text
    assert not text.lstrip().startswith("{")
