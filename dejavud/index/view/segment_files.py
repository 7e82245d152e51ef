"""Segments as folders of columns: written under another name and renamed when whole, mapped, and checked before use.

A folder holds one file a column, as the array lies in memory, and ``header``: the CRC-32 of what follows, in hex, and what follows,
JSON: the version of the layout, the profile and digest of the parameters, and of each column its dtype, length and CRC-32.
Nothing is forced to the disk: what a power cut spoils fails its checksum and is made again.
"""

from __future__ import annotations

import json
import mmap
import shutil
import zlib
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from dejavud.index.view.peak_packing import PEAK_DTYPES
from dejavud.index.view.segment import TRACK_DTYPE, segment_of_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from dejavud.fingerprint.params import HashParams
    from dejavud.index.view.segment import Segment

    Array = NDArray[Any]

LAYOUT = 2
_HEADER = "header"
_NAME = "segment-"
_UNFINISHED = f".{_NAME}"
_CRC_DIGITS = 8
_STEP_BYTES = 8 << 20
"""What is written or checked between two looks at whether to go on: a few milliseconds."""


class SegmentRefusedError(Exception):
    """A folder is not a segment that can be used; the message says why."""


class SegmentFolder:
    """The folder of a view: its segments by number, the later ones greater.

    Methods that take `go_on` call it every few milliseconds; it may raise, to end them.
    """

    def __init__(self, path: Path, params: HashParams) -> None:
        self.path = path
        self._params = params

    def folders(self) -> list[Path]:
        """Return the folders of segments, the latest first; deletes what was never finished."""
        for unfinished in self.path.glob(f"{_UNFINISHED}*"):
            self.discard(unfinished)
        return sorted(self.path.glob(f"{_NAME}*"), key=_number, reverse=True)

    def delete(self) -> None:
        """Delete the folder with everything in it, as far as that is allowed: what is left does no harm."""
        shutil.rmtree(self.path, ignore_errors=True)

    def discard(self, folder: Path) -> None:
        """Delete a segment that is not needed any more; where that fails it does no harm, and is tried again at the next start."""
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def new(self, go_on: Callable[[], None]) -> Iterator[FileSink]:
        """Give the columns of a new segment, which is there when the block ends and not at all where it raises."""
        self.path.mkdir(mode=0o700, exist_ok=True)
        number = max(map(_number, self.folders()), default=0) + 1
        unfinished = self.path / f"{_UNFINISHED}{number}"
        unfinished.mkdir(mode=0o700)
        try:
            with ExitStack() as files:
                sink = FileSink(unfinished, files, go_on)
                yield sink
                body = json.dumps({**self._described(), "columns": sink.described()}).encode()
            (unfinished / _HEADER).write_bytes(f"{zlib.crc32(body):0{_CRC_DIGITS}x}\n".encode() + body)
            sink.folder = unfinished.rename(self.path / f"{_NAME}{number}")
        except BaseException:
            self.discard(unfinished)
            raise

    def open(self, folder: Path, go_on: Callable[[], None], *, is_new: bool = False) -> Segment:
        """Return the segment in `folder`, mapped, and every byte of it checked unless this process wrote it just now (`is_new`).

        Raises `SegmentRefusedError` where it is damaged, or made by other parameters or another version.
        """
        try:
            header = _read_header(folder / _HEADER)
            for key, value in self._described().items():
                if header[key] != value:
                    msg = f"its {key} is {header[key]}, not {value}"
                    raise SegmentRefusedError(msg)
            columns = {name: _mapped(folder / name, described) for name, described in header["columns"].items()}
            if not is_new:
                for name, column in columns.items():
                    _check(name, column, header["columns"][name]["crc32"], go_on)
            return segment_of_columns(columns)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SegmentRefusedError(str(error) or type(error).__name__) from error

    def _described(self) -> dict[str, Any]:
        return {
            "layout": LAYOUT,
            "profile": self._params.profile,
            "params_digest": self._params.digest,
            "track": str(TRACK_DTYPE),
            "peak": {name: dtype.str for name, dtype in PEAK_DTYPES.items()},
        }


class FileSink:
    """Writes the columns of a segment into files.

    folder : where they are.
    """

    def __init__(self, folder: Path, files: ExitStack, go_on: Callable[[], None]) -> None:
        self.folder = folder
        self._stack = files
        self._go_on = go_on
        self._files: dict[str, BinaryIO] = {}
        self._columns: dict[str, dict[str, Any]] = {}

    def append(self, column: str, array: Array) -> None:
        """See `dejavud.index.view.merging.Sink.append`."""
        if column not in self._files:
            self._files[column] = self._stack.enter_context((self.folder / column).open("xb"))
            self._columns[column] = {"dtype": _dtype_name(array.dtype), "n": 0, "crc32": 0}
        described = self._columns[column]
        for step in _steps(array):
            self._go_on()
            self._files[column].write(step)
            described["crc32"] = zlib.crc32(step, described["crc32"])
        described["n"] += len(array)

    def described(self) -> dict[str, Any]:
        """Return what the header says of the columns, by name."""
        return self._columns


_TRACK = "track"


def _dtype_name(dtype: np.dtype[Any]) -> str:
    return _TRACK if dtype == TRACK_DTYPE else dtype.str


def _number(folder: Path) -> int:
    number = folder.name.removeprefix(_NAME)
    return int(number) if number.isdecimal() else 0


def _read_header(path: Path) -> dict[str, Any]:
    stated, _, body = path.read_bytes().partition(b"\n")
    if stated != f"{zlib.crc32(body):0{_CRC_DIGITS}x}".encode():
        msg = "its header is damaged"
        raise SegmentRefusedError(msg)
    header: dict[str, Any] = json.loads(body)
    return header


def _mapped(path: Path, described: dict[str, Any]) -> Array:
    """Return the column in the file at `path`."""
    dtype = TRACK_DTYPE if described["dtype"] == _TRACK else np.dtype(described["dtype"])
    n_bytes = described["n"] * dtype.itemsize
    with path.open("rb") as file:
        if file.seek(0, 2) != n_bytes:
            msg = f"{path.name} is of {file.tell()} bytes, not {n_bytes}"
            raise SegmentRefusedError(msg)
        if not n_bytes:
            return np.empty(0, dtype)
        return np.frombuffer(mmap.mmap(file.fileno(), n_bytes, access=mmap.ACCESS_READ), dtype)


def _check(name: str, column: Array, stated: int, go_on: Callable[[], None]) -> None:
    """Raise `SegmentRefusedError` where a column is not what was written."""
    checksum = 0
    for step in _steps(column):
        go_on()
        checksum = zlib.crc32(step, checksum)
    if checksum != stated:
        msg = f"{name} is damaged: its checksum is wrong"
        raise SegmentRefusedError(msg)


def _steps(array: Array) -> Iterator[memoryview]:
    """Give the bytes of `array`, some megabytes at a time."""
    octets = memoryview(np.ascontiguousarray(array).view(np.uint8).data)
    for first in range(0, len(octets), _STEP_BYTES):
        yield octets[first : first + _STEP_BYTES]
