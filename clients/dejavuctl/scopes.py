"""What tokens and keys allow, as the command line says it."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

SCOPES = ("recognize", "read", "write", "admin")
USUAL = ["recognize", "read"]
EXPLAINED = "scopes: recognize (ask what is playing), read (see the library, the history, listeners, events), write (and change them), admin (everything)"


def add_scopes(parser: ArgumentParser, who: str) -> None:
    """Have a command take ``--scope``."""
    parser.add_argument(
        "--scope",
        dest="scopes",
        metavar="SCOPE,…",
        type=_scopes,
        action="extend",
        help=f"what {who} may do; may be given again (default: {' and '.join(USUAL)})",
    )


def _scopes(text: str) -> list[str]:
    scopes = text.split(",")
    for scope in scopes:
        if scope not in SCOPES:
            msg = f"{scope!r} is no scope; there are: {', '.join(SCOPES)}"
            raise ArgumentTypeError(msg)
    return scopes
