"""dejavuctl: the command-line client of dejavud.  It speaks the control socket's protocol and starts fast."""
