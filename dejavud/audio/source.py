"""The file behind a recording: opened once, known to be a file, and never a door to other files."""

from __future__ import annotations

import io
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from dejavud.errors import UnreadableFile, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = (
    (stat.S_ISDIR, "a directory; give the files in it"),
    (stat.S_ISFIFO, "a pipe; write what it carries to a file first"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@contextmanager
def open_regular(path: Path | str, name: str) -> Iterator[io.FileIO]:
    """Open the regular file at `path`, unbuffered, for the length of the context; `name` is what errors call it.

    A pipe, a directory or a device is refused without being read, so nothing waits for a writer that never comes.

    Raises
    ------
    UnreadableFile
        There is no such file, it may not be read, or it is not a regular file.
    UnsupportedAudio
        It is empty.
    """
    try:
        _require_regular(Path(path).stat(), name)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe put there meanwhile does not block either
    except OSError as error:
        raise UnreadableFile(source=name, reason=_explain(error)) from error
    except ValueError as error:  # a null character, which no path has
        raise UnreadableFile(source=name, reason=f"is not a file name ({error})") from error
    with io.FileIO(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _require_regular(status, name)
        if status.st_size == 0:
            raise UnsupportedAudio(source=name, reason="the file is empty (0 bytes)")
        yield file


class Window(io.RawIOBase):
    """The bytes of `file` from `start` to `stop`, by default all, as a file of their own that may be read in any order.

    Any position can be sought, as a damaged header has FFmpeg do: beyond the end there is just nothing to read, where
    the system itself would fail.
    """

    def __init__(self, file: io.FileIO, start: int = 0, stop: int | None = None) -> None:
        super().__init__()
        self.name = "audio"
        self._descriptor = file.fileno()
        self._start = start
        self._size = (os.fstat(file.fileno()).st_size if stop is None else stop) - start
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`, counted as in any file, and return the new position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, none at the end."""
        left = self._size - self._at
        if left <= 0:
            return b""
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._start + self._at)
        self._at += len(data)
        return data


def suffix_of(name: str) -> str:
    """Return the extension of `name` in lower case without its dot, "" where there is none that looks like one."""
    suffix = PurePath(name).suffix.lower().lstrip(".")
    return suffix if re.fullmatch(r"[a-z0-9]{1,8}", suffix) else ""


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    kind = next((kind for is_kind, kind in _KINDS if is_kind(status.st_mode)), "no regular file")
    raise UnreadableFile(source=name, reason=f"this is {kind}")


def _explain(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "the daemon may not read it (permission denied); let its user read it, or send the bytes instead"
    return f"cannot be opened ({error.strerror})"
