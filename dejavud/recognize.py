"""Recognizers: where the audio comes from that `dejavud.Dejavu.recognize` is asked about.

A recognizer is a class that is made with the `Dejavu` that uses it and has a method ``recognize``; write your own for audio from
elsewhere, from `Dejavu.generate_fingerprints`, `Dejavu.find_matches` and `Dejavu.align_matches`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import os


class Engine(Protocol):
    """What the recognizers here ask of a `Dejavu`."""

    def recognize_file(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what the file is."""
        ...

    def recognize_microphone(self, seconds: float, *, device: str | int | None = None) -> dict[str, Any]:
        """Return what is heard from now on."""
        ...


class FileRecognizer:
    """Recognizes a file: ``dejavu.recognize(FileRecognizer, "clip.mp3")``."""

    def __init__(self, dejavu: Engine) -> None:
        self.dejavu = dejavu

    def recognize(self, path: str | os.PathLike[str]) -> dict[str, Any]:
        """Return what the file at `path` is; see `Dejavu.recognize_file`."""
        return self.dejavu.recognize_file(path)


class MicrophoneRecognizer:
    """Recognizes what is heard from now on: ``dejavu.recognize(MicrophoneRecognizer, seconds=10)``."""

    default_seconds = 10.0

    def __init__(self, dejavu: Engine) -> None:
        self.dejavu = dejavu

    def recognize(self, seconds: float = default_seconds, *, device: str | int | None = None) -> dict[str, Any]:
        """Listen for `seconds` and return what was heard; see `Dejavu.recognize_microphone`."""
        return self.dejavu.recognize_microphone(seconds, device=device)
