"""Which recordings a benchmark is to use: those of a folder, or those that a file names."""

from __future__ import annotations

from pathlib import Path

from dejavuctl.files import AUDIO_EXTENSIONS

_SUFFIXES = tuple(f".{extension}" for extension in AUDIO_EXTENSIONS)


def recordings_in(folder: Path) -> list[Path]:
    """Return the audio files below `folder`, in order of path."""
    return sorted(path for path in folder.rglob("*") if path.name.lower().endswith(_SUFFIXES))


def recordings_of(place: Path) -> list[Path]:
    """Return the recordings of a folder, or those that a file names."""
    if place.is_dir():
        return recordings_in(place)
    return [Path(line) for line in place.read_text().splitlines() if line]
