"""The daemon from the live view's side: found, followed, lost and found again, without ever making the view wait."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from dejavuctl.commands.events import Place
from dejavuctl.failures import Failed, ForeignProtocol
from dejavuctl.live.scene import KEPT_PLAYS, METER
from dejavuctl.subscription import Subscription
from dejavud.errors import DejavudError, InvalidRequest
from dejavud.wire.codec import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import zmq

    from dejavuctl.connection import Connection
    from dejavuctl.live.scene import Scene
    from dejavuctl.session import Session
    from dejavud.wire.messages import Reply, RequestId

    Taker = Callable[[dict[str, Any]], None]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
"""Between two looks whether the daemon is back; a look is one at a file, or one connection."""
TOPICS = ["match.", "listener."]
MAX_WAITING = 10_000
"""Events that come while those before them are asked for; as many as the daemon keeps, so that what is dropped could not be had anyway."""
PAGE = 1000


class Link:
    """Keeps `scene` as the daemon tells it.  Poll `sockets`, and call `step` when one of them is readable or a second has passed.

    It subscribes to all events, so that a number that is left out is an event that was lost: then it asks for what came after the last
    one it knows, and what is no longer kept is counted.  At first, and after the daemon was away, it also asks how the listeners are and
    what was played; nothing else is ever asked of the daemon.

    reason : why there is no daemon; empty where there is one.
    version : of the daemon that was there last.
    """

    def __init__(self, session: Session, scene: Scene, *, with_history: bool) -> None:
        self.reason, self.version = "", ""
        self.retry_at = 0.0
        self._session, self._scene = session, scene
        self._with_history = with_history
        self._connection: Connection | None = None
        self._subscription: Subscription | None = None
        self._takers: dict[RequestId, Taker] = {}
        self._refusals: dict[RequestId, str] = {}
        self._place: Place | None = None
        self._is_behind = True
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)
        self._pause_s = FIRST_PAUSE_S
        self._now = 0.0

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """Return what becomes readable when there is something to do."""
        parts = (self._connection, self._subscription)
        return tuple(socket for part in parts if part is not None for socket in part.sockets)

    def step(self, now: float) -> None:
        """Take what has come, and connect when it is time; `now` is monotonic.  Never waits."""
        self._now = now
        try:
            if self._connection is None:
                if now >= self.retry_at:
                    self._open()
                return
            for reply in self._connection.receive(0):
                self._answer(reply)
            if self._subscription is not None:
                was_greeted = self._subscription.is_greeted
                for frames in self._subscription.receive():
                    self._hear(self._decoded(frames))
                if self._subscription.is_greeted and not was_greeted:
                    self._catch_up()
        except (DejavudError, Failed) as error:
            self._lose(error.message)

    def pause(self, listener: str, *, paused: bool) -> None:
        """Have a listener paused or resumed; that it is so, an event tells."""
        try:
            if self._connection is not None and self._place is not None:
                method = "listen.pause" if paused else "listen.resume"
                self._ask(method, {"name": listener}, lambda _: None, refusal=f"{listener} is as it was")
        except DejavudError as error:
            self._lose(error.message)

    def close(self) -> None:
        """Leave the daemon."""
        subscription, self._subscription = self._subscription, None
        connection, self._connection = self._connection, None
        if subscription is not None:
            subscription.__exit__()
        if connection is not None:
            connection.close()

    # -- finding it -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self._connection = self._session.connect()
        self._takers, self._refusals = {}, {}
        self._is_behind = True
        self._waiting.clear()
        self._ask("status", {}, self._follow)

    def _follow(self, status: Mapping[str, Any]) -> None:
        endpoint = self._session.events_endpoint(status)
        self.version = str(status.get("version", ""))
        self._subscription = Subscription(endpoint, ["", METER], self._session.key)

    def _lose(self, reason: str) -> None:
        self.close()
        if not self.reason:
            self._pause_s = FIRST_PAUSE_S
        self.reason, self.retry_at = reason, self._now + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self._scene.is_changed = True

    # -- following it -----------------------------------------------------------------------------------------------

    def _hear(self, event: dict[str, Any]) -> None:
        """Take an event in its turn; where one before it is missing, that first."""
        if event.get("seq") is None:
            if not self.reason:
                self._scene.take(event, self._now)
        elif self._is_behind or self._place is None:
            self._waiting.append(event)
        elif event["daemon"] == self._place.daemon and event["seq"] <= self._place.seq:
            return
        elif Place(event["daemon"], event["seq"] - 1) == self._place:
            self._place = Place(event["daemon"], event["seq"])
            self._scene.take(event, self._now)
        else:
            self._waiting.append(event)
            self._catch_up()

    def _catch_up(self) -> None:
        """Ask for what came after the last event that is known; at first, only for its number."""
        self._is_behind = True
        place = self._place
        if place is None:
            self._ask("events.replay", {"topics": [METER], "limit": 1}, self._begin)
        else:
            asked = {"after": place.seq, "daemon": place.daemon, "topics": TOPICS, "limit": PAGE}
            self._ask("events.replay", asked, self._take_missed)

    def _begin(self, page: Mapping[str, Any]) -> None:
        self._place = Place(page["daemon"], page["seq"])
        self._look_around()

    def _take_missed(self, page: Mapping[str, Any]) -> None:
        self._scene.n_lost += page["lost"]
        for event in page["events"]:
            self._scene.take(event, self._now)
        self._place = Place(page["daemon"], page["seq"] if page["next"] is None else page["next"])
        if page["next"] is not None:
            self._catch_up()
        elif self.reason or page["lost"]:
            self._look_around()
        else:
            self._go_on()

    def _look_around(self) -> None:
        """Ask how all is, where events alone do not tell."""
        self._ask("listen.list", {}, self._take_listeners)
        if self._with_history:
            only = {"listener": self._scene.only} if self._scene.only else {}
            refusal = "what was played before cannot be read now"
            self._ask("history.list", {"limit": KEPT_PLAYS, **only}, self._take_history, refusal=refusal)

    def _take_listeners(self, answer: Mapping[str, Any]) -> None:
        if self._place is not None and self._place.daemon is not None:
            self._scene.show_listeners(answer["listeners"], self._place.daemon)
        self.reason = ""
        self._go_on()

    def _take_history(self, answer: Mapping[str, Any]) -> None:
        self._scene.show_history(answer["plays"])

    def _go_on(self) -> None:
        """Take what has come meanwhile."""
        self._is_behind = False
        waiting, self._waiting = self._waiting, deque(maxlen=MAX_WAITING)
        for event in waiting:
            self._hear(event)

    # -- asking it --------------------------------------------------------------------------------------------------

    def _ask(self, method: str, params: Mapping[str, Any], take: Taker, *, refusal: str = "") -> None:
        """Send a request whose result goes to `take`.  Where it fails `refusal` is said, or, without one, the daemon is no use."""
        if self._connection is not None:
            request_id = self._connection.send(method, params)
            self._takers[request_id], self._refusals[request_id] = take, refusal

    def _answer(self, reply: Reply) -> None:
        if self._connection is None or reply.id is None or reply.progress is not None or reply.id not in self._takers:
            return
        take, refusal = self._takers.pop(reply.id), self._refusals.pop(reply.id)
        try:
            take(self._connection.result_of(reply))
        except Failed as failure:
            if not refusal:
                raise
            self._scene.note = f"{refusal}: {failure.message}"
            self._scene.is_changed = True

    def _decoded(self, frames: list[bytes]) -> dict[str, Any]:
        try:
            event = decode(frames[-1])
        except InvalidRequest as error:
            raise ForeignProtocol(endpoint=self._session.endpoint, reason=error.message) from None
        if not isinstance(event, dict) or not {"topic", "data", "daemon"} <= event.keys():
            raise ForeignProtocol(endpoint=self._session.endpoint, reason="an event that is none")
        return event
