"""What a recording says of itself, or what its file name says for it."""

from __future__ import annotations

import unicodedata
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import mutagen

from dejavud.values import Tags

if TYPE_CHECKING:
    from pathlib import Path

_MAX_CHARACTERS = 1000
_MAX_VALUES = 16
_NAMES = {
    "title": ("title", "Title", "TIT2"),
    "artist": ("artist", "Author", "TPE1"),
    "albumartist": ("albumartist", "WM/AlbumArtist", "TPE2"),
    "album": ("album", "WM/AlbumTitle", "TALB"),
}
"""mutagen's common name, and those of the formats that it has none for: Windows Media, and ID3 in wav and aiff."""


def read_tags(path: Path | str, name: str) -> Tags:
    """Return the title, artist and album of the file at `path`; the title falls back to the stem of `name`.

    Never fails: a file without tags, a damaged one and one that cannot be read just say nothing.  Values are at most
    1000 characters, on one line, without control characters; several values of one tag are joined by "; ".
    """
    tags = _read_easy_tags(path)
    return Tags(
        title=_text(tags.get("title")) or _text(PurePath(name).stem) or _text(name),
        artist=_text(tags.get("artist")) or _text(tags.get("albumartist")),
        album=_text(tags.get("album")),
    )


def _read_easy_tags(path: Path | str) -> dict[str, Any]:
    """Return the tags by the names of `_NAMES`."""
    try:
        file = mutagen.File(path, easy=True)
        if file is None or file.tags is None:
            return {}
        return {name: _get(file.tags, names) for name, names in _NAMES.items()}
    except Exception:  # noqa: BLE001  # damage makes mutagen raise anything; a tag is never worth a recording
        return {}


def _get(tags: Any, names: tuple[str, ...]) -> Any:  # noqa: ANN401  # mutagen has no types
    """Return the first of `names` that has a value, None where all are missing or damaged."""
    for name in names:
        try:
            value = tags.get(name)
        except Exception:  # noqa: BLE001, S112  # as above; and each format refuses the names of the others in its own way
            continue
        if value:
            return getattr(value, "text", value)
    return None


def _text(value: Any) -> str | None:  # noqa: ANN401  # str, or a list of str or of mutagen's own values
    values = value if isinstance(value, list | tuple) else [value]
    cleaned = [_clean(str(v)) for v in values[:_MAX_VALUES] if v is not None]
    joined = "; ".join(dict.fromkeys(text for text in cleaned if text))
    return joined[:_MAX_CHARACTERS].rstrip() or None


def _clean(text: str) -> str:
    """Return `text` on one line, composed, without what cannot be shown or encoded."""
    text = text[: 4 * _MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
    spaced = "".join(" " if character.isspace() else character for character in text)
    shown = "".join(c for c in spaced if unicodedata.category(c) not in {"Cc", "Cs", "Cn"})
    return unicodedata.normalize("NFC", " ".join(shown.split()))
