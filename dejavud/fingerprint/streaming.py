"""Samples to what a long recording is asked with, in parts: the same peaks, to the bit, as of the whole recording at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dejavud.fingerprint.framing import SEGMENT_FRAMES, Framer
from dejavud.fingerprint.landmarks import pair
from dejavud.fingerprint.peaks import MIN_RANKED, PeakPicker, PeakSelector, Winners
from dejavud.fingerprint.spectrogram import Spectrogram
from dejavud.values import Constellation, Hashes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.fingerprint.params import Params
    from dejavud.values import Array

STREAM_QUARTERS = 2
"""A long recording is asked with the most prominent half of a query's peaks: what a track's own hashes are made of.  In windows of 10 s
that finds as many tracks as all of them do, under noise at -3 dB too, for a fifth of the hashes."""
STREAM_FAN_OUT = 4
"""Enough for half the peaks, of which every second is one of the track's; more of them find as many tracks in windows of 10 s."""


@dataclass(frozen=True, slots=True, eq=False)
class StreamPart:
    """A stretch of a long recording.

    first_frame : of the stretch, on the recording's clock.
    depths : uint8 [n_frames, n_bins], one shift of `values.Evidence`.
    hashes : those whose anchors are in the stretch; offsets on the recording's clock.
    """

    first_frame: int
    depths: Array
    hashes: Hashes

    @property
    def end_frame(self) -> int:
        """Return the first frame after the stretch."""
        return self.first_frame + len(self.depths)


class StreamExtractor:
    """What a recording is asked with, part by part, in memory that does not depend on its length.

    part_frames : length of the parts, the last one excepted, which is shorter or, by the few frames that hold no hash of their own, longer.
    is_live : give each part as soon as it can be known, for some more work, instead of about half a minute later.
    segment_frames : how many frames are computed at a time.
    """

    def __init__(
        self, params: Params, part_frames: int, *, is_live: bool = False, segment_frames: int = SEGMENT_FRAMES
    ) -> None:
        self._params = params
        self._part_frames = part_frames
        self._framer = Framer(params, segment_frames)
        self._spectrogram = Spectrogram(params)
        self._picker = PeakPicker(params, keep_depths=True)
        self._selector = PeakSelector(params, params.query_peaks_per_s, min_ranked=0 if is_live else MIN_RANKED)
        self._won: list[Winners] = []
        self._given = 0  # frames that have left in parts

    def feed(self, block: Array) -> Iterator[StreamPart]:
        """Yield the parts that `block` completes: float32 [n], mono at the engine's rate, in [-1, 1], not written to again."""
        for frames in self._framer.feed(block):
            self._take(frames)
            # an anchor's targets must be known before its hashes are
            while self._selector.n_done - self._params.dt_max_frames >= self._given + self._part_frames:
                yield self._part(self._given + self._part_frames)

    def finish(self) -> Iterator[StreamPart]:
        """Yield what is left; nothing may be fed after it."""
        for frames in self._framer.finish():
            self._take(frames)
        rest = self._picker.finish()
        self._won += [self._selector.feed(rest, self._picker.n_done), self._selector.finish()]
        while self._given < self._picker.n_done:
            yield self._part(min(self._given + self._part_frames, self._picker.n_done))

    def _take(self, frames: Array) -> None:
        candidates = self._picker.feed(self._spectrogram.levels(frames))
        self._won.append(self._selector.feed(candidates, self._picker.n_done))

    def _part(self, end: int) -> StreamPart:
        """Return the part from what was given to `end`, and forget what nothing later needs."""
        first, self._given = self._given, end
        depths = np.concatenate(self._picker.depths)
        self._picker.depths[:] = [depths[end - first :].copy()]
        won = Winners.concatenate(self._won)
        before, after = np.searchsorted(won.peaks.frames, (end, end + self._params.dt_max_frames + 1))
        self._won = [won[int(before) :]]
        asked = won[: int(after)]
        constellation = Constellation(asked.peaks.frames, asked.peaks.bins, end, asked.quarters)
        hashes = pair(constellation.most_prominent(STREAM_QUARTERS), self._params, STREAM_FAN_OUT)
        own = hashes.offsets < end
        return StreamPart(first, depths[: end - first], Hashes(hashes.values[own], hashes.offsets[own]))
