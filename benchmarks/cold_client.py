"""How long a person waits: whole processes of dejavuctl, cold, beside a Python that does nothing and one that loads the socket library.

    cold_client.py [--runs 30] [--tracks 20]

The four take turns, so that what else the machine does meets all of them alike; compare the ratios.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from own_daemon import own_daemon

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from synthetic import synthesize, write_wav

RATE_HZ = 44_100
CLIP_S = 5.0
SLOWEST_SHARE = 0.9


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=30, help="of each; default: %(default)s")
    parser.add_argument("--tracks", type=int, default=20, help="in the library; default: %(default)s")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, own_daemon() as daemon:
        folder = Path(name)
        for seed in range(asked.tracks):
            write_wav(folder / f"{seed}.wav", synthesize(seed, 60.0, RATE_HZ), RATE_HZ)
        daemon.fingerprint([name])
        piece = synthesize(0, 60.0, RATE_HZ)
        clip = write_wav(folder / "clip.wav", piece[20 * RATE_HZ : round((20 + CLIP_S) * RATE_HZ)], RATE_HZ)
        client = ["-m", "dejavuctl", "--control", daemon.control]
        rows = {
            "python3 -c pass": ["-c", "pass"],
            "python3 -c 'import zmq'": ["-c", "import zmq"],
            "dejavuctl --version": ["-m", "dejavuctl", "--version"],
            "dejavuctl status": [*client, "status"],
            "dejavuctl recognize file clip.wav": [*client, "recognize", "file", str(clip)],
        }
        times: dict[str, list[float]] = {row: [] for row in rows}
        for _ in range(asked.runs):
            for row, words in rows.items():
                times[row].append(took_s(words))
    bare = median(times["python3 -c pass"])
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {asked.runs} runs of each\n")
    print("| whole process | median, ms | 9 of 10 within, ms | of a bare python |\n|---|---|---|---|")
    for row, found in times.items():
        within = sorted(found)[round(SLOWEST_SHARE * (len(found) - 1))]
        print(f"| `{row}` | {1000 * median(found):.0f} | {1000 * within:.0f} | {median(found) / bare:.1f} |")


def took_s(words: list[str]) -> float:
    """Return how long a Python with this command line took, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
