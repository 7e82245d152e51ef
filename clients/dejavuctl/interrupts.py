"""Ctrl-C where it does no harm: held back while something is counted, printed or sent, let in where the client waits."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import zmq


@contextmanager
def held_back() -> Iterator[None]:
    """Keep Ctrl-C waiting until the block ends, or until a block inside it lets it in."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # raises KeyboardInterrupt where one waited


@contextmanager
def let_in() -> Iterator[None]:
    """Let Ctrl-C, one that waited too, interrupt the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def poll(poller: zmq.Poller, timeout_ms: int | None) -> list[tuple[Any, int]]:
    """Return what `poller.poll` does; Ctrl-C is let in meanwhile, and ends it also where it came just before.

    Python runs a signal's handler between two of its instructions.  Of one that comes after the last of these and before the system call nobody
    knows until that call ends by itself: a byte in a pipe ends it.
    """
    with held_back():
        if timeout_ms == 0 or threading.current_thread() is not threading.main_thread():  # which gets the signals
            return poller.poll(timeout_ms)
        from zmq import POLLIN  # noqa: PLC0415 - `--help` waits for nothing, and needs no zmq

        woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        before = signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        poller.register(woken, POLLIN)
        try:
            with let_in():
                return [(readable, events) for readable, events in poller.poll(timeout_ms) if readable != woken]
        finally:
            poller.unregister(woken)
            signal.set_wakeup_fd(before)
            os.close(waking)
            os.close(woken)
