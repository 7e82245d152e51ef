"""Many conversations with the daemon at once: a bounded number in flight, none waiting for another."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from dejavuctl.failures import Failed
from dejavuctl.jobs import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dejavuctl.connection import Connection
    from dejavuctl.files import AudioFile, Names
    from dejavuctl.jobs import Ask, Job
    from dejavud.wire.messages import Reply, RequestId

LOOKAHEAD = 8
"""Answers, for each conversation in flight, that may wait for an earlier one when they are wanted in order."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
BUSY_S = 120.0
"""How long a daemon may say that it is busy before that is the answer."""
CANCEL_S = 2.0
"""How long to wait for the daemon to confirm that it stopped."""
TURN_S = 0.25
"""A turn without news; progress is shown at least this often."""


@dataclass(slots=True)
class Running:
    """A conversation under way.

    fraction : how far the daemon says it is, 0..1.
    """

    index: int
    file: AudioFile
    job: Job
    ask: Ask
    fraction: float = 0.0
    busy_since: float | None = None
    pause_s: float = FIRST_PAUSE_S


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one file: a result, or the failure."""

    file: AudioFile
    result: dict[str, Any] | None = None
    failure: Failed | None = None


class Pipeline:
    """Runs a conversation a file, `n_jobs` at a time.

    in_order : yield in the order of the files instead of as they finish.

    Run it with Ctrl-C held back (`dejavuctl.interrupts`): it lets it in where it waits, and then nothing is half done.
    """

    def __init__(
        self, connection: Connection, start: Callable[[AudioFile], Job], *, n_jobs: int, in_order: bool
    ) -> None:
        self._connection = connection
        self._start = start
        self._n_jobs = n_jobs
        self._in_order = in_order
        self._in_flight: dict[RequestId, Running] = {}
        self._paused: list[tuple[float, int, Running]] = []
        self._done: dict[int, Done] = {}
        self._n_started = 0
        self._n_yielded = 0

    @property
    def running(self) -> list[Running]:
        """The conversations under way."""
        return [*self._in_flight.values(), *(running for _, _, running in self._paused)]

    def run(self, names: Names) -> Iterator[Done | None]:
        """Yield what became of each file, and None now and then while nothing is finished: time to show progress.

        Raises `NoDaemon` when the daemon goes away; what was yielded before stays true.
        """
        while True:
            wants_more = self._fill(names)
            yield from self._finished()
            if not self.running:
                if names.exhausted and not self._done:
                    return
                if not wants_more or names.fd is None:
                    continue
            self._turn(names.fd if wants_more else None)
            yield None

    def cancel(self) -> None:
        """Stop everything that is under way, in the daemon too, and wait a moment until it has confirmed."""
        stopped = self.running
        self._connection.cancel(list(self._in_flight))
        self._in_flight.clear()
        self._paused.clear()
        for running in stopped:
            try:
                last_words = running.job.throw(Cancelled())
            except (Cancelled, Failed, StopIteration):
                continue
            self._connection.send(last_words.method, last_words.params)
        deadline = time.monotonic() + CANCEL_S
        while self._connection.is_waiting and (left_s := deadline - time.monotonic()) > 0:
            self._connection.receive(left_s)

    def _fill(self, names: Names) -> bool:
        """Start conversations while there is room; return whether there is room for more files than are at hand."""
        while len(self._in_flight) + len(self._paused) < self._n_jobs:
            if self._in_order and self._n_started - self._n_yielded >= self._n_jobs * LOOKAHEAD:
                return False
            file = names.take()
            if file is None:
                return not names.exhausted
            index, self._n_started = self._n_started, self._n_started + 1
            job = self._start(file)
            self._advance(index, file, job, partial(next, job))
        return False

    def _advance(self, index: int, file: AudioFile, job: Job, step: Callable[[], Ask]) -> None:
        """Let a conversation take its next `step` and send what it asks, or keep what it came to."""
        try:
            ask = step()
        except StopIteration as end:
            self._done[index] = Done(file, result=end.value)
        except Failed as failure:
            self._done[index] = Done(file, failure=failure)
        else:
            self._send(Running(index, file, job, ask))

    def _send(self, running: Running) -> None:
        ask = running.ask
        self._in_flight[self._connection.send(ask.method, ask.params, ask.audio)] = running

    def _finished(self) -> Iterator[Done]:
        while self._done:
            index = self._n_yielded if self._in_order else next(iter(self._done))
            if index not in self._done:
                return
            done = self._done.pop(index)
            self._n_yielded += 1
            yield done

    def _turn(self, fd: int | None) -> None:
        """Wait for news and act on them."""
        now = time.monotonic()
        while self._paused and self._paused[0][0] <= now:
            self._send(heapq.heappop(self._paused)[2])
        wait_s = min(TURN_S, self._paused[0][0] - now) if self._paused else TURN_S
        for reply in self._connection.receive(wait_s, also_fd=fd):
            if reply.id is None or reply.id not in self._in_flight:
                continue
            if reply.progress is not None:
                _note_progress(self._in_flight[reply.id], reply.progress)
                continue
            self._hear(self._in_flight[reply.id], reply, now)
            del self._in_flight[reply.id]

    def _hear(self, running: Running, reply: Reply, now: float) -> None:
        """Let a conversation go on with the reply it waited for, or wait longer when the daemon was busy."""
        try:
            step = partial(running.job.send, self._connection.result_of(reply))
        except Failed as failure:
            if failure.code == "busy" and self._pause(running, now):
                return
            step = partial(running.job.throw, failure)
        self._advance(running.index, running.file, running.job, step)

    def _pause(self, running: Running, now: float) -> bool:
        """Keep a request that a busy daemon refused for later; tell whether there is patience left for that."""
        if running.busy_since is None:
            running.busy_since = now
        if now - running.busy_since > BUSY_S:
            return False
        heapq.heappush(self._paused, (now + running.pause_s, running.index, running))
        running.pause_s = min(2 * running.pause_s, LONGEST_PAUSE_S)
        return True


def _note_progress(running: Running, figures: dict[str, Any]) -> None:
    done_s, total_s = figures.get("done_s"), figures.get("total_s")
    if isinstance(done_s, int | float) and isinstance(total_s, int | float) and total_s > 0:
        running.fraction = min(1.0, done_s / total_s)
