"""Work that the client does not do itself: it needs numerics and decoders, which starting the client must not wait for."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

from dejavuctl.failures import Usage

if TYPE_CHECKING:
    from dejavud.evaluation.settings import EvaluateSettings, PlotSettings


def hand_over(work: str, settings: EvaluateSettings | PlotSettings) -> NoReturn:
    """Become the process that does `work`: terminal, signals and exit status are its own from here on.

    Raises `Usage` in the single file, which is without what such work takes.
    """
    if find_spec("numpy") is None:
        raise Usage(
            reason="measuring and drawing are not in the single file: they take SciPy and matplotlib; "
            "install those beside it, in an environment of their own: pip install 'dejavud[plots]'"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a module of the folder that one happens to stand in is not imported for one of ours.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "dejavud.evaluation", work, settings.to_json()])  # noqa: S606 - no shell, our own interpreter
