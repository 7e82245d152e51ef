"""Pictures of constellations: over the spectrogram that they come from, and a clip's over its track's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dejavud.audio.decode import open_audio
from dejavud.errors import InvalidRequest
from dejavud.evaluation.drawing import BLUE, FAINT, GREEN, INK, ORANGE, as_png, new_axes, new_figure
from dejavud.fingerprint.extractor import TrackExtractor
from dejavud.fingerprint.spectrogram import Spectrogram

if TYPE_CHECKING:
    from dejavud.evaluation.settings import PlotSettings
    from dejavud.fingerprint.params import Params
    from dejavud.values import Array, Constellation

SHOWN_DB = 70.0
"""Below the loudest: what is fainter is drawn as silence."""
SETTLED_S = 2.0
"""After a stretch: peaks compete for their place with those that follow, so they are heard as well."""
_NEAR = 1
"""Frames and bins between two peaks that are one."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A part of a recording: float32 [n] at the engine's rate from `start_s` on, and the constellation of all until its end."""

    samples: Array
    constellation: Constellation
    start_s: float


def read_stretch(file: Path, start_s: float, duration_s: float, params: Params) -> Stretch:
    """Return a stretch with the peaks that the index has of it.

    Raises `InvalidRequest` where the recording ends before the stretch begins, and what `open_audio` raises.
    """
    extractor, kept = TrackExtractor(params), [np.empty(0, np.float32)]
    first = params.seconds_to_samples(start_s)
    with open_audio(file, name=str(file), rate_hz=params.rate_hz, limit_s=start_s + duration_s + SETTLED_S) as reader:
        for block in reader:
            extractor.feed(block)
            kept.append(block[max(first - (reader.n_samples - len(block)), 0) :])
        heard_s = params.samples_to_seconds(reader.n_samples)
    samples = np.concatenate(kept)[: params.seconds_to_samples(duration_s)]
    if len(samples) < params.n_fft:
        raise InvalidRequest(reason=f"{file} ends at {heard_s:.2f} s: there is nothing to draw from {start_s:g} s on")
    return Stretch(samples, extractor.finish(), start_s)


def plot_recording(settings: PlotSettings, params: Params) -> tuple[bytes, int]:
    """Return a PNG of the spectrogram with its constellation, and how many peaks it shows."""
    stretch = read_stretch(Path(settings.file), settings.start_s, settings.duration_s, params)
    levels = levels_of(stretch.samples, params)
    figure = new_figure(settings.width_px, settings.height_px)
    end_s = settings.start_s + params.frames_to_seconds(len(levels))
    axes = new_axes(figure, x="time, s", y="frequency, Hz", title=_shown(Path(settings.file).name))
    axes.grid(visible=False)
    loudest = float(levels.max())
    half_frame_s = params.frames_to_seconds(0.5)
    top_hz = levels.shape[1] * params.rate_hz / params.n_fft
    axes.imshow(
        levels.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=loudest - SHOWN_DB,
        vmax=loudest,
        interpolation="nearest",
        extent=(settings.start_s - half_frame_s, end_s - half_frame_s, 0.0, top_hz),
    )
    times_s, hz = positions(stretch.constellation, params)
    within = (times_s >= settings.start_s) & (times_s < end_s)
    axes.scatter(times_s[within], hz[within], s=16, facecolors="none", edgecolors="#7fe3ff", linewidths=0.9)
    axes.set_xlim(settings.start_s - half_frame_s, end_s - half_frame_s)
    axes.set_ylim(0, top_hz)
    return as_png(figure), int(np.count_nonzero(within))


def levels_of(samples: Array, params: Params) -> Array:
    """Return the levels that peaks are found in: float32 [n_frames, n_bins], dB."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, params.n_fft)[:: params.hop_samples]
    return Spectrogram(params).levels(frames)


def positions(constellation: Constellation, params: Params) -> tuple[Array, Array]:
    """Return the peaks in seconds and Hz: float64 [n] each."""
    return (
        constellation.frames * params.frames_to_seconds(1),
        constellation.bins * (params.rate_hz / params.n_fft),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """A clip's constellation and the track that it is laid over.

    clip, track : whole constellations; the clip begins at `start_s` of the track.
    speed, pitch : how many times as fast and as high as the track the clip is.
    """

    clip: Constellation
    track: Constellation
    start_s: float
    length_s: float
    speed: float
    pitch: float


def overlay_picture(overlay: Overlay, params: Params, width_px: int, height_px: int) -> bytes:
    """Return a PNG of the two constellations, with the peaks that both have filled in."""
    figure = new_figure(width_px, height_px)
    axes = new_axes(figure, x="time in the track, s", y="frequency, Hz")
    end_s = overlay.start_s + overlay.length_s * overlay.speed
    track_s, track_hz = positions(overlay.track, params)
    within = (track_s >= overlay.start_s) & (track_s <= end_s)
    track_s, track_hz = track_s[within], track_hz[within]
    clip_s, clip_hz = positions(overlay.clip, params)
    clip_s, clip_hz = overlay.start_s + clip_s * overlay.speed, clip_hz / overlay.pitch
    met = _met(track_s, track_hz, clip_s, clip_hz, params)
    axes.scatter(clip_s, clip_hz, s=9, color=ORANGE, alpha=0.75, linewidths=0, label=f"clip, {len(clip_s)} peaks")
    axes.scatter(
        track_s[~met],
        track_hz[~met],
        s=34,
        facecolors="none",
        edgecolors=BLUE,
        linewidths=1,
        label=f"track, {len(met)}",
    )
    axes.scatter(track_s[met], track_hz[met], s=42, color=GREEN, alpha=0.85, label=f"both, {int(met.sum())}")
    axes.set_xlim(overlay.start_s, end_s)
    axes.set_ylim(0, params.rate_hz / 2)
    axes.grid(visible=True, color=FAINT, alpha=0.35)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8, frameon=False, labelcolor=INK)
    return as_png(figure)


def _met(track_s: Array, track_hz: Array, clip_s: Array, clip_hz: Array, params: Params) -> Array:
    """Return bool [n_track]: whether a peak of the clip lies on it, to the frame and the bin next to it and half of one more."""
    if not len(track_s) or not len(clip_s):
        return np.zeros(len(track_s), bool)
    frames_apart = np.abs(track_s[:, np.newaxis] - clip_s) / params.frames_to_seconds(1)
    bins_apart = np.abs(track_hz[:, np.newaxis] - clip_hz) * params.n_fft / params.rate_hz
    return ((frames_apart <= _NEAR + 0.5) & (bins_apart <= _NEAR + 0.5)).any(axis=1)


def _shown(name: str) -> str:
    """Return a file's name as text that is drawn as it is: $ would begin a formula."""
    return name.encode("utf-8", "replace").decode().replace("$", r"\$")
