"""The live view of ``dejavuctl listen`` in a terminal.  Only that command imports it, and only it imports rich."""
