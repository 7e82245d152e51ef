"""What one client may ask for, so that he leaves the others something: so much at a time, and so much a second."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from dejavud.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dejavud.services.clients import Client

BURST_S = 10.0
"""A client that was quiet may have as much at once as so many seconds would give him."""
_MAX_CLIENTS = 4096


class Buckets:
    """A token bucket for each name: `burst` things at once, and then `rate` a second.

    Of more than a few thousand names those that were quiet longest are forgotten, as if they had been quiet for long enough.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, name: str) -> float:
        """Return in how many seconds `name` may have one more thing: 0.0 for now."""
        return max(0.0, (1.0 - self._level(name)) / self._rate)

    def take(self, name: str) -> None:
        """Count one thing."""
        self._levels[name] = (max(0.0, self._level(name) - 1.0), self._clock())
        self._levels.move_to_end(name)
        if len(self._levels) > _MAX_CLIENTS:
            self._levels.popitem(last=False)

    def _level(self, name: str) -> float:
        level, at = self._levels.get(name, (self._burst, -math.inf))
        return min(self._burst, level + (self._clock() - at) * self._rate)

    def __len__(self) -> int:
        return len(self._levels)


class ClientLimits:
    """Counts what each client asks for, but for programs of this machine while nobody needs a token: there are no others to leave anything to.

    n_requests : at a time; rate : a second, ten times that at once; 0 limits nothing.
    """

    def __init__(self, n_requests: int = 0, rate: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._running: Counter[str] = Counter()
        self.change(n_requests, rate)

    def change(self, n_requests: int, rate: float) -> None:
        """Go by these from now on; what is in work goes on."""
        self._n_requests, self._rate = n_requests, rate
        self._buckets = Buckets(rate, max(1.0, rate * BURST_S), self._clock) if rate else None

    def count(self, client: Client) -> None:
        """Count one thing asked; raises `RateLimited`."""
        if self._buckets is None or not client.is_limited:
            return
        wait_s = self._buckets.wait_s(client.name)
        if wait_s:
            raise RateLimited(
                client=client.name, what=f"{self._rate:g} requests a second", retry_after_s=_shown(wait_s)
            )
        self._buckets.take(client.name)

    @contextmanager
    def admitted(self, client: Client) -> Iterator[None]:
        """Count one thing asked, as in work while the block goes on; raises `RateLimited`."""
        self.count(client)
        if self._n_requests and client.is_limited and self._running[client.name] >= self._n_requests:
            raise RateLimited(client=client.name, what=f"{self._n_requests} requests at a time", retry_after_s=1.0)
        self._running[client.name] += 1
        try:
            yield
        finally:
            self._running[client.name] -= 1
            if not self._running[client.name]:
                del self._running[client.name]


def _shown(wait_s: float) -> float:
    """Return a wait as clients are told it: a little too long rather than too short."""
    return math.ceil(wait_s * 100) / 100
