"""``dejavuctl tracks rm``."""

from __future__ import annotations

from dejavuctl.track_changes import Change

DESCRIPTION = "Removes tracks from the library; the audio files stay where they are.  Asks before it does."
EXAMPLES = """\
examples:
  dejavuctl tracks rm 7
  dejavuctl tracks rm 7 8 9 --yes      without asking, as a script must
  dejavuctl tracks rm --path /old/disk/ --dry-run
  dejavuctl tracks rm --artist Chopin --search live"""

_CHANGE = Change("tracks.remove", "Remove {} from the library", "removed", "all", asks_always=True)
configure, check, run = _CHANGE.configure, _CHANGE.check, _CHANGE.run
