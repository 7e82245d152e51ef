"""Fixtures that tests of several floors share."""

import signal

pytest_plugins = ["databases", "fixtures_sound", "shards"]

# A shell without job control starts what it puts into the background with SIGINT ignored, and the programs that the tests
# interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
