"""``dejavuctl tracks enable``."""

from __future__ import annotations

from dejavuctl.track_changes import Change

DESCRIPTION = "Has disabled tracks in answers again, at once.  Asks before it changes more than one by filter."
EXAMPLES = """\
examples:
  dejavuctl tracks enable 7
  dejavuctl tracks enable --path /music/christmas/ --yes"""

_CHANGE = Change("tracks.enable", "Enable {}", "enabled", "disabled")
configure, check, run = _CHANGE.configure, _CHANGE.check, _CHANGE.run
