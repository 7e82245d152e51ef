"""The now-playing file: one line of what plays, for OBS, status bars and whatever else watches a file."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from dejavud.hooks.base import Figures, HookFailed
from dejavud.hooks.now_playing import NowPlaying, follow, identifier

if TYPE_CHECKING:
    from dejavud.hooks.base import ListenerViews, Thread
    from dejavud.hooks.now_playing import Playing
    from dejavud.hooks.settings import HookSettings
    from dejavud.services.events import Event, EventHub

PLACE = "{listener}"
"""Where it stands in the path, each listener has a file of its own."""
GRACE_S = 2.0
SAMPLE_S = 2.0
"""For so long a test shows a sample."""


class NowPlayingFile:
    """Writes what plays into a file, or a file a listener: see `dejavud.hooks.base.Hook`."""

    name = kind = "now-playing"
    n_waiting = 0

    def __init__(self, hub: EventHub, listeners: ListenerViews, settings: HookSettings, thread: Thread) -> None:
        self.target = settings.now_playing_file
        self.figures = Figures()
        self._hub = hub
        self._listeners = listeners
        self._template = settings.now_playing_format
        self._thread = thread
        self._written: dict[str, str] = {}

    async def run(self) -> None:
        """Write whenever what plays changes, until cancelled, and then that nothing plays."""
        self._written = {}
        try:
            await follow(self._hub, self._listeners, self.figures, self._show)
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(GRACE_S), suppress(HookFailed):
                for path in list(self._written):
                    await self._write(path, "")

    async def test(self, sample: Event) -> str:
        """Show a sample for two seconds."""
        now = NowPlaying(list)
        now.take(sample)
        play = now.latest
        path = self._path_of(str(sample.data["listener"]))
        text = self._text(play)
        await self._put(path, text)
        try:
            await trio.sleep(SAMPLE_S)
        finally:
            with trio.CancelScope(shield=True):
                if path in self._written:
                    await self._put(path, self._written[path])
                else:
                    await self._thread(Path(path).unlink)
        return f"{path} held {text.strip()!r} for {SAMPLE_S:g} s"

    async def _show(self, now: NowPlaying) -> None:
        if PLACE in self.target:
            texts = {self._path_of(name): self._text(one.latest) for name, one in now.listeners.items()}
        else:
            texts = {self.target: self._text(now.latest)}
        for path in self._written.keys() - texts.keys():  # of listeners that are gone
            texts[path] = ""
        for path, text in texts.items():
            if self._written.get(path) != text:
                await self._write(path, text)

    async def _write(self, path: str, text: str) -> None:
        await self._put(path, text)
        self._written[path] = text
        self.figures.n_delivered += 1

    async def _put(self, path: str, text: str) -> None:
        try:
            await self._thread(partial(write_whole, Path(path), text))
        except OSError as error:
            reason = f"{path} cannot be written: {error.strerror}"
            raise HookFailed(reason) from error

    def _path_of(self, listener: str) -> str:
        return self.target.replace(PLACE, identifier(listener))

    def _text(self, play: Playing | None) -> str:
        return "" if play is None else play.text(self._template) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Put `text` into the file at `path` so that a reader sees all of it or what was there before; raises OSError."""
    partial_path = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    descriptor = os.open(partial_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - a descriptor
            file.write(text)
        partial_path.replace(path)
    except BaseException:
        partial_path.unlink()
        raise
