"""What the web page costs while somebody looks at it, and pictures of it: ``python benchmarks/page_view.py [FOLDER]``.

A real daemon hears two made-up tracks in real time and a station that is away.  Its CPU time is measured for `WATCHED_S` with no page open, and with
one in a headless Chromium that shows what plays; with FOLDER the pictures that the documentation shows are put there.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from own_daemon import own_daemon
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "web"))

from synthetic import synthesize, write_wav
from web_parts import chromium, flags

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from own_daemon import OwnDaemon
    from playwright.sync_api import Browser, Page

WATCHED_S = 10.0
RATE_HZ = 22050
WIDE = {"width": 1000, "height": 640}
PHONE = {"width": 360, "height": 720}
TRACKS = (
    ("Harbour Lights", "The Paper Boats", "Night Ferry", 100),
    ("Lantern Waltz", "Ana Lindqvist", "Low Tide", 110),
    ("Slow Orbit", "The Paper Boats", "Night Ferry", 52),
    ("Glass Garden", "Small Machines", "Patch Bay", 66),
    ("Winter Tram", "Ana Lindqvist", "Low Tide", 73),
    ("Copper Kettle", "The Paper Boats", "Night Ferry", 80),
    ("Salt and Signal", "Small Machines", "Patch Bay", 87),
    ("An Evening in Four", "Nils Aberg", "Quartets", 94),
)
LISTENERS = (("kitchen", 0), ("studio", 1))


def main() -> None:
    """Measure, and draw where a folder is named."""
    with tempfile.TemporaryDirectory(prefix="music-") as name, own_daemon() as daemon, sync_playwright() as playwright:
        music = Path(name)
        teach(daemon, music)
        browser = playwright.chromium.launch(executable_path=chromium(), args=flags(music / f"{TRACKS[2][0]}.wav"))
        alone = cpu_share(daemon)
        page = opened(browser, daemon, WIDE, "dark")
        page.locator(".play").nth(1).wait_for()
        watched = cpu_share(daemon)
        print(f"two listeners: {alone:.1%} of a core; with the page that shows them: {watched:.1%}")
        print(f"until what plays is shown: {until_shown_s(browser, daemon):.2f} s")
        if len(sys.argv) > 1:
            draw(browser, daemon, page, Path(sys.argv[1]))
        browser.close()


def teach(daemon: OwnDaemon, music: Path) -> None:
    """Put the tracks into the library, and have two of them played."""
    with Connection(daemon.control) as connection:
        for number, (title, artist, album, duration_s) in enumerate(TRACKS):
            path = write_wav(music / f"{title}.wav", synthesize(number + 1, duration_s, RATE_HZ), RATE_HZ)
            connection.call("fingerprint", {"path": str(path), "title": title, "artist": artist, "album": album})
        for listener, number in LISTENERS:
            source = f"realtime:{music / TRACKS[number][0]}.wav"
            connection.call("listen.add", {"name": listener, "source": source, "once": True})
        connection.call("listen.add", {"name": "radio", "source": "http://127.0.0.1:9/live.mp3", "once": True})


def opened(browser: Browser, daemon: OwnDaemon, size: dict[str, int], scheme: str, view: str = "now") -> Page:
    """Return a page that shows a view."""
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type] - playwright's own
        color_scheme="dark" if scheme == "dark" else "light",
        locale="en-GB",
        permissions=["microphone"],
    )
    page = context.new_page()
    page.goto(f"{daemon.http}/#/{view}")
    return page


def cpu_share(daemon: OwnDaemon) -> float:
    """Return how much of a core the daemon's own process uses: its workers know nothing of pages."""
    before = daemon.status()["process"]["cpu_s"]
    time.sleep(WATCHED_S)
    return (daemon.status()["process"]["cpu_s"] - before) / WATCHED_S


def until_shown_s(browser: Browser, daemon: OwnDaemon) -> float:
    """Return how long a browser that was never here takes to show what plays."""
    began = time.perf_counter()
    page = opened(browser, daemon, WIDE, "light")
    page.locator(".play").nth(1).wait_for()
    took_s = time.perf_counter() - began
    page.context.close()
    return took_s


def draw(browser: Browser, daemon: OwnDaemon, now: Page, folder: Path) -> None:
    """Write the pictures."""
    picture(now, folder / "page-now.png")
    page = opened(browser, daemon, WIDE, "light", "recognize")
    page.locator("#record").click()
    page.locator(".answer").wait_for()
    picture(page, folder / "page-recognize.png")
    page = opened(browser, daemon, WIDE, "light", "library")
    page.locator("tbody tr").nth(len(TRACKS) - 1).wait_for()
    page.locator("tbody input").nth(1).check()
    picture(page, folder / "page-library.png")
    page = opened(browser, daemon, PHONE, "dark")
    page.locator("figcaption", has_text="among them").first.wait_for()
    picture(page, folder / "page-phone.png")


def picture(page: Page, path: Path) -> None:
    """Write what a page shows, and say how large it is."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(600)  # what slides has slid
    page.screenshot(path=path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
