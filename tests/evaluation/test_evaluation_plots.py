from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from dejavud.errors import InvalidRequest, UnreadableFile
from dejavud.evaluation.plots import Overlay, overlay_picture, plot_recording, positions, read_stretch
from dejavud.evaluation.run import constellation_of
from dejavud.evaluation.settings import PlotSettings
from dejavud.fingerprint.params import Params
from dejavud.values import Constellation

if TYPE_CHECKING:
    from pathlib import Path

PARAMS = Params()


def settings(music: Path, **changes: object) -> PlotSettings:
    """Return what to draw of a piece."""
    fields = {"file": str(music / "piece1.wav"), "start_s": 2.0, "duration_s": 3.0, "width_px": 900, "height_px": 500}
    return PlotSettings(**{**fields, **changes})


@pytest.mark.parametrize(("width_px", "height_px"), [(900, 500), (333, 777), (1601, 801)])
def test_a_picture_has_the_size_asked_for(music: Path, width_px: int, height_px: int) -> None:
    """To the pixel, and it is no blank sheet."""
    png, n_peaks = plot_recording(settings(music, width_px=width_px, height_px=height_px), PARAMS)
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (width_px, height_px))
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 100
    assert n_peaks > 60


def test_a_picture_is_the_same_again(music: Path) -> None:
    """To the byte."""
    assert plot_recording(settings(music), PARAMS) == plot_recording(settings(music), PARAMS)


def test_it_shows_the_peaks_that_the_index_has(music: Path) -> None:
    """Those of the stretch are those of the whole recording there, although what follows was not heard to its end."""
    stretch = read_stretch(music / "piece1.wav", 2.0, 3.0, PARAMS)
    whole = constellation_of(music / "piece1.wav", PARAMS)

    def within(constellation: Constellation) -> list[tuple[float, float]]:
        times_s, hz = positions(constellation, PARAMS)
        return [at for at in zip(times_s.tolist(), hz.tolist(), strict=True) if 2.0 <= at[0] < 5.0]

    assert within(stretch.constellation) == within(whole)
    assert len(within(whole)) > 60
    assert len(stretch.samples) == 3 * PARAMS.rate_hz


def test_peaks_are_where_their_sound_is() -> None:
    """Frame and bin in seconds and Hz, up to the last bin."""
    times_s, hz = positions(Constellation(np.array([0, 125]), np.array([8, 479]), 200, np.zeros(2)), PARAMS)
    assert times_s.tolist() == [0.0, 4.0]
    assert hz.tolist() == [62.5, 479 * 7.8125]


def test_past_the_end_there_is_nothing_to_draw(music: Path, tmp_path: Path) -> None:
    """A stretch that begins after the recording ends, and a file that is not there, are refused with the reason."""
    with pytest.raises(InvalidRequest, match=r"ends at 9.00 s: there is nothing to draw from 30 s on"):
        plot_recording(settings(music, start_s=30.0), PARAMS)
    with pytest.raises(UnreadableFile, match="there is no such file"):
        plot_recording(settings(music, file=str(tmp_path / "none.wav")), PARAMS)


def test_constellations_are_laid_over_each_other(music: Path) -> None:
    """A clip that is sped up is drawn on the track's own time, where its peaks meet the track's again; also when it has none."""
    track = constellation_of(music / "piece1.wav", PARAMS)
    clip = Constellation(track.frames[:50], track.bins[:50], 100, track.quarters[:50])
    empty = Constellation(np.empty(0), np.empty(0), 0, np.empty(0))
    pictures = [
        overlay_picture(Overlay(of, track, 0.0, 2.0, speed, 1.0), PARAMS, 640, 320)
        for of, speed in ((clip, 1.0), (clip, 1.05), (empty, 1.0))
    ]
    assert len(set(pictures)) == 3
    for png in pictures:
        with Image.open(io.BytesIO(png)) as picture:
            assert picture.size == (640, 320)
