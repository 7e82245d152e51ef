"""The file in which listeners are remembered that were added while the daemon ran."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import NotRemembered
from dejavud.services.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from dejavud.services.workers import Workers

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A listener that is to be there again.

    trusted : wherever its address leads is all right.
    over : it was a file that was heard to its end, and is not heard again by itself.
    own : conf has it, or the daemon by itself: all that is remembered of it is that somebody paused it.
    """

    name: str
    source: str
    paused: bool = False
    trusted: bool = True
    over: bool = False
    own: bool = False

    @property
    def key(self) -> tuple[str, bool]:
        """What no two that are remembered share."""
        return self.name, self.own


class ListenerMemory:
    """Remembers listeners from one life of the daemon to the next.

    path : of the file; None remembers none.
    """

    def __init__(self, workers: Workers, path: Path | None) -> None:
        self._workers = workers
        self._path = path
        self._left_out: dict[tuple[str, bool], Remembered] = {}
        self._turns = trio.Lock()

    async def read(self) -> Sequence[Remembered]:
        """Return who is remembered; a file that says nothing of the kind is put aside, and its name is in the log."""
        return () if self._path is None else await self._workers.thread(_read, self._path)

    def leave_out(self, one: Remembered) -> None:
        """Go on remembering one that cannot be there now: it may be at the next start."""
        self._left_out[one.key] = one

    def forget(self, name: str, *, own: bool = False) -> Remembered | None:
        """Forget one that was left out, and return it, None where there was none of this name."""
        return self._left_out.pop((name, own), None)

    async def write(self, listeners: Callable[[], Iterable[Remembered]]) -> None:
        """Have the file hold those that `listeners` gives when its turn comes, and of who was left out the others; raises `NotRemembered`."""
        if self._path is None:
            return
        async with self._turns:
            kept = [asdict(one) for one in (self._left_out | {one.key: one for one in listeners()}).values()]
            try:
                with trio.CancelScope(shield=True):
                    await self._workers.thread(write_private, self._path, kept)
            except OSError as error:
                raise NotRemembered(path=self._path, reason=error.strerror or str(error)) from error


def _read(path: Path) -> Sequence[Remembered]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return [_remembered(one) for one in kept]
    except FileNotFoundError:
        return ()
    except OSError as error:
        log.warning("listeners_not_remembered", file=str(path), reason=error.strerror)
    except (ValueError, TypeError, KeyError) as error:
        aside = path.with_suffix(".unreadable")
        path.replace(aside)
        log.warning("listeners_not_remembered", file=str(aside), reason=f"{type(error).__name__}: {error}")
    return ()


def _remembered(one: dict[str, Any]) -> Remembered:
    """Return an entry of the file, as this and earlier versions wrote them."""
    if not (isinstance(one["name"], str) and isinstance(one["source"], str)):
        msg = "name and source are texts"
        raise TypeError(msg)
    flags = {key: bool(one[key]) for key in ("paused", "trusted", "over", "own") if key in one}
    return Remembered(one["name"], one["source"], **flags)
