"""What has to be asked of the daemon for one file, as conversations: they yield requests and are sent the results.

A conversation knows no socket, so `dejavuctl.pipeline` can hold many of them at once.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dejavuctl.failures import Failed
from dejavuctl.interrupts import let_in

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from io import BufferedReader

    from dejavuctl.files import AudioFile

    Job = Generator["Ask", dict[str, Any], dict[str, Any]]

_UNREADABLE = "unreadable_file"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a conversation; the result of it is sent back in, its error is thrown in as `Failed`."""

    method: str
    params: Mapping[str, Any]
    audio: bytes | None = None


class Readable(Protocol):
    """What audio is read from: a file, or a pipe."""

    def read(self, n_bytes: int, /) -> bytes:
        """Return up to `n_bytes`, none at the end."""
        ...


class Cancelled(Exception):
    """Thrown into a conversation that shall end; what it then yields is sent, and nobody waits for the answer."""


def recognize_file(file: AudioFile, params: Mapping[str, Any], *, by_path: bool) -> Job:
    """Return the recognition of `file`: by its path where the daemon can read it, else with its bytes."""
    return _by_path_or_with_bytes("recognize", file, params, by_path=by_path)


def scan_file(file: AudioFile, params: Mapping[str, Any], *, by_path: bool) -> Job:
    """Return the timeline of `file`: by its path where the daemon can read it, else with its bytes."""
    return _by_path_or_with_bytes("scan", file, params, by_path=by_path)


def fingerprint_file(file: AudioFile, params: Mapping[str, Any], *, by_path: bool) -> Job:
    """Return what became of `file` (``{"track": …, "added": …}``); bytes are sent only when the daemon lacks them."""
    params = {**params, "name": file.source}
    if by_path and file.can_be_named:
        try:
            return (yield Ask("fingerprint", {**params, "path": file.path}))
        except Failed as failure:
            if failure.code != _UNREADABLE:
                raise
    with _opened(file) as audio:
        if audio.seekable():
            sha1 = _sha1(audio)
            known = (yield Ask("tracks.known", {"sha1s": [sha1]}))["tracks"]
            if sha1 in known:
                return {"track": known[sha1], "added": False}
            audio.seek(0)
        return (yield from with_bytes(audio, file.source, Ask("fingerprint", params), n_bytes=_size(audio)))


def _by_path_or_with_bytes(method: str, file: AudioFile, params: Mapping[str, Any], *, by_path: bool) -> Job:
    params = {**params, "source": file.source}
    if by_path and file.can_be_named:
        try:
            return (yield Ask(method, {**params, "path": file.path}))
        except Failed as failure:
            if failure.code != _UNREADABLE:
                raise
    with _opened(file) as audio:
        return (yield from with_bytes(audio, file.source, Ask(method, params), n_bytes=_size(audio)))


def with_bytes(audio: Readable, name: str, ask: Ask, *, n_bytes: int | None = None) -> Job:
    """Return the result of `ask` about the bytes of `audio`, sent before it, one chunk at a time.

    The next chunk is read when the one before was taken: a file of any size needs one chunk of memory on either side.  With
    `n_bytes` known before, a daemon that will not take so much says so before anything is sent.
    """
    opened = yield Ask("upload.open", {"name": name, "size_bytes": n_bytes})
    upload, chunk_bytes = opened["upload"], int(opened["chunk_bytes"])
    try:
        while chunk := _read(audio, chunk_bytes):
            yield Ask("upload.append", {"upload": upload}, chunk)
        return (yield Ask(ask.method, {**ask.params, "upload": upload}))
    except (Failed, Cancelled, OSError, KeyboardInterrupt):
        with suppress(Failed):  # a command that failed has used it up
            yield Ask("upload.discard", {"upload": upload})
        raise


class _opened:  # noqa: N801 - used like open()
    """Open a file for reading; an OSError then or later is the file's `Failed`."""

    def __init__(self, file: AudioFile) -> None:
        self._file = file

    def __enter__(self) -> BufferedReader:
        try:
            self._audio = open(self._file.typed, "rb")  # noqa: PTH123 - closed in __exit__; the path as typed
        except OSError as error:
            raise self._file.failed(error) from None
        return self._audio

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._audio.close()
        if isinstance(error, OSError):
            raise self._file.failed(error) from None


def _read(audio: Readable, n_bytes: int) -> bytes:
    with let_in():  # standard input may be a person, or a program that takes its time
        return audio.read(n_bytes)


def _size(audio: BufferedReader) -> int | None:
    """Return how many bytes a plain file has, None for a pipe."""
    status = os.fstat(audio.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _sha1(audio: BufferedReader) -> str:
    """Return the hash that identifies content; only that, it protects nothing."""
    import hashlib  # noqa: PLC0415 - only where bytes are sent

    with let_in():
        return hashlib.file_digest(audio, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
