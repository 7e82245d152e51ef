"""What ``dejavuctl`` hands over, standard library only: it crosses to the process that does the work as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from dejavud.evaluation.conditions import DEFAULT_CONDITIONS

if TYPE_CHECKING:
    from typing import Self

DEFAULT_OUT = "dejavud-evaluation"


@dataclass(frozen=True, slots=True)
class _Settings:
    def to_json(self) -> str:
        """Return these settings as `from_json` takes them; file names may hold bytes that are no text."""
        return json.dumps(asdict(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the settings that `to_json` wrote."""
        fields = {name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class EvaluateSettings(_Settings):
    """One evaluation.

    folder : whose recordings are evaluated.
    lengths_s : of the clips, ascending; the shorter ones are the beginnings of the longest.
    n_clips : clips of known music a condition; of unknown music there are half as many.
    padding_s : no clip is cut from so much of either end of a recording.
    seed : the same one cuts and degrades the same clips.
    conditions : names, see `dejavud.evaluation.conditions`.
    hold_out : share of the recordings, 0 to less than 1, that is kept out of the index and asked about all the same.
    n_tracks : recordings drawn from the folder, at most.
    out : folder of the report.
    as_json : print the summary as JSON.
    """

    folder: str
    lengths_s: tuple[float, ...] = (1.0, 2.0, 3.0, 5.0, 10.0)
    n_clips: int = 50
    padding_s: float = 8.0
    seed: int = 42
    conditions: tuple[str, ...] = field(default=DEFAULT_CONDITIONS)
    hold_out: float = 0.2
    n_tracks: int = 500
    out: str = DEFAULT_OUT
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class PlotSettings(_Settings):
    """One picture of a recording.

    start_s, duration_s : the stretch that is shown.
    out : the PNG file.
    width_px, height_px : its size.
    """

    file: str
    start_s: float = 0.0
    duration_s: float = 10.0
    out: str = "constellation.png"
    width_px: int = 1600
    height_px: int = 800
    as_json: bool = False
