"""dejavud: a daemon that recognizes music from your own library.

``from dejavud import Dejavu`` is the library without a daemon.  It is loaded on first use, so that the small
programs that only need ``dejavud.wire`` start without numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dejavud.api import Dejavu

__version__ = "0.1.0"
__all__ = ["Dejavu", "__version__"]


def __getattr__(name: str) -> object:
    if name == "Dejavu":
        from dejavud.api import Dejavu  # noqa: PLC0415 - keeps numpy out of programs that only speak the protocol

        return Dejavu
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
