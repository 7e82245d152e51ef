"""What ``tracks rm``, ``tracks disable`` and ``tracks enable`` share: choose, ask, change, tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Usage
from dejavuctl.output import count, track_name
from dejavuctl.selection import add_filters, add_names, ask, check_names, filter_of, listed, named
from dejavud.wire.codes import EXIT_FAILED, EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.connection import Connection
    from dejavuctl.failures import Failed
    from dejavuctl.session import Session

BATCH = 1000
"""Tracks changed by one request."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to tracks.

    command : of the daemon.
    verb, done : "Remove {} from the library", "removed".
    state : of the tracks that a filter chooses.
    asks_always : whether tracks that were named one by one are asked about too.
    """

    command: str
    verb: str
    done: str
    state: str
    asks_always: bool = False

    def configure(self, parser: ArgumentParser) -> None:
        """Say what the command takes."""
        add_names(parser)
        parser.add_argument("--search", metavar="WORDS", help="all these words in title, artist, album or path")
        add_filters(parser)
        parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
        parser.add_argument("-n", "--dry-run", action="store_true", help="only say which tracks it would be")

    def check(self, options: Namespace) -> None:
        """Have tracks named or filtered, not both and not neither."""
        check_names(options)
        filters = filter_of(options) | ({"search": options.search} if options.search else {})
        options.filters = filters
        if bool(options.tracks) == bool(filters):
            raise Usage(reason="name tracks by ID or SHA1, or choose them by --search, --artist, --album, --path, …")

    def run(self, options: Namespace, session: Session) -> int:
        """Change the tracks that are there; fails when one that was named is not."""
        out = session.out
        with session.connect() as connection:
            found, missing = self._chosen(connection, options)
            for failure in missing:
                out.refuse(failure)
            if options.dry_run:
                for track in found:
                    out.show({f"would_be_{self.done}": track}, f"{track['id']}: {track_name(track)}")
                out.remark(f"{count(len(found), 'track')} would be {self.done}")
                return EXIT_FAILED if missing else EXIT_MATCHED
            must_ask = self.asks_always or (len(found) > 1 and bool(options.filters))
            if found and must_ask and not options.yes:
                ask(out, found, verb=self.verb, done=self.done)
            for first in range(0, len(found), BATCH):
                batch = found[first : first + BATCH]
                connection.call(self.command, {"ids": [track["id"] for track in batch]})
                for track in batch:
                    out.show({self.done: track}, f"{self.done} {track['id']}: {track_name(track)}")
        if not found and not missing and not out.as_json:
            out.remark(f"no track is like that; nothing was {self.done}")
        return EXIT_FAILED if missing else EXIT_MATCHED

    def _chosen(self, connection: Connection, options: Namespace) -> tuple[list[dict[str, Any]], list[Failed]]:
        if options.tracks:
            return named(connection, options.ids, options.sha1s)
        params = {"state": self.state, **options.filters}
        return [track for page, _ in listed(connection, params) for track in page], []
