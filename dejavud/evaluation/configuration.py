"""The configuration that an evaluation and a picture go by: that of a daemon started here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.config import Arguments, load
from dejavud.errors import InvalidRequest
from dejavud.fingerprint.profiles import LANDMARK

if TYPE_CHECKING:
    from dejavud.config import Config


def own_configuration() -> Config:
    """Return the configuration.

    Raises `InvalidConfig` where it is wrong, and `InvalidRequest` where its profile has no constellations, which is what is drawn and compared.
    """
    config = load(Arguments(None, False, False, {}), os.environ, Path.cwd()).config  # noqa: FBT003 - neither only checks nor prints
    if config.engine.profile != LANDMARK:
        reason = (
            f"conf sets the profile {config.engine.profile}, and evaluations and plots are made with {LANDMARK} only: "
            f"type DEJAVUD_ENGINE_PROFILE={LANDMARK} before the command"
        )
        raise InvalidRequest(reason=reason)
    return config
