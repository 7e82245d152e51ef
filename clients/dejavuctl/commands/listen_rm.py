"""``dejavuctl listen rm``."""

from __future__ import annotations

from dejavuctl.listeners import OneListener

DESCRIPTION = "Stops listening to a source and forgets it."
EXAMPLES = """\
examples:
  dejavuctl listen rm kitchen
  dejavuctl listen ls                  what there is

One of conf, and the microphone that the daemon hears by itself, is there again when the daemon is next started: pause it, or change conf."""

_COMMAND = OneListener("listen.remove", "removed")
configure, check, run = _COMMAND.configure, _COMMAND.check, _COMMAND.run
