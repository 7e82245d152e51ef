from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest
import structlog

from dejavud.logs import BURST, WINDOW_S, LogBook

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


# -- what may be read -----------------------------------------------------------------------------------------------

_HOSTILE = """
import logging, sys
from dejavud.logs import configure_logs
configure_logs(*sys.argv[1:], secrets=("s3cr3t-token", "pw"))
import structlog
log = structlog.get_logger("test")
log.info("file\\x1b[2Jname", source="a\\nb\\x1b[31m\\u202e", url="postgresql://ada:hunter2@db/x", token="abc", audio=b"sound" * 9,
         deep={"list": ["s3cr3t-token", 1], "password": "abc"}, long="x" * 5000, said="Bearer abcdef")
logging.getLogger("elsewhere").warning("with s3cr3t-token")
def fails():
    local_password = "seen-by-nobody"
    raise ValueError("about s3cr3t-token")
try:
    fails()
except ValueError:
    log.exception("it_failed")
    logging.getLogger("elsewhere").exception("it failed too")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_no_sound_and_no_control_character_is_written(form: str) -> None:
    """Wherever they turn up: in fields, in addresses, deep inside, in others' lines, in exceptions; nor are variables of a traceback."""
    command = [sys.executable, "-c", _HOSTILE, "info", form]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    for secret in ("s3cr3t-token", "hunter2", "abcdef", "abc'", '"abc"', "seen-by-nobody", "soundsound"):
        assert secret not in text.replace("local_password = ", ""), secret
    assert not set(text) & {"\x1b", "\u202e"}
    assert "ada:***@db" in text
    assert "a\\\\nb" in text or "a\\nb" in text
    assert "5000 characters" in text
    assert text.count("ValueError: about ***") == 2
    if form == "json":
        assert len([json.loads(line) for line in text.splitlines()]) == 4


class Clock:
    """A clock that a test moves."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def kept(book: LogBook, **fields: object) -> dict[str, object] | None:
    """Return what becomes of a line, None where it is dropped."""
    try:
        return dict(book.noted(None, "", {"event": "it_failed", "level": "warning", **fields}))
    except structlog.DropEvent:
        return None


def test_lines_that_are_alike_are_written_ten_times_a_minute() -> None:
    """Then they are counted, and their number is told with the next one that is written; another listener's go on."""
    clock = Clock()
    book = LogBook(clock=clock)
    assert sum(kept(book, listener="hall", reason=str(n)) is not None for n in range(50)) == BURST
    assert kept(book, listener="kitchen") is not None
    clock.now_s = WINDOW_S
    again = kept(book, listener="hall")
    assert again is not None
    assert again["n_more_like_it"] == 50 - BURST
    assert book.troubles["n_warnings"] == 52


def test_what_goes_well_is_never_dropped() -> None:
    """A thousand answers in a second are a thousand lines, and a thousand that fail ten."""
    book = LogBook(clock=Clock())
    well = {"event": "command_answered", "level": "info", "outcome": "ok"}
    assert all(kept(book, **well) for _ in range(1000))
    assert sum(kept(book, **{**well, "outcome": "busy"}) is not None for _ in range(1000)) == BURST


def test_how_many_were_dropped_is_told_when_nothing_like_it_comes() -> None:
    """A client that sent rubbish and left is counted a minute later; the memory of it is bounded."""
    clock = Clock()
    book = LogBook(clock=clock)
    for n in range(20_000):
        kept(book, listener=str(n))
    for _ in range(15):
        kept(book, hook="wall")
    with structlog.testing.capture_logs() as logs:
        book.tell_repeats()
        assert logs == []
        clock.now_s = WINDOW_S
        book.tell_repeats()
        book.tell_repeats(all_of_them=True)
    assert logs == [
        {"event": "more_like_it", "log_level": "info", "n": 5, "of": "it_failed", "level_of": "warning", "hook": "wall"}
    ]


def test_the_last_trouble_is_remembered_as_it_may_be_read() -> None:
    """For `status`: the event, why, and how many there were, without secrets."""
    book = LogBook(("s3cr3t",))
    kept(book, reason="with s3cr3t", timestamp="now")
    kept(book, event="all_is_well", level="info")
    assert book.troubles == {
        "n_warnings": 1,
        "n_errors": 0,
        "last": {"at": "now", "level": "warning", "event": "it_failed", "reason": "with ***"},
    }


def test_the_journal_is_told_each_lines_priority() -> None:
    """Where stderr is systemd's journal a line begins with its priority, and is JSON after that."""
    program = "import os\nst = os.fstat(2)\n" + _PROGRAM.replace(
        "configure_logs(*sys.argv[1:])", "configure_logs(*sys.argv[1:], journal=f'{st.st_dev}:{st.st_ino}')"
    )
    done = subprocess.run([sys.executable, "-c", program, "info", "auto"], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert [line[:3] for line in lines] == ["<6>", "<4>", "<3>"]
    assert json.loads(lines[0][3:])["event"] == "track_ingested"


_ON_A_FULL_DISK = """
import os, sys
from dejavud.logs import configure_logs

import structlog

configure_logs("info", "json")
log = structlog.get_logger()
sys.stderr = open("/dev/full", "w")
log.info("one")
log.info("two")
sys.stderr = sys.__stderr__
log.info("three")
sys.stderr.flush()
os._exit(0)  # the other file would still have its lines written
"""


def test_a_log_that_cannot_be_written_fails_nobody() -> None:
    """Where its disk is full lines are lost and nothing else; how many is told with the next that can be written."""
    done = subprocess.run([sys.executable, "-c", _ON_A_FULL_DISK], capture_output=True, text=True, check=True)
    lost, line = done.stderr.splitlines()
    assert lost == "2 lines of this log could not be written"
    assert json.loads(line)["event"] == "three"
