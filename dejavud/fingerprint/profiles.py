"""The profiles by name: each is a way to make hashes, and those of one do not meet those of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavud.fingerprint.classic_params import GENERATIONS
from dejavud.fingerprint.params import Params

if TYPE_CHECKING:
    from dejavud.fingerprint.classic_params import ClassicParams

LANDMARK = Params().profile

_CLASSIC = {params.profile: params for params in GENERATIONS.values()}

PROFILES = (LANDMARK, *_CLASSIC)
"""Every name: our own, and one of each generation of dejavu."""


def params_of(given: Params) -> Params | ClassicParams:
    """Return the parameters that ``given.profile`` names: `given` itself, or the constants of a generation of dejavu."""
    return _CLASSIC.get(given.profile, given)
