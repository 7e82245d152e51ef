"""What `dejavuctl listen` costs in a terminal, and a picture of it: ``python benchmarks/listen_view.py [PICTURE.svg]``.

A real daemon hears two made-up tracks in real time, one of them under noise, and a source that is away; the view is looked at in a terminal of
its own for `WATCHED_S`.  The picture is of what it wrote, when most was to be seen.
"""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from own_daemon import own_daemon
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "client"))

from synthetic import synthesize, write_wav
from terminals import in_terminal

from dejavuctl.connection import Connection

if TYPE_CHECKING:
    from terminals import Watched

WATCHED_S = 30.0
COLUMNS, LINES = 96, 20
RATE_HZ = 44100
NAMES = (("Lantern Waltz", "The Paper Boats"), ("Night Ferry", "Ana Lindqvist"), ("Copper Kettle", "The Paper Boats"))
NOISE_DB = 22.0
"""Above the music: so loud that the first looks leave doubt."""
_THEME = TerminalTheme(
    (24, 27, 32),
    (214, 218, 224),
    [
        (24, 27, 32),
        (224, 108, 117),
        (126, 190, 110),
        (222, 184, 100),
        (97, 160, 230),
        (198, 120, 221),
        (86, 182, 194),
        (214, 218, 224),
    ],
)
_SVG = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" xml:space="preserve"><style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", "Liberation Mono", monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 16px; font-family: sans-serif; }}
{styles}</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>{lines}</defs>
{chrome}<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g></g></svg>
"""
"""As rich draws it, without the fonts that a reader's browser would fetch from elsewhere."""


def main() -> None:
    """Look at a view, print what it cost, and keep a picture."""
    with tempfile.TemporaryDirectory(prefix="view") as name, own_daemon() as daemon, Connection(daemon.control) as ask:
        folder = Path(name)
        for seed, (title, artist) in enumerate(NAMES):
            music = synthesize(seed, 75.0, RATE_HZ)
            path = write_wav(folder / f"{seed}.wav", music, RATE_HZ)
            ask.call("fingerprint", {"path": str(path), "title": title, "artist": artist})
            loud = np.sqrt(np.mean(music**2)) * 10 ** (NOISE_DB / 20)
            noisy = music + loud * np.random.default_rng(seed).normal(size=len(music))
            write_wav(folder / f"noisy{seed}.wav", (0.3 * noisy / np.abs(noisy).max()).astype(np.float32), RATE_HZ)
        for seed in range(len(NAMES)):
            ask.call("listen.add", {"name": "kitchen", "source": f"{folder}/{seed}.wav", "once": True})
            while ask.call("listen.list", {})["listeners"][0]["state"] != "ended":
                time.sleep(0.1)
            ask.call("listen.remove", {"name": "kitchen"})
        command = [sys.executable, "-m", "dejavuctl", "--control", daemon.control, "listen"]
        with in_terminal(command, os.environ | {"HOME": str(folder)}, COLUMNS, LINES) as seen:
            seen.sees("the daemon listens to nothing yet")
            ask.call("listen.add", {"name": "kitchen", "source": f"realtime:{folder}/0.wav", "once": True})
            ask.call("listen.add", {"name": "radio", "source": f"realtime:{folder}/noisy1.wav", "once": True})
            ask.call("listen.add", {"name": "attic", "source": "/run/attic.fifo", "once": True})
            best = _watch(seen)
            seen.press("q")
            seen.ended()
    if len(sys.argv) > 1:
        rows = [Text.from_ansi(line.replace(str(folder), "/srv/music")) for line in best]
        Path(sys.argv[1]).write_text(_as_svg(rows), encoding="utf-8")


def _watch(seen: Watched) -> list[str]:
    """Look for a while; print what it cost, and return the lines that were there when most was to be seen."""
    best, most = [""], -1
    n_before, before_s, started = len(seen.raw), _cpu_s(seen.process.pid), time.monotonic()
    while (took_s := time.monotonic() - started) < WATCHED_S:
        seen.look(0.1)
        much = 5 * ("  ? " in seen.text) + seen.text.count(" dB") + seen.text.count("♪")
        if much >= most:
            best, most = _lines_of(bytes(seen.raw)), much
    cost = 100 * (_cpu_s(seen.process.pid) - before_s) / took_s
    n_written = seen.raw[n_before:].count(b"\x1b[1;1H")
    print(
        f"{cost:.2f} % of a core, {n_written / took_s:.1f} pictures/s, {(len(seen.raw) - n_before) / took_s:.0f} bytes/s"
    )
    return best


def _lines_of(raw: bytes) -> list[str]:
    """Return what is on each line, with its colours."""
    pieces = re.split(r"\x1b\[(\d+);1H\x1b\[0m\x1b\[2K", raw.decode(errors="replace"))
    rows = dict(zip(map(int, pieces[1::2]), pieces[2::2], strict=True))
    return [rows.get(number, "") for number in range(1, LINES + 1)]


def _as_svg(rows: list[Text]) -> str:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    for row in rows:
        console.print(row, no_wrap=True, overflow="crop")
    return console.export_svg(title="dejavuctl listen", theme=_THEME, code_format=_SVG, unique_id="listen")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
