"""``dejavuctl history export``."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Failed, Usage
from dejavuctl.output import count
from dejavuctl.plays import add_filters, check_filters, filter_of, listed
from dejavud.wire import play_csv
from dejavud.wire.codec import encode
from dejavud.wire.codes import EXIT_MATCHED
from dejavud.wire.moments import zone_of

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import tzinfo
    from typing import TextIO

    from dejavuctl.session import Session

DESCRIPTION = (
    "Writes what the listeners have heard into a file, or to standard output: for a spreadsheet, or for programs."
)
EXAMPLES = """\
examples:
  dejavuctl history export plays.csv
  dejavuctl history export --listener kitchen --day yesterday > kitchen.csv
  dejavuctl history export plays.json --since 30d           one array
  dejavuctl history export --format jsonl | jq -r .track.title      an object a line

Titles that a spreadsheet would take for formulas have an apostrophe before them in CSV."""

_CANNOT_WRITE = "cannot_write"
FORMATS = ("csv", "json", "jsonl")
_NOT_WRITTEN = frozenset({"xlsx", "xls", "ods", "numbers", "tsv", "xml", "parquet"})
"""Formats that somebody may expect by the name of his file, and would not get."""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("file", metavar="FILE", nargs="?", default="-", help="where to; - is standard output (default)")
    parser.add_argument(
        "--format", choices=FORMATS, help="csv, json or jsonl (default: as the file is called, else csv)"
    )
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    add_filters(parser)


def check(options: Namespace) -> None:
    """Have filters that can be understood, and a format."""
    check_filters(options)
    suffix = Path(options.file).suffix[1:].lower()
    if suffix in _NOT_WRITTEN and not options.format:
        raise Usage(reason=f"{suffix} is not written; what spreadsheets open is {Path(options.file).stem}.csv")
    options.format = options.format or ("jsonl" if options.json else suffix if suffix in FORMATS else "csv")
    if options.file != "-" and Path(options.file).exists() and not options.force:
        raise Usage(reason=f"{options.file} is there already; --force replaces it")


def run(options: Namespace, session: Session) -> int:
    """Write the plays, a page at a time, however many there are."""
    n_plays, zone = 0, zone_of(options.zone)
    with session.connect() as connection, _opened(options.file, session) as file:
        pages = listed(connection, {**filter_of(options), "zone": options.zone})
        file.write(_head(options.format))
        for page in pages:
            file.write(_text(options.format, page, zone, is_first=n_plays == 0))
            n_plays += len(page)
        file.write(_end(options.format, is_empty=n_plays == 0))
    if options.file != "-":
        session.out.show({"file": options.file, "n_plays": n_plays}, f"{count(n_plays, 'play')} in {options.file}")
    return EXIT_MATCHED


@contextmanager
def _opened(name: str, session: Session) -> Iterator[TextIO]:
    """Give what is written to; a file has its name only once it is whole."""
    if name == "-":
        yield session.out.answers
        session.out.answers.flush()
        return
    path = Path(name)
    partial = path.with_name(f".{path.name}.partial")
    try:
        try:
            with partial.open("w", encoding="utf-8", newline="") as file:
                yield file
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        message = f"{name} cannot be written: {error.strerror}"
        raise Failed(code=_CANNOT_WRITE, message=message, details={"path": name}) from error


def _head(form: str) -> str:
    return {"csv": play_csv.heading(), "json": "[", "jsonl": ""}[form]


def _end(form: str, *, is_empty: bool) -> str:
    return ("]\n" if is_empty else "\n]\n") if form == "json" else ""


def _text(form: str, plays: Sequence[Mapping[str, Any]], zone: tzinfo, *, is_first: bool) -> str:
    if form == "csv":
        return play_csv.lines(plays, zone)
    objects = [encode(play).decode("utf-8", "replace") for play in plays]
    if form == "jsonl":
        return "".join(f"{line}\n" for line in objects)
    return "".join(f"{'' if is_first and place == 0 else ','}\n{line}" for place, line in enumerate(objects))
