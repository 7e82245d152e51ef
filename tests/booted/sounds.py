"""Writes what tests/booted/prove plays with into a folder: a song, a clip of it, and a clip of something else."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import synthesize, write_wav

RATE_HZ = 8000

folder = Path(sys.argv[1])
song = synthesize(1, 20.0, RATE_HZ)
write_wav(folder / "song.wav", song, RATE_HZ)
write_wav(folder / "clip.wav", song[8 * RATE_HZ : 13 * RATE_HZ], RATE_HZ)
write_wav(folder / "other.wav", synthesize(2, 5.0, RATE_HZ), RATE_HZ)
