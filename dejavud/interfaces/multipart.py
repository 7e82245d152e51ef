"""multipart/form-data as it arrives: parts in pieces, nothing held but what one piece brings."""

from __future__ import annotations

from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dejavud.errors import InvalidRequest


class BrokenForm(InvalidRequest):
    """A body that says it is a form and is not."""


@dataclass(frozen=True, slots=True)
class PartBegun:
    """A part starts.  `filename` is None for a field that is no file."""

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class PartData:
    """Bytes of the part that began last."""

    data: bytes


class FormReader:
    """Reads one body: `feed` its pieces in order, then `finish`."""

    def __init__(self, content_type: str) -> None:
        """Raise `BrokenForm` when `content_type` names no boundary."""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BrokenForm(reason="the multipart body's Content-Type names no boundary")
        self._events: list[PartBegun | PartData] = []
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> list[PartBegun | PartData]:
        """Return what `chunk` brought; raises `BrokenForm` where it is not multipart."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise BrokenForm(reason=f"the multipart body is broken: {error}") from None
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Raise `BrokenForm` when the body stopped before its last boundary."""
        if not self._complete:
            raise BrokenForm(reason="the multipart body ends before its last boundary")

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(bytes(data[start:end])))

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if b"name" not in options:
            raise BrokenForm(reason="a part of the multipart body has no name")
        filename = options.get(b"filename")
        self._events.append(
            PartBegun(
                options[b"name"].decode("utf-8", "replace"),
                None if filename is None else filename.decode("utf-8", "replace"),
            )
        )

    def _on_end(self) -> None:
        self._complete = True
