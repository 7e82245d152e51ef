from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavuctl.output import clock, display_width, fit, long_time, percent, printable, size


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
