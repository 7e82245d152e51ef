from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavuctl.output import (
    Output,
    clock,
    display_width,
    fit,
    long_time,
    percent,
    printable,
    show_list,
    size,
    wanted_color,
)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (63.99, "1:03"), (3599, "59:59"), (3600, "1:00:00")])
def test_clock(seconds: float, text: str) -> None:
    """Positions are m:ss, and h:mm:ss from an hour on, rounded down."""
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7384, "2 h 3 min"), (90000, "1 d 1 h")]
)
def test_long_time(seconds: float, text: str) -> None:
    """Long durations have their two largest units."""
    assert long_time(seconds) == text


@pytest.mark.parametrize(("share", "text"), [(1.0, "100 %"), (0.99999, "99.99 %"), (0.5, "50 %"), (0.0, "0 %")])
def test_only_certainty_is_100_percent(share: float, text: str) -> None:
    """A confidence is rounded down."""
    assert percent(share) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(999, "999 bytes"), (1000, "1.0 kB"), (17_200_000, "17.2 MB"), (4e15, "4000.0 TB")]
)
def test_size(n_bytes: float, text: str) -> None:
    """Bytes have the unit that reads best."""
    assert size(n_bytes) == text


@given(st.text(), st.integers(2, 40))
def test_a_cell_has_its_width(text: str, width: int) -> None:
    """Whatever the text, the cell takes exactly its width on the terminal."""
    assert display_width(fit(printable(text), width)) == width


@given(st.text())
def test_what_is_printed_moves_no_cursor(text: str) -> None:
    """No control character, line separator or direction override is left, and the rest stays."""
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") for char in shown)


class Terminal(io.StringIO):
    """A terminal, as far as colours ask."""

    def isatty(self) -> bool:
        """See `io.IOBase`."""
        return True


@pytest.mark.parametrize(
    ("given", "environment", "is_terminal", "is_coloured"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"TERM": "dumb"}, True, False),
        ("never", {}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
    ],
)
def test_colours_are_for_terminals(
    given: str,
    environment: dict[str, str],
    is_terminal: bool,  # noqa: FBT001 - a row of a table
    is_coloured: bool,  # noqa: FBT001 - a row of a table
) -> None:
    """On a terminal, unless somebody wants none; elsewhere only where that is asked for; errors go by where errors go."""
    answers, remarks = Terminal() if is_terminal else io.StringIO(), io.StringIO()
    out = Output(as_json=False, answers=answers, remarks=remarks, color=wanted_color(given, environment))
    show_list(out, ("name", "state"), [("failed", "retrying")], [{}], empty="")
    coloured = "\x1b[1mname  \x1b[0m  \x1b[1mstate   \x1b[0m\nfailed  \x1b[33mretrying\x1b[0m\n"
    assert answers.getvalue() == (coloured if is_coloured else "name    state\nfailed  retrying\n")
    out.complain("no \x1b[2J")
    start = "\x1b[31mdejavuctl:\x1b[0m" if given == "always" else "dejavuctl:"
    assert remarks.getvalue() == f"{start} no \N{REPLACEMENT CHARACTER}[2J\n"


@pytest.mark.parametrize(("columns", "is_whole"), [(100, True), (60, True), (30, False)])
def test_moments_are_the_last_to_be_cut(columns: int, is_whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a row of a table
    """In a narrow terminal a list cuts its texts before when something was and how long; no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    answers = Terminal()
    out = Output(as_json=False, answers=answers, remarks=io.StringIO(), color="never")
    row = ("2026-10-25 14:03:12", "12:41", "a listener with a long name", 3 * "a title that is long ", "somebody")
    show_list(out, ("started", "heard", "listener", "title", "artist"), [row], [{}], empty="")
    _, line = answers.getvalue().splitlines()
    assert line.startswith("2026-10-25 14:03:12  12:41  ") is is_whole
    assert display_width(line) <= columns


def test_programs_get_no_colours() -> None:
    """JSON is JSON, whatever is asked for, and an empty list is no line."""
    answers, remarks = Terminal(), Terminal()
    out = Output(as_json=True, answers=answers, remarks=remarks, color="always")
    show_list(out, ("state",), [("ready",)], [{"state": "ready"}], empty="none")
    show_list(out, ("state",), [], [], empty="none")
    assert (answers.getvalue(), remarks.getvalue()) == ('{"state":"ready"}\n', "")


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("café", 4),
        ("cafe\N{COMBINING ACUTE ACCENT}", 4),
        ("音楽", 4),
        ("\N{MUSICAL NOTE}", 2),
        ("\N{HEAVY BLACK HEART}\N{VARIATION SELECTOR-16}", 1),
        ("a\N{ZERO WIDTH JOINER}b", 2),
        ("שלום", 4),
    ],
)
def test_text_is_as_wide_as_a_terminal_shows_it(text: str, width: int) -> None:
    """Wide characters take two cells, marks and joiners none."""
    assert display_width(text) == width


def test_what_is_written_from_right_to_left_stays_in_its_cell() -> None:
    """It is isolated, so that the length beside it is not drawn among its letters; nothing else is."""
    for terminal in (Terminal(), io.StringIO()):
        out = Output(as_json=False, answers=terminal, remarks=terminal)
        show_list(out, ("title", "length"), [("שלום", "3:39"), ("Nocturne", "3:39")], [{}, {}], empty="")
        cell = "\N{FIRST STRONG ISOLATE}שלום    \N{POP DIRECTIONAL ISOLATE}" if terminal.isatty() else "שלום    "
        assert terminal.getvalue().splitlines()[1:] == [f"{cell}  3:39", "Nocturne  3:39"]


@pytest.mark.parametrize("columns", [20, 40, 60, 100])
def test_a_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Whatever its cells hold, no row is wider than the terminal; elsewhere nothing is cut."""
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [("7", "音楽" * 30, "שלום" * 9, "3:39"), ("1234567", "Nocturne " * 9, "Somebody", "1:00:00")]
    for terminal in (Terminal(), io.StringIO()):
        out = Output(as_json=False, answers=terminal, remarks=terminal)
        show_list(out, ("id", "title", "artist", "length"), rows, [{}, {}], empty="")
        widths = [display_width(line) for line in terminal.getvalue().splitlines()]
        assert (max(widths) <= columns) == terminal.isatty()
