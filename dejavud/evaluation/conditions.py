"""What is done to clips before they are asked about: the names and the reasons, standard library only.

The client lists and checks them; `dejavud.evaluation.degrade` does them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_CHANGE_PERCENT = 10.0
"""Of speed and pitch: music that is moved further is another performance to any listener."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One way in which a clip differs from the recording that it is cut from.

    name : as it is typed and shown.
    kind : one of `REASONS`.
    value : dB of noise and babble, per cent of speed and pitch; 0 where the kind has none.
    """

    name: str
    kind: str
    value: float = 0.0

    @property
    def speed(self) -> float:
        """Return how many times as fast as the recording the clip plays."""
        return 1.0 + self.value / 100.0 if self.kind == "speed" else 1.0

    @property
    def reason(self) -> str:
        """Return what it is like, in one line."""
        return REASONS[self.kind].format(value=self.value)


REASONS = {
    "clean": "the recording itself: what any recognizer must know",
    "mp3_64k": "a small mp3 of it (64 kbit/s): a download, a stream, a video",
    "phone": "over the telephone: 300 to 3400 Hz through a mobile phone's speech codec",
    "room": "a small loudspeaker in a room that rings for half a second",
    "roomnoise": "that room with pink noise at 5 dB and talkers at 10 dB: a phone held up in a bar",
    "noise": "pink noise at {value:g} dB: traffic, wind, an engine; at 0 dB it is as loud as the music",
    "babble": "several people talking at {value:g} dB: a café, a party; at 0 dB they are as loud as the music",
    "speed": "speed and pitch {value:+g} %: turntables, cheap clocks, radio stations in a hurry",
    "pitch": "pitch moved by {value:+g} %, tempo kept: a DJ's key lock, a disguised upload",
}
_FIXED = ("clean", "mp3_64k", "phone", "room", "roomnoise")
_WITH_VALUE = re.compile(r"(noise|babble|speed|pitch)([+-]?\d+(?:\.\d+)?)")

DEFAULT_CONDITIONS = (
    "clean",
    "mp3_64k",
    "noise5",
    "noise0",
    "babble0",
    "room",
    "roomnoise",
    "phone",
    "speed+2",
    "pitch+3",
)
_EXAMPLES = (*_FIXED, "noise5", "noise0", "noise-5", "babble5", "babble0", "speed+2", "speed-4", "pitch+3")


def condition_of(name: str) -> Condition:
    """Return the condition that `name` names; raises `ValueError` with what could have been meant."""
    if name in _FIXED:
        return Condition(name, name)
    found = _WITH_VALUE.fullmatch(name)
    if found is None:
        near = get_close_matches(name, _EXAMPLES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_EXAMPLES)} and their like"
        msg = f"there is no condition {name!r}; {hint}"
        raise ValueError(msg)
    kind, value = found[1], float(found[2])
    if kind in {"speed", "pitch"} and not 0 < math.fabs(value) <= MAX_CHANGE_PERCENT:
        msg = f"{name}: {kind} can be changed by up to {MAX_CHANGE_PERCENT:g} % either way"
        raise ValueError(msg)
    if kind in {"noise", "babble"} and math.fabs(value) > 60:  # noqa: PLR2004 - beyond, one of the two is not heard
        msg = f"{name}: the level is in dB, from -60 to 60"
        raise ValueError(msg)
    return Condition(name, kind, value)


def conditions_of(names: Iterable[str]) -> tuple[Condition, ...]:
    """Return the conditions that `names` name, each once; raises `ValueError` as `condition_of` does."""
    return tuple(condition_of(name) for name in dict.fromkeys(names))
