"""A connection to an MQTT broker: paho-mqtt speaks the protocol, trio waits for the socket."""

from __future__ import annotations

import ssl
import uuid
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from paho.mqtt.client import Client, error_string
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from dejavud.hooks.base import HookFailed, printable
from dejavud.hooks.settings import MQTT_PORTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from paho.mqtt.client import ConnectFlags, DisconnectFlags, MQTTMessage, SocketLike
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

    from dejavud.hooks.base import Thread
    from dejavud.hooks.settings import HookSettings

CONNECT_S = 10.0
KEEPALIVE_S = 30
"""A broker that answers nothing for so long is gone."""
MAX_QUEUED = 1000
ACKNOWLEDGED_S = 5.0


class MqttConnection:
    """An open connection: `publish` returns at once, and what the broker acknowledges is counted.

    unacknowledged : by message id, set once the broker has it.
    on_retained : is told the topics of retained messages that were subscribed to.
    """

    def __init__(self, client: Client, on_acknowledged: Callable[[], None]) -> None:
        self.unacknowledged: dict[int, trio.Event] = {}
        self.on_retained: Callable[[str], None] = lambda _topic: None
        self._client = client
        self._on_acknowledged = on_acknowledged
        self._connected = trio.Event()
        self._refusal = ""
        self._to_write = trio.Event()
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect

    def publish(self, topic: str, payload: bytes, *, retain: bool = True) -> trio.Event:
        """Hand a message over; the event that is returned is set when the broker has it."""
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise HookFailed(error_string(info.rc))
        acknowledged = self.unacknowledged[info.mid] = trio.Event()
        self._to_write.set()
        return acknowledged

    def subscribe(self, topic: str) -> None:
        """Have `on_retained` told of what is kept at `topic`."""
        self._client.subscribe(topic, qos=1)
        self._to_write.set()

    def unsubscribe(self, topic: str) -> None:
        """Want no more of `topic`."""
        self._client.unsubscribe(topic)
        self._to_write.set()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Carry what goes to and fro; started once the broker accepted us.  Raises `HookFailed` when the connection ends."""
        self._client.on_socket_close = _on_socket_close
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            nursery.start_soon(self._write)
            nursery.start_soon(self._keep_alive)
            with trio.move_on_after(CONNECT_S):
                await self._connected.wait()
            if not self._connected.is_set():
                msg = f"no answer to CONNECT within {CONNECT_S:g} s"
                raise HookFailed(msg)
            task_status.started()

    async def close(self) -> None:
        """Take leave of the broker once it has been sent everything."""
        self._client.disconnect()
        while self._client.want_write() and (socket := self._client.socket()) is not None:
            await trio.lowlevel.wait_writable(socket.fileno())
            self._client.loop_write()

    async def _read(self) -> None:
        while True:
            socket = self._socket()
            if not (isinstance(socket, ssl.SSLSocket) and socket.pending()):
                await trio.lowlevel.wait_readable(socket.fileno())
            self._check(self._client.loop_read())
            self._to_write.set()

    async def _write(self) -> None:
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            while self._client.want_write():
                await trio.lowlevel.wait_writable(self._socket().fileno())
                self._check(self._client.loop_write())

    async def _keep_alive(self) -> None:
        while True:
            await trio.sleep(KEEPALIVE_S / 3)
            self._check(self._client.loop_misc())

    def _socket(self) -> SocketLike:
        socket = self._client.socket()
        if socket is None:
            raise HookFailed(self._refusal or "the broker closed the connection")
        return socket

    def _check(self, code: MQTTErrorCode) -> None:
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise HookFailed(self._refusal or f"the connection to the broker ended: {error_string(code)}")

    def _on_connect(
        self, _client: Client, _data: None, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            self._refusal = f"the broker refuses: {code}"
        else:
            self._connected.set()

    def _on_disconnect(
        self, _client: Client, _data: None, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._refusal = self._refusal or f"the connection to the broker ended: {code}"

    def _on_publish(
        self, _client: Client, _data: None, mid: int, _code: ReasonCode, _properties: Properties | None
    ) -> None:
        acknowledged = self.unacknowledged.pop(mid, None)
        if acknowledged is not None:
            acknowledged.set()
            self._on_acknowledged()

    def _on_message(self, _client: Client, _data: None, message: MQTTMessage) -> None:
        if message.retain and message.payload:
            self.on_retained(message.topic)


def _on_socket_close(_client: Client, _data: None, socket: SocketLike) -> None:
    trio.lowlevel.notify_closing(socket.fileno())


class _TidySocket(ssl.SSLSocket):
    """A TLS socket that is closed when its handshake fails: paho leaves such a one to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as ssl has it
        """Agree on keys; it blocks, in a thread, for as long as the socket's time-out lets it."""
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


@asynccontextmanager
async def open_connection(
    settings: HookSettings, thread: Thread, *, will_topic: str, on_acknowledged: Callable[[], None]
) -> AsyncIterator[MqttConnection]:
    """Give a connection on which the broker says ``offline`` at `will_topic` when it is lost; raises `HookFailed` when it is, in groups.

    It is closed, in order, when the block is cancelled or ends.
    """
    client = _client(settings, will_topic)
    connection = MqttConnection(client, on_acknowledged)
    parts = urlsplit(settings.mqtt_url)
    port = parts.port or MQTT_PORTS[parts.scheme]
    try:
        with trio.fail_after(CONNECT_S):
            await thread(partial(client.connect, parts.hostname or "", port, KEEPALIVE_S), abandon=True)
    except trio.TooSlowError:
        msg = f"no connection within {CONNECT_S:g} s"
        raise HookFailed(msg) from None
    except (OSError, ValueError) as error:
        raise HookFailed(printable(f"{getattr(error, 'strerror', None) or error}")) from error
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(connection.run)
            yield connection
            nursery.cancel_scope.cancel()
    finally:
        client.on_socket_close = None
        if (socket := client.socket()) is not None:
            socket.close()


def _client(settings: HookSettings, will_topic: str) -> Client:
    client = Client(CallbackAPIVersion.VERSION2, client_id=f"dejavud-{uuid.uuid4().hex[:12]}")
    client.connect_timeout = CONNECT_S
    client.max_inflight_messages_set(0)  # any number: what is retained is bounded by the listeners there are
    client.max_queued_messages_set(MAX_QUEUED)
    client.will_set(will_topic, b"offline", qos=1, retain=True)
    if settings.mqtt_user:
        client.username_pw_set(settings.mqtt_user, settings.mqtt_password or None)
    if urlsplit(settings.mqtt_url).scheme == "mqtts":
        try:
            context = ssl.create_default_context(cafile=settings.mqtt_ca_file or None)
        except OSError as error:  # ssl.SSLError is one
            reason = f"hooks.mqtt_ca_file cannot be used: {error.strerror or error}"
            raise HookFailed(reason) from error
        context.sslsocket_class = _TidySocket
        client.tls_set_context(context)
    return client
