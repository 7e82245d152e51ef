"""Ctrl-C at the worst of moments."""

from __future__ import annotations

import ctypes
import operator
import select
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq

from dejavuctl.interrupts import held_back, poll

WAIT_MS = 3000


class Unlucky:
    """A poller whose poll gets Ctrl-C right before its system call: from C to C, with no instruction of Python's between."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.unregister = self._poll.unregister

    def register(self, descriptor: int, _flags: int) -> None:
        """Wait for `descriptor` as well."""
        self._poll.register(descriptor, select.POLLIN)

    def poll(self, timeout_ms: int) -> Any:  # noqa: ANN401 - what poll returns
        """Return what can be read, after a signal that nobody has looked at."""
        interrupt = partial(ctypes.CDLL(None)["raise"], signal.SIGINT)
        return list(map(operator.call, (interrupt, partial(self._poll.poll, timeout_ms))))[1]


def test_ctrl_c_right_before_the_wait_ends_it() -> None:
    """Whether or not it was held back until then; without the byte in the pipe it would be noticed when the wait is over."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())  # by a library of another test
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            poll(Unlucky(), WAIT_MS)  # type: ignore[arg-type] - polls as zmq's do
        with pytest.raises(KeyboardInterrupt), held_back():
            poll(Unlucky(), WAIT_MS)  # type: ignore[arg-type] - polls as zmq's do
        assert time.monotonic() - began < WAIT_MS / 1000
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == blocked


def n_descriptors() -> int:
    """Return how many are open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_wait_costs_no_descriptor() -> None:
    """However often, and however it ends."""
    poll(zmq.Poller(), 1)
    n_before = n_descriptors()
    for _ in range(10):
        assert poll(zmq.Poller(), 1) == []
        with pytest.raises(KeyboardInterrupt):
            poll(Unlucky(), WAIT_MS)  # type: ignore[arg-type] - polls as zmq's do
    assert n_descriptors() == n_before
