"""``dejavuctl listen pause``."""

from __future__ import annotations

from dejavuctl.listeners import OneListener

DESCRIPTION = "Has a listener hear nothing, its device or stream closed, until it is resumed, after a restart too."
EXAMPLES = """\
examples:
  dejavuctl listen pause kitchen
  dejavuctl listen ls                  what there is"""

_COMMAND = OneListener("listen.pause", "paused")
configure, check, run = _COMMAND.configure, _COMMAND.check, _COMMAND.run
