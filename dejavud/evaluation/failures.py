"""What can go wrong here and nowhere else."""

from __future__ import annotations

from dejavud.errors import DejavudError

EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report a program that Ctrl-C ended."""
EXIT_CLOSED_PIPE = 141
"""128 + SIGPIPE, as shells report a program whose reader left."""


class PlotsMissing(DejavudError):
    """The library that draws is not installed."""

    code = "plots_missing"
    template = (
        "pictures are drawn by matplotlib, which is not installed here ({reason}); type: pip install 'dejavud[plots]'"
    )


class CannotWrite(DejavudError):
    """The report or the picture has no place."""

    code = "cannot_write"
    template = "{path} cannot be written ({reason}); name another place with --out"
