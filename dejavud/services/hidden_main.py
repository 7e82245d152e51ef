"""Worker processes for programs whose main module is not ours.

multiprocessing has each process that it spawns run the program's main module again, so that it can find what that defines.  Ours need
nothing of it, and a script without ``if __name__ == "__main__":`` would start all over in each of them.
"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK = threading.Lock()
"""A process has one main module; hence one lock for the process."""


class _StandIn(ModuleType):
    """Has everything that the module it stands in for has, but says of no file that it was read from it."""

    def __init__(self, stood_in_for: ModuleType) -> None:
        super().__init__("__main__")  # whose __spec__ is None
        self.stood_in_for = stood_in_for
        self.n_users = 0

    def __getattr__(self, name: str) -> object:
        if name == "__file__":
            raise AttributeError(name)
        return getattr(self.stood_in_for, name)


@contextmanager
def hidden_main_module() -> Iterator[None]:
    """Have processes that are spawned during the block leave this program's main module alone."""
    with _LOCK:
        main = sys.modules["__main__"]
        stand_in = main if isinstance(main, _StandIn) else _StandIn(main)
        stand_in.n_users += 1
        sys.modules["__main__"] = stand_in
    try:
        yield
    finally:
        with _LOCK:
            stand_in.n_users -= 1
            if not stand_in.n_users:
                sys.modules["__main__"] = stand_in.stood_in_for
