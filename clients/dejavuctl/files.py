"""Audio files as the caller names them: arguments, folders, lists."""

from __future__ import annotations

import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dejavuctl.failures import Failed, Usage
from dejavuctl.output import printable
from dejavud.errors import UnreadableFile
from dejavud.wire.audio_extensions import AUDIO_EXTENSIONS as AUDIO_EXTENSIONS  # noqa: PLC0414 - also known by this module's name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A file to work on.

    typed : its name as the caller gave it (undecodable bytes as surrogates).
    n_bytes : its size, 0 where nobody looked.
    """

    typed: str
    n_bytes: int = 0

    @property
    def source(self) -> str:
        """The name as answers show it."""
        return os.fsencode(self.typed).decode("utf-8", "replace")

    @property
    def path(self) -> str:
        """The absolute path."""
        return os.path.abspath(self.typed)  # noqa: PTH100 - absolute(), but without the parts that are "..": the daemon stores it

    @property
    def can_be_named(self) -> bool:
        """Whether the path means to the daemon what it means here: a plain file, not a pipe or a descriptor of this process."""
        path = self.path
        if path.startswith(("/dev/", "/proc/")):
            return False
        try:
            path.encode()
            return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - once a file: no need of a Path
        except UnicodeEncodeError:
            return False
        except OSError:
            return True  # missing or hidden from us: let the daemon say what it can

    def failed(self, error: OSError) -> Failed:
        """Return the failure that `error` is for this file."""
        return Failed.of(UnreadableFile(source=printable(self.source), reason=error.strerror or str(error)))


class Names(Protocol):
    """Files that come one by one, perhaps slowly.

    `take` returns the next, or None when there is none at hand; then `exhausted` tells whether more can come, and
    `fd`, where not None, becomes readable when it is worth to try again.
    """

    @property
    def fd(self) -> int | None:
        """A descriptor to wait on."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether nothing more will come."""
        ...

    def take(self) -> AudioFile | None:
        """Return the next file that is at hand."""
        ...


class NameList:
    """Names that are all known."""

    fd = None

    def __init__(self, files: Iterable[AudioFile]) -> None:
        self._files = deque(files)

    @property
    def exhausted(self) -> bool:
        """Whether all were taken."""
        return not self._files

    def take(self) -> AudioFile | None:
        """Return the next."""
        return self._files.popleft() if self._files else None


class NameStream:
    """Names read from a descriptor, one a line or NUL-separated, only as fast as they are taken.

    What writes them may wait for an answer before it writes the next.
    """

    def __init__(self, fd: int, *, separator: bytes) -> None:
        self._fd = fd
        self._separator = separator
        self._names: deque[AudioFile] = deque()
        self._rest = b""
        self._ended = False

    @property
    def fd(self) -> int | None:
        """The descriptor, until its end."""
        return None if self._ended else self._fd

    @property
    def exhausted(self) -> bool:
        """Whether the stream ended and all its names were taken."""
        return self._ended and not self._names

    def take(self) -> AudioFile | None:
        """Return the next name that has come in whole; never waits."""
        while not self._names and not self._ended and self._is_readable():
            self._feed(os.read(self._fd, _READ_BYTES))
        return self._names.popleft() if self._names else None

    def _is_readable(self) -> bool:
        from select import POLLIN, poll  # noqa: PLC0415 - only --files-from needs it

        poller = poll()
        poller.register(self._fd, POLLIN)
        return bool(poller.poll(0))

    def _feed(self, data: bytes) -> None:
        *whole, self._rest = (self._rest + data).split(self._separator)
        if not data:
            self._ended = True
            whole.append(self._rest)
        if self._separator == b"\n":
            whole = [name.removesuffix(b"\r") for name in whole]
        self._names.extend(AudioFile(os.fsdecode(name)) for name in whole if name)


def extensions(given: Sequence[str]) -> tuple[str, ...]:
    """Return what ``--ext`` asks for, lower case without dots: ``mp3``, ``.MP3`` and ``mp3,ogg`` are all understood."""
    wanted = [part.strip().lstrip(".").lower() for text in given for part in text.split(",")]
    if given and not all(wanted):
        raise Usage(reason="--ext: an extension is empty; write for example --ext mp3 --ext ogg")
    return tuple(wanted) or AUDIO_EXTENSIONS


def find_audio(paths: Iterable[str], wanted: Sequence[str]) -> Iterator[AudioFile | tuple[AudioFile, OSError]]:
    """Yield the files that `paths` name, folders recursively in sorted order; what cannot be looked at comes with its error.

    In folders, hidden entries are passed over and only files with one of the extensions `wanted` are taken.  Links are
    followed, but no folder is entered twice.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - a path may hold bytes that pathlib keeps, but as typed, "./" and all
        except OSError as error:
            yield AudioFile(path), error
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, tuple(f".{extension}" for extension in wanted), seen)
        else:
            yield AudioFile(path, status.st_size)


def _walk(
    folder: str, suffixes: tuple[str, ...], seen: set[tuple[int, int]]
) -> Iterator[AudioFile | tuple[AudioFile, OSError]]:
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        try:
            status = os.stat(path)  # noqa: PTH116 - as above
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            yield AudioFile(path), error
            continue
        folders = []
        for entry in visible:
            try:
                if entry.is_dir():
                    folders.append(entry.path)
                elif entry.name.lower().endswith(suffixes) and entry.is_file():
                    yield AudioFile(entry.path, entry.stat().st_size)
            except OSError as error:
                yield AudioFile(entry.path), error
        waiting.extend(reversed(folders))


def open_names(source: str, *, nul_separated: bool) -> NameStream:
    """Return the names that the file `source`, or standard input for ``-``, lists."""
    try:
        fd = 0 if source == "-" else os.open(Path(source), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Usage(reason=f"--files-from {source}: {error.strerror}") from None
    return NameStream(fd, separator=b"\0" if nul_separated else b"\n")
