"""MQTT: what plays and how listeners are, retained at a broker, and Home Assistant told of them."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog
import trio

from dejavud.hooks.base import Figures, HookFailed
from dejavud.hooks.home_assistant import availability_topic, playing_payload, retained, topics_of
from dejavud.hooks.mqtt_connection import ACKNOWLEDGED_S, open_connection
from dejavud.hooks.now_playing import NowPlaying, follow, identifier
from dejavud.hooks.settings import shown_url
from dejavud.wire.codec import encode

if TYPE_CHECKING:
    from dejavud.hooks.base import ListenerViews, Thread
    from dejavud.hooks.mqtt_connection import MqttConnection
    from dejavud.hooks.settings import HookSettings
    from dejavud.services.events import Event, EventHub

log = structlog.get_logger(__name__)

SETTLE_S = 30.0
"""After its start a daemon has all its listeners; what the broker keeps of others is from an earlier life."""
GRACE_S = 2.0
MAX_FOUND = 1000
"""Listeners of an earlier life that are looked for at a time."""


class MqttHook:
    """Keeps a broker up to date: see `dejavud.hooks.base.Hook`.

    Nothing waits while the broker is away: on its return it is told how things are then.
    """

    name = kind = "mqtt"

    def __init__(
        self,
        hub: EventHub,
        listeners: ListenerViews,
        settings: HookSettings,
        thread: Thread,
        *,
        settle_s: float = SETTLE_S,
    ) -> None:
        self.target = shown_url(settings.mqtt_url)
        self.figures = Figures()
        self._hub = hub
        self._listeners = listeners
        self._settings = settings
        self._thread = thread
        self._settled_at = trio.current_time() + settle_s
        self._connection: MqttConnection | None = None
        self._known: set[str] = set()
        self._published: dict[str, bytes] = {}
        self._wanted: dict[str, bytes] = {}
        self._found: set[str] = set()

    @property
    def n_waiting(self) -> int:
        """Return how many messages the broker has not acknowledged."""
        return 0 if self._connection is None else len(self._connection.unacknowledged)

    async def run(self) -> None:
        """Keep the broker up to date until cancelled, and then take leave of it."""
        self._published = {}
        availability = availability_topic(self._settings)
        async with open_connection(
            self._settings, self._thread, will_topic=availability, on_acknowledged=self._acknowledged
        ) as connection:
            self._connection = connection
            try:
                connection.publish(availability, b"online")
                connection.on_retained = self._find
                connection.subscribe(self._kept_states)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._sweep, connection)
                    await follow(self._hub, self._listeners, self.figures, partial(self._show, connection))
            finally:
                self._connection = None
                with trio.CancelScope(shield=True), trio.move_on_after(GRACE_S), suppress(HookFailed):
                    await self._say_last_words(connection)

    async def test(self, sample: Event) -> str:
        """Publish a sample, not retained, and wait until the broker has it."""
        if self._connection is None:
            raise HookFailed(self.figures.last_error or "there is no connection to the broker yet")
        topic = f"{self._settings.mqtt_prefix}/{identifier(str(sample.data['listener']))}/now_playing"
        now = NowPlaying(list)
        now.take(sample)
        payload = encode(playing_payload(str(sample.data["listener"]), now.latest))
        started = trio.current_time()
        with trio.move_on_after(ACKNOWLEDGED_S) as patience:
            await self._connection.publish(topic, payload, retain=False).wait()
        if patience.cancelled_caught:
            msg = f"the broker has not acknowledged it within {ACKNOWLEDGED_S:g} s"
            raise HookFailed(msg)
        elapsed_ms = round((trio.current_time() - started) * 1000)
        return f"{len(payload)} bytes at {topic}, acknowledged after {elapsed_ms} ms"

    @property
    def _kept_states(self) -> str:
        return f"{self._settings.mqtt_prefix}/+/state"

    def _acknowledged(self) -> None:
        self.figures.n_delivered += 1

    def _find(self, topic: str) -> None:
        if len(self._found) < MAX_FOUND:
            self._found.add(topic)

    async def _show(self, connection: MqttConnection, now: NowPlaying) -> None:
        """Publish what differs from what the broker keeps, and take back what is of listeners that are gone."""
        self._wanted = retained(self._settings, now)
        for topic, payload in self._wanted.items():
            if self._published.get(topic) != payload:
                connection.publish(topic, payload)
                self._published[topic] = payload
        for topic in self._known - self._wanted.keys():
            connection.publish(topic, b"")
            self._published.pop(topic, None)
        self._known = set(self._wanted)

    async def _sweep(self, connection: MqttConnection) -> None:
        """Once it is known which listeners there are, take back what the broker keeps of others."""
        await trio.sleep_until(max(self._settled_at, trio.current_time() + 1))
        connection.unsubscribe(self._kept_states)
        for topic in self._found - self._wanted.keys():
            slug = topic.split("/")[-2]
            for stale in topics_of(self._settings, slug).values():
                connection.publish(stale, b"")
            log.info("mqtt_listener_forgotten", topic=topic)

    async def _say_last_words(self, connection: MqttConnection) -> None:
        for name in {str(view["listener"]) for view in self._listeners()}:
            topic = topics_of(self._settings, identifier(name))["now_playing"]
            if topic in self._known:
                connection.publish(topic, encode(playing_payload(name, None)))
        connection.publish(availability_topic(self._settings), b"offline")
        await connection.close()
