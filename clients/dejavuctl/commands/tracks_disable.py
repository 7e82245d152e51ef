"""``dejavuctl tracks disable``."""

from __future__ import annotations

from dejavuctl.track_changes import Change

DESCRIPTION = (
    "Keeps tracks in the library and out of all answers, at once.  Asks before it changes more than one by filter."
)
EXAMPLES = """\
examples:
  dejavuctl tracks disable 7
  dejavuctl tracks disable --artist "Test tones" --yes
  dejavuctl tracks ls --disabled       which they are"""

_CHANGE = Change("tracks.disable", "Disable {}", "disabled", "enabled")
configure, check, run = _CHANGE.configure, _CHANGE.check, _CHANGE.run
