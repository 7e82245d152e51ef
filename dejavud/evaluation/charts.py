"""The charts of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.evaluation.drawing import BLUE, FAINT, GREEN, INK, LINES, MARKERS, ORANGE, as_png, new_axes, new_figure
from dejavud.evaluation.measures import calibration, cells, false_answers, roc, song_accuracy, storage, times_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from dejavud.evaluation.run import Results

WIDTH_PX, HEIGHT_PX = 1280, 720

DEJAVU_S_A_SECOND = 1.36
"""dejavu's README: matching a recording of n seconds took 1.36 n seconds."""
DEJAVU_BYTES_A_SONG = 8.4e6
"""The same: 377 MB of fingerprints for its 45 songs."""

_ROOM_BELOW = 15.0
"""Per cent that are shown below the lowest point."""
_ABREAST = 0.5
"""Of the distance between two lengths: how far apart the conditions of one are drawn."""
_LEAST, _MOST = 1e-4, 1 - 1e-4
"""What the calibration's scales show of 0 and 1, which are infinitely far away on them."""


def accuracy_chart(results: Results) -> bytes:
    """Return a PNG: right tracks by length, one line a condition."""
    figure = new_figure(WIDTH_PX, HEIGHT_PX)
    axes = new_axes(figure, x="length of the clip, s", y="right track named, %")
    by_cell = cells(results.queries)
    lengths = results.settings.lengths_s
    places = np.arange(len(lengths))
    conditions = results.settings.conditions
    for number, condition in enumerate(conditions):
        shares = [song_accuracy(by_cell.get((condition, length_s), [])) for length_s in lengths]
        beside = places + _ABREAST * (
            (number + 0.5) / len(conditions) - 0.5
        )  # or many a line would hide another at 100
        colour, marker = LINES[number % len(LINES)], MARKERS[number % len(MARKERS)]
        axes.vlines(
            beside, *100 * np.array([share.interval for share in shares]).T, color=colour, alpha=0.3, linewidth=2
        )
        values = [100 * share.value for share in shares]
        axes.plot(beside, values, color=colour, marker=marker, markersize=5, linewidth=1.5, label=condition)
    axes.set_xticks(places, [f"{length_s:g}" for length_s in lengths])
    axes.set_ylim(-2, 102)
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return as_png(figure)


def calibration_chart(results: Results) -> bytes:
    """Return a PNG: how often guesses were right, against how sure they were."""
    figure = new_figure(HEIGHT_PX, HEIGHT_PX)
    axes = new_axes(figure, x="predicted: confidence of the best guess", y="observed: share of them that were right")
    axes.set_xscale("logit")
    axes.set_yscale("logit")
    ends = np.array([_LEAST, _MOST])
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle=":", label="what is meant")
    threshold = results.config.recognize.min_confidence
    axes.axvline(np.clip(threshold, *ends), color=FAINT, linewidth=1, linestyle="--", label="named from here on")
    for of in calibration(results.queries):
        x, y = np.clip([of.predicted, of.observed.value], _LEAST, _MOST)
        low, high = np.clip(of.observed.interval, _LEAST, _MOST)
        axes.vlines(x, low, high, color=BLUE, linewidth=1.5, alpha=0.5)
        axes.plot([x], [y], "o", color=BLUE, markersize=6)
        axes.annotate(f"{of.observed.whole}", (x, y), (6, -9), textcoords="offset points", fontsize=7, color=INK)
    ticks = [1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, _MOST]
    names = ["0", "0.1 %", "1 %", "10 %", "50 %", "90 %", "99 %", "99.9 %", "1"]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, names)
        axis.set_ticks([], minor=True)
    axes.set_xlim(0.7e-4, 1 - 0.7e-4)
    axes.set_ylim(0.7e-4, 1 - 0.7e-4)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    return as_png(figure)


def roc_chart(results: Results) -> bytes:
    """Return a PNG: right answers against false ones over all thresholds, one line a length."""
    figure = new_figure(HEIGHT_PX, HEIGHT_PX)
    axes = new_axes(figure, x="unknown clips answered, %", y="known clips answered rightly, %")
    n_unknown, lowest = false_answers(results.queries).whole, 100.0
    for number, length_s in enumerate(results.settings.lengths_s):
        queries = [query for query in results.queries if query.length_s == length_s]
        curve, colour = roc(queries), LINES[number % len(LINES)]
        axes.step(
            100 * curve.false, 100 * curve.right, color=colour, where="post", linewidth=1.6, label=f"{length_s:g} s"
        )
        here = 100 * false_answers(queries).value if n_unknown else 0.0
        right = 100 * song_accuracy(queries).value
        lowest = min(lowest, right)
        axes.plot([here], [right], "o", color=colour, markersize=7, clip_on=False)
    axes.set_xscale("symlog", linthresh=100 / max(10, n_unknown // len(results.settings.lengths_s)), linscale=0.4)
    ticks = [tick for tick in (0, 1, 2, 5, 10, 20, 50, 100) if tick == 0 or tick * n_unknown >= 100]  # noqa: PLR2004 - a query is a per cent of a hundred
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlim(0, 100)
    axes.set_ylim(max(0.0, lowest - _ROOM_BELOW), 102)
    axes.legend(frameon=False, fontsize=8, loc="lower right", title="dots: as it is set", title_fontsize=8)
    return as_png(figure)


def time_chart(results: Results) -> bytes:
    """Return a PNG: time to match by length, beside dejavu's."""
    figure = new_figure(WIDTH_PX, HEIGHT_PX)
    axes = new_axes(figure, x="length of the clip, s", y="time to match, s")
    lengths = [length_s for length_s in results.settings.lengths_s if len(times_ms(results.queries, length_s))]
    taken = [times_ms(results.queries, length_s) / 1000 for length_s in lengths]
    for length_s, times in zip(lengths, taken, strict=True):
        axes.vlines(length_s, *np.quantile(times, (0.05, 0.95)), color=BLUE, linewidth=7, alpha=0.25)
    medians = [float(np.median(times)) for times in taken]
    axes.plot(lengths, medians, "o-", color=BLUE, linewidth=1.8, label="here: median, and where 90 % lie")
    axes.plot(
        lengths, [DEJAVU_S_A_SECOND * length_s for length_s in lengths], "--", color=ORANGE, label="dejavu: 1.36 n"
    )
    axes.plot(lengths, lengths, ":", color=INK, linewidth=1, label="real time")
    axes.set_yscale("log")
    axes.set_xlim(left=0)
    axes.set_xticks(lengths, [f"{length_s:g}" for length_s in lengths])
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return as_png(figure)


def storage_chart(results: Results) -> bytes:
    """Return a PNG: the index's bytes beside those of the audio, and beside dejavu's."""
    figure = new_figure(WIDTH_PX, HEIGHT_PX // 2)
    axes = new_axes(figure, x="megabytes", y="")
    kept = storage(results.library)
    n_songs = kept.audio_s / 240
    rows = [
        ("this index", kept.index_bytes, GREEN),
        ("dejavu's fingerprints, for as many songs", n_songs * DEJAVU_BYTES_A_SONG, ORANGE),
        (f"the files as they are ({', '.join(kept.by_format)})", kept.files_bytes, BLUE),
        ("the same music as wav", kept.wav_bytes, FAINT),
    ]
    for place, (_, n_bytes, colour) in enumerate(rows):
        axes.barh(place, n_bytes / 1e6, color=colour, height=0.62)
        axes.annotate(f" {n_bytes / 1e6:.3g} MB", (n_bytes / 1e6, place), va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    return as_png(figure)


CHARTS: dict[str, Callable[[Results], bytes]] = {
    "accuracy": accuracy_chart,
    "calibration": calibration_chart,
    "roc": roc_chart,
    "time": time_chart,
    "storage": storage_chart,
}
"""By the name of its file."""
