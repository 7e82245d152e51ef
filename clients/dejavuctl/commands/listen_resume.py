"""``dejavuctl listen resume``."""

from __future__ import annotations

from dejavuctl.listeners import OneListener

DESCRIPTION = "Has a paused listener hear again, and one whose file has ended hear that once more."
EXAMPLES = """\
examples:
  dejavuctl listen resume kitchen
  dejavuctl listen ls                  what there is"""

_COMMAND = OneListener("listen.resume", "resumed")
configure, check, run = _COMMAND.configure, _COMMAND.check, _COMMAND.run
