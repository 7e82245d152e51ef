"""One daemon, one library and one browser for all that is asked of the page."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from web_parts import RATE_HZ, WebDaemon, chromium, flags, piece

if TYPE_CHECKING:
    from collections.abc import Iterator

_WAIT_MS = 15_000
expect.set_options(timeout=_WAIT_MS)
_REPORT = "document.addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective + ' ' + e.blockedURI))"


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where recordings are."""
    return tmp_path_factory.mktemp("m")


@pytest.fixture(scope="module")
def real_recording(music: Path) -> Path:
    """Return forty seconds of somebody's real music, or, where none was fetched, of ours."""
    folder = os.environ.get("TEST_MUSIC", "")
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix in {".ogg", ".wav"}) if folder else []
    if not found:
        return piece(music / "ours.wav", 9, 40.0, 20.0)
    cut = music / "real.wav"
    command = ["ffmpeg", "-v", "error", "-ss", "20", "-t", "40", "-i", found[0], "-ac", "1", "-ar", str(RATE_HZ), cut]
    subprocess.run(command, check=True)
    return cut


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, music: Path, real_recording: Path) -> Iterator[WebDaemon]:
    """Give a daemon with four recordings, one of which the browser's microphone hears."""
    daemon = WebDaemon(tmp_path_factory.mktemp("d"))
    with daemon.running():
        daemon.teach(music)
        daemon.ask("fingerprint", path=str(real_recording), title="What the microphone hears")
        yield daemon


@pytest.fixture(scope="module")
def browser(real_recording: Path) -> Iterator[Browser]:
    """Give a browser whose microphone plays the real recording."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags(real_recording))
        yield browser
        browser.close()


class Pages:
    """Pages of this test; what any of them complains of fails it.

    complaints : of the console, of scripts that failed and of what the policy forbade.
    """

    def __init__(self, browser: Browser, daemon: WebDaemon) -> None:
        self.complaints: list[str] = []
        self._browser, self._daemon = browser, daemon
        self._stack = ExitStack()

    def open(self, view: str = "now", daemon: WebDaemon | None = None, **options: object) -> Page:
        """Return a page that shows a view, in a browser that has never been here."""
        context = self._browser.new_context(locale="en-GB", **options)  # type: ignore[arg-type] - playwright's own
        self._stack.callback(context.close)
        context.set_default_timeout(_WAIT_MS)
        page = context.new_page()
        page.add_init_script(_REPORT)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._note)
        page.goto(f"{(daemon or self._daemon).url}/#/{view}")
        return page

    def _note(self, message: ConsoleMessage) -> None:
        # What the network says of a daemon that is away, or that refuses, the page deals with itself.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def close(self) -> None:
        """Close what is open."""
        self._stack.close()


@pytest.fixture
def pages(browser: Browser, daemon: WebDaemon) -> Iterator[Pages]:
    """Give a way to open pages."""
    pages = Pages(browser, daemon)
    yield pages
    pages.close()
    assert not pages.complaints
