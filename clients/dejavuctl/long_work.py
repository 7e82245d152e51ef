"""Commands that take long in the daemon: how far they are meanwhile, and what Ctrl-C, which ends them there, leaves."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable, Iterator

    from dejavuctl.failures import Interrupted


class Line(Protocol):
    """Says how far something is."""

    def clear(self) -> None:
        """Take the line off the terminal."""
        ...


def add_quiet(parser: ArgumentParser) -> None:
    """Add the wish for silence."""
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


@contextmanager
def under_way(line: Line, left: Callable[[], Interrupted]) -> Iterator[None]:
    """Take `line` off the terminal when the block is over; Ctrl-C ends it with what is `left` then."""
    try:
        yield
    except KeyboardInterrupt:
        raise left() from None
    finally:
        line.clear()
