"""What the web page costs while somebody looks at it, and pictures of it: ``python benchmarks/page_view.py [FOLDER]``.

A real daemon hears two made-up tracks under noise, in real time, and a station that is away.  Its CPU time is measured for `WATCHED_S` with no page open, and with
one in a headless Chromium that shows what plays; with FOLDER the pictures that the documentation shows are put there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from own_daemon import own_daemon
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "web"))

from synthetic import synthesize, write_wav
from web_parts import chromium, flags

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

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
LISTENERS = (("kitchen", 0, 4.0), ("studio", 1, -12.0))
"""Name, track, and the noise above the music in dB."""
AWAY = "http://127.0.0.1:9/live.mp3"


def main() -> None:
    """Measure, and draw where a folder is named."""
    with ExitStack() as stack:
        music = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        daemon = stack.enter_context(own_daemon())
        playwright = stack.enter_context(sync_playwright())
        teach(daemon, music)
        for listener in LISTENERS:
            stack.enter_context(playing(daemon, *listener))
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
    """Put the tracks into the library."""
    with Connection(daemon.control) as connection:
        for number, (title, artist, album, duration_s) in enumerate(TRACKS):
            path = write_wav(music / f"{title}.wav", synthesize(number + 1, duration_s, RATE_HZ), RATE_HZ)
            connection.call("fingerprint", {"path": str(path), "title": title, "artist": artist, "album": album})
        for name, source in (*((name, f"pcm:s16le:{RATE_HZ}:1") for name, *_ in LISTENERS), ("radio", AWAY)):
            connection.call("listen.add", {"name": name, "source": source, "once": True})


@contextmanager
def playing(daemon: OwnDaemon, name: str, number: int, noise_db: float) -> Iterator[None]:
    """Send a track under noise to a listener, at the pace at which it sounds, during the block."""
    music = synthesize(number + 1, TRACKS[number][3], RATE_HZ)
    noise = np.random.default_rng(number).standard_normal(len(music)).cumsum() % 1.0 - 0.5
    mixed = music + noise * np.sqrt(np.mean(music**2) / np.mean(noise**2)) * 10 ** (noise_db / 20)
    raw = (mixed / np.abs(mixed).max() * 32767).astype("<i2").tobytes()
    command = [sys.executable, "-m", "dejavuctl", "--control", daemon.control, "listen", "send", name, "-"]
    over, piece_bytes = threading.Event(), 2 * RATE_HZ // 10

    def send(pipe: IO[bytes]) -> None:
        for at in range(0, len(raw), piece_bytes):
            pipe.write(raw[at : at + piece_bytes])
            pipe.flush()
            if over.wait(0.1):
                return

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as sender:
        assert sender.stdin is not None
        thread = threading.Thread(target=send, args=(sender.stdin,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            sender.kill()


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
    with Image.open(path) as shot:
        shot.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
