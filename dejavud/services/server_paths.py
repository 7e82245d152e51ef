"""Files of the daemon's machine that clients of other machines may name: those in some folders, wherever links lead."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.errors import Forbidden, UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DESCRIPTORS = Path("/proc/self/fd")


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that was found to be in one of the folders.

    path : opens this very file, in a worker process too, whatever is done to its name meanwhile; as long as it is held.
    place : where it is, without links.
    """

    path: Path
    place: str


class ServerPaths:
    """The folders that may be read from; none at first."""

    def __init__(self, folders: Sequence[str] = ()) -> None:
        self._folders = tuple(folders)

    def change(self, folders: Sequence[str]) -> None:
        """Allow these from now on, and no others."""
        self._folders = tuple(folders)

    @contextmanager
    def holding(self, path: str) -> Iterator[HeldFile]:
        """Hold the file at `path` while the block goes on; blocking.

        What is looked at is the file that was opened, not its name: nothing that happens between the look and the reading matters.

        Raises
        ------
        Forbidden
            It is in none of the folders, or a link or ``..`` leads out of them; nothing is said of whether it is there.
        UnreadableFile
            It would be, and is not there, or is no file, or not for the daemon's user.
        """
        if not self._folders or not path.startswith("/") or "\0" in path:
            raise _refused(path)
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)  # which touches nothing, not a device either
        except ValueError:  # no name of a file: a lone surrogate, which JSON can hold
            raise _refused(path) from None
        except OSError as error:
            self._check_inside(os.path.realpath(path), path)
            raise UnreadableFile(source=path, reason=f"cannot be opened ({error.strerror})") from None
        try:
            place = str((_DESCRIPTORS / str(descriptor)).readlink())
            self._check_inside(place, path)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableFile(source=path, reason="this is no file; name files one by one")
            yield HeldFile(Path(f"/proc/{os.getpid()}/fd/{descriptor}"), place)
        finally:
            os.close(descriptor)

    def _check_inside(self, place: str, path: str) -> None:
        if not any(Path(place).is_relative_to(os.path.realpath(folder)) for folder in self._folders):
            raise _refused(path)


def _refused(path: str) -> Forbidden:
    reason = f"{path[:200]!r} is in none of the folders that others may have files read from (security.paths in the daemon's conf): send the bytes"
    return Forbidden(reason=reason)
