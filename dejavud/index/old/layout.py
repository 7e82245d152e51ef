"""Which generation of dejavu made a database: its tables, what their columns are called, and the profiles that its hashes may be of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

from dejavud.errors import SourceUnknown

if TYPE_CHECKING:
    from collections.abc import Mapping

_DENSE_HASHES_A_FRAME = 80
"""Between what the constants of ivlovric 1.4 make of music, about 24, and those of 1.5, about 280."""

_PROFILES: Mapping[str, tuple[str, ...]] = {
    "worldveil-2013": (
        "classic/dejavu-0.1.3",
        "classic/dejavu-2014-03",
        "classic/dejavu-2014-02",
        "classic/dejavu-2013-11",
    ),
    "worldveil-0.1.3": ("classic/dejavu-0.1.3",),
    "worldveil-2019": ("classic/dejavu-2020",),
    "ivlovric-2018": ("classic/ivlovric-1.4",),
    "ivlovric-1.3.4": ("classic/ivlovric-1.4", "classic/ivlovric-1.5"),
}


@dataclass(frozen=True, slots=True)
class OldLayout:
    """The two tables of an old database.

    schema : the generation that made them: one of worldveil-2013, worldveil-0.1.3, worldveil-2019, ivlovric-2018, ivlovric-1.3.4.
    id, name, is_complete, sha1 : columns of the songs; the last two are missing in some.
    song, hash, offset : columns of the fingerprints.
    is_hash_text : whether the hash is of a type of text.
    """

    schema: str
    id: sa.ColumnClause[Any]
    name: sa.ColumnClause[Any]
    is_complete: sa.ColumnClause[Any] | None
    sha1: sa.ColumnClause[Any] | None
    song: sa.ColumnClause[Any]
    hash: sa.ColumnClause[Any]
    offset: sa.ColumnClause[Any]
    is_hash_text: bool

    def profiles(self, hashes_a_frame: float) -> tuple[str, ...]:
        """Return the profiles that the hashes may be of, the likeliest first: a database does not say it outright."""
        likely = _PROFILES[self.schema]
        return likely[::-1] if self.schema == "ivlovric-1.3.4" and hashes_a_frame > _DENSE_HASHES_A_FRAME else likely


def found_layout(inspector: sa.Inspector, url: str) -> OldLayout:
    """Return the layout of the database that `inspector` looks into; raises `SourceUnknown`, with what is there instead.

    url : for the message.
    """
    tables = {name.casefold(): name for name in (*inspector.get_table_names(), *inspector.get_view_names())}
    if not {"songs", "fingerprints"} <= tables.keys():
        listed = ", ".join(sorted(tables.values())[:20]) or "none"
        raise SourceUnknown(url=url, reason=f"dejavu's tables are 'songs' and 'fingerprints'; there is: {listed}")
    songs = _Columns.of(inspector, tables["songs"])
    fingerprints = _Columns.of(inspector, tables["fingerprints"])
    try:
        return OldLayout(
            id=songs.first("song_id", "id"),
            name=songs.first("song_name", "name"),
            is_complete=songs.any("fingerprinted"),
            sha1=songs.any("file_sha1"),
            song=fingerprints.first("song_id"),
            hash=fingerprints.first("hash"),
            offset=fingerprints.first("offset"),
            is_hash_text=fingerprints.is_text("hash"),
            schema=_schema(songs, fingerprints),
        )
    except KeyError as error:
        raise SourceUnknown(url=url, reason=error.args[0]) from None


@dataclass(frozen=True, slots=True)
class _Columns:
    """A table's columns by their names in lower case.

    names : as the table spells them.  kinds : the classes of their types.
    """

    table: sa.TableClause
    names: Mapping[str, str]
    kinds: Mapping[str, type]

    @classmethod
    def of(cls, inspector: sa.Inspector, table: str) -> _Columns:
        found = inspector.get_columns(table)
        names = {column["name"].casefold(): column["name"] for column in found}
        kinds = {column["name"].casefold(): type(column["type"]) for column in found}
        clause = sa.table(
            quoted_name(table, quote=True), *(sa.column(quoted_name(n, quote=True)) for n in names.values())
        )
        return cls(clause, names, kinds)

    def any(self, *names: str) -> sa.ColumnClause[Any] | None:
        """Return the first of the columns that is there."""
        return next((self.table.c[self.names[name]] for name in names if name in self.names), None)

    def first(self, *names: str) -> sa.ColumnClause[Any]:
        """Return the first of the columns that is there; raises KeyError, with a sentence."""
        column = self.any(*names)
        if column is None:
            msg = f"its table {self.table.name!r} has no column {names[0]!r}; its columns are: {', '.join(self.names)}"
            raise KeyError(msg)
        return column

    def is_text(self, name: str) -> bool:
        """Tell whether a column's type is one of text."""
        return issubclass(self.kinds[name], sa.String)


def _schema(songs: _Columns, fingerprints: _Columns) -> str:
    if "song_id" not in songs.names:
        return "ivlovric-1.3.4" if fingerprints.is_text("hash") else "ivlovric-2018"
    if "total_hashes" in songs.names:
        return "worldveil-2019"
    return "worldveil-0.1.3" if "file_sha1" in songs.names else "worldveil-2013"
