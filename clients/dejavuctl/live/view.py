"""The live view: what the daemon tells, drawn as it changes, until somebody leaves."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console

from dejavuctl.failures import EXIT_INTERRUPTED
from dejavuctl.live.link import Link
from dejavuctl.live.picture import ASCII, GLYPHS, Frame, picture
from dejavuctl.live.scene import Scene
from dejavuctl.live.terminal import opened
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from rich.text import Text

    from dejavuctl.live.terminal import Key, Terminal
    from dejavuctl.session import Session

REDRAW_S = 0.25
"""Between two pictures, at least."""
TICK_S = 1.0
"""Between two pictures, at most: there are clocks in them."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be seen.

    only : the one listener; None for all.
    count : leave when so many plays have ended; None for never.
    """

    only: str | None = None
    count: int | None = None
    with_history: bool = True
    with_colour: bool = True


def show(session: Session, wishes: Wishes) -> int:
    """Show the view until it is left; return the exit status."""
    scene = Scene(wishes.only)
    link = Link(session, scene, with_history=wishes.with_history)
    with opened(session.out.answers) as terminal:
        view = _View(session, wishes, scene, link, terminal)
        try:
            view.run()
        finally:
            link.close()
    if terminal.ended_by in (0, signal.SIGINT):
        return EXIT_INTERRUPTED if terminal.ended_by else EXIT_MATCHED
    signal.signal(terminal.ended_by, signal.SIG_DFL)
    os.kill(os.getpid(), terminal.ended_by)  # so that whoever sent the signal sees that it worked
    return EXIT_INTERRUPTED


class _View:
    def __init__(self, session: Session, wishes: Wishes, scene: Scene, link: Link, terminal: Terminal) -> None:
        self._session, self._wishes = session, wishes
        self._scene, self._link, self._terminal = scene, link, terminal
        self._canvas = _Canvas(session, terminal, with_colour=wishes.with_colour)
        self._is_held = self._is_leaving = False
        self._drawn_at = float("-inf")

    def run(self) -> None:
        """Draw what is new, at most every `REDRAW_S`, until somebody leaves."""
        while not (self._is_leaving or self._terminal.ended_by):
            now = time.monotonic()
            self._link.step(now)
            if self._is_due(now):
                self._draw(now)
            for key in self._terminal.wait(self._link.sockets, self._wait_s(time.monotonic())):
                self._press(key)
            if self._wishes.count is not None and self._scene.n_ended >= self._wishes.count:
                self._is_leaving = True

    def _is_due(self, now: float) -> bool:
        if self._terminal.was_changed:
            return True
        if self._is_held:
            return False
        return now - self._drawn_at >= (REDRAW_S if self._scene.is_changed else TICK_S)

    def _wait_s(self, now: float) -> float:
        """Return how long nothing has to be done if nothing comes."""
        if self._is_held:
            return TICK_S
        due_s = self._drawn_at + (REDRAW_S if self._scene.is_changed else TICK_S) - now
        if self._link.reason:
            due_s = min(due_s, self._link.retry_at - now)
        return max(0.0, due_s)

    def _draw(self, now: float) -> None:
        if self._terminal.was_changed:
            self._terminal.was_changed = False
            self._canvas.forget()
        self._scene.is_changed = False
        self._drawn_at = now
        size = self._terminal.size
        frame = Frame(
            self._scene,
            size.columns,
            size.lines,
            now=datetime.now().astimezone(),
            headline=f"dejavud {self._link.version}".strip(),
            trouble=self._trouble(now),
            is_held=self._is_held,
            with_history=self._wishes.with_history,
            glyphs=self._canvas.glyphs,
        )
        self._canvas.draw(picture(frame))

    def _trouble(self, now: float) -> str:
        if not self._link.reason:
            return ""
        wait_s = max(0.0, self._link.retry_at - now)
        return f"no daemon, trying again{f' in {wait_s:.0f} s' if wait_s >= 1 else ''}: {self._link.reason}"

    def _press(self, key: Key) -> None:
        self._scene.note = ""
        if key == "leave":
            self._is_leaving = True
        elif key == "hold":
            self._is_held = not self._is_held
            self._drawn_at = float("-inf")
            self._terminal.was_changed = self._is_held  # so that it says once that it is held
        elif key in ("up", "down"):
            self._scene.choose(1 if key == "down" else -1)
        elif self._scene.chosen in self._scene.listeners:
            is_paused = self._scene.listeners[self._scene.chosen].view["state"] == "paused"
            self._link.pause(self._scene.chosen, paused=not is_paused)
        self._scene.is_changed = True


class _Canvas:
    """The lines that are on the terminal; only those that change are written."""

    def __init__(self, session: Session, terminal: Terminal, *, with_colour: bool) -> None:
        self._terminal = terminal
        self._console = Console(
            file=session.out.answers,
            force_terminal=True,
            no_color=not with_colour or bool(session.environment.get("NO_COLOR")),
            highlight=False,
            emoji=False,
            markup=False,
            legacy_windows=False,
        )
        self.glyphs = GLYPHS if self._console.encoding.startswith("utf") else ASCII
        self._lines: list[Text] = []

    def forget(self) -> None:
        """Take note that nothing is on the terminal any more."""
        self._lines = []
        self._terminal.write("\x1b[0m\x1b[2J")

    def draw(self, lines: list[Text]) -> None:
        """Have `lines` on the terminal, in one go."""
        known = [*self._lines, *[None] * len(lines)]
        changed = [(row, line) for row, line in enumerate(lines, 1) if line != known[row - 1]]
        self._lines = lines
        if changed:
            self._terminal.write("".join(f"\x1b[{row};1H\x1b[0m\x1b[2K{self._styled(line)}" for row, line in changed))

    def _styled(self, line: Text) -> str:
        with self._console.capture() as capture:
            self._console.print(line, end="", no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)
        return capture.get()
