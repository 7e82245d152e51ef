"""MPRIS: what plays, on the session bus, for media keys' displays, status bars and `playerctl`.

A player that cannot be controlled (https://specifications.freedesktop.org/mpris-spec/latest/).
"""

from __future__ import annotations

import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import structlog
import trio
from jeepney import (
    DBusAddress,
    HeaderFields,
    Message,
    MessageFlag,
    MessageType,
    new_error,
    new_method_return,
    new_signal,
)
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection, open_dbus_connection

from dejavud.hooks.base import Figures, HookFailed, printable
from dejavud.hooks.now_playing import NowPlaying, follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dejavud.hooks.base import ListenerViews
    from dejavud.hooks.now_playing import Playing
    from dejavud.hooks.settings import HookSettings
    from dejavud.services.events import Event, EventHub

    Properties = Mapping[str, tuple[str, Any]]
    """By name: D-Bus signature and value."""

log = structlog.get_logger(__name__)

BUS_NAME = "org.mpris.MediaPlayer2.dejavud"
ROOT, PLAYER = "org.mpris.MediaPlayer2", "org.mpris.MediaPlayer2.Player"
PROPERTIES, INTROSPECTABLE, PEER = (
    "org.freedesktop.DBus.Properties",
    "org.freedesktop.DBus.Introspectable",
    "org.freedesktop.DBus.Peer",
)
OBJECT = DBusAddress("/org/mpris/MediaPlayer2", interface=PROPERTIES)
CONNECT_S = 5.0
SAMPLE_S = 2.0
"""For so long a test shows a sample."""
US_PER_S = 1_000_000
_OWNER = 1
"""What RequestName answers when the name is ours."""
_DO_NOT_QUEUE = 4

ROOT_PROPERTIES: Properties = {
    "CanQuit": ("b", False),
    "CanRaise": ("b", False),
    "HasTrackList": ("b", False),
    "Identity": ("s", "dejavud"),
    "SupportedUriSchemes": ("as", []),
    "SupportedMimeTypes": ("as", []),
}
_METHODS = {
    ROOT: ("Raise", "Quit"),
    PLAYER: ("Next", "Previous", "Pause", "PlayPause", "Stop", "Play", "Seek", "SetPosition", "OpenUri"),
}
_ARGUMENTS = {
    "Seek": (("x", "Offset"),),
    "SetPosition": (("o", "TrackId"), ("x", "Position")),
    "OpenUri": (("s", "Uri"),),
}


class MprisHook:
    """Shows what plays on the session bus: see `dejavud.hooks.base.Hook`."""

    name = kind = "mpris"
    n_waiting = 0

    def __init__(self, hub: EventHub, listeners: ListenerViews, settings: HookSettings) -> None:
        self.target = BUS_NAME
        self.figures = Figures()
        self._hub = hub
        self._listeners = listeners
        self._address = settings.mpris_bus
        self._connection: DBusConnection | None = None
        self._shown: Playing | None = None
        self._shown_at = 0.0

    async def run(self) -> None:
        """Be a player on the bus until cancelled."""
        connection = await self._open()
        async with aclosing(connection):
            try:
                self.target = await _take_name(connection)
                self._connection = connection
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._answer_all, connection)
                    await follow(self._hub, self._listeners, self.figures, self._follow)
            except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel) as errors:
                reason = f"the connection to the session bus ended: {printable(str(errors.exceptions[0]))}"
                raise HookFailed(reason) from errors
            finally:
                self._connection = None

    async def test(self, sample: Event) -> str:
        """Show a sample for two seconds."""
        if self._connection is None:
            raise HookFailed(self.figures.last_error or "it is not on the session bus yet")
        before, now = self._shown, NowPlaying(list)
        now.take(sample)
        play = now.latest
        await self._show(play)
        try:
            await trio.sleep(SAMPLE_S)
        finally:
            if self._connection is not None and self._shown is play:
                with trio.CancelScope(shield=True), trio.move_on_after(1):
                    await self._show(before)
        return f"{self.target} showed {sample.data['track']['title']!r} for {SAMPLE_S:g} s"

    async def _open(self) -> DBusConnection:
        if not self._address:
            msg = "there is no session bus for a daemon of the system: give the address of one in hooks.mpris_bus"
            raise HookFailed(msg)
        try:
            with trio.fail_after(CONNECT_S):
                return await open_dbus_connection(self._address)
        except trio.TooSlowError:
            msg = f"the session bus did not answer within {CONNECT_S:g} s"
            raise HookFailed(msg) from None
        except Exception as error:  # jeepney raises RuntimeError, ValueError, its own, and trio's
            reason = f"there is no session bus at {self._address!r}: {printable(str(error))}"
            raise HookFailed(reason) from error

    async def _follow(self, now: NowPlaying) -> None:
        await self._show(now.latest)

    async def _show(self, play: Playing | None) -> None:
        """Say what plays, where that is something else than before."""
        before, self._shown, self._shown_at = self._properties(), play, trio.current_time()
        changed = {
            name: value
            for name, value in self._properties().items()
            if value != before[name] and name != "Position"  # of which the specification wants no signal
        }
        if changed and self._connection is not None:
            await self._connection.send(new_signal(OBJECT, "PropertiesChanged", "sa{sv}as", (PLAYER, changed, [])))
            self.figures.n_delivered += 1

    def _properties(self) -> Properties:
        """Return the properties of the player."""
        play = self._shown
        return {
            "PlaybackStatus": ("s", "Stopped" if play is None else "Playing"),
            "Rate": ("d", 1.0),
            "MinimumRate": ("d", 1.0),
            "MaximumRate": ("d", 1.0),
            "Volume": ("d", 1.0),
            "Metadata": ("a{sv}", {} if play is None else _metadata(play)),
            "Position": ("x", 0 if play is None else self._position_us(play)),
            "CanPlay": (
                "b",
                play is not None,
            ),  # is there a track?  playerctl asks this, and not CanControl, before it shows one
            **{f"Can{what}": ("b", False) for what in ("GoNext", "GoPrevious", "Pause", "Seek", "Control")},
        }

    def _position_us(self, play: Playing) -> int:
        position_s = play.position_s + trio.current_time() - self._shown_at
        return round(min(position_s, float(play.track["duration_s"])) * US_PER_S)

    async def _answer_all(self, connection: DBusConnection) -> None:
        while True:
            call = await connection.receive()
            if call.header.message_type is not MessageType.method_call:
                continue
            answer = self._answer(call)
            if not call.header.flags & MessageFlag.no_reply_expected:
                await connection.send(answer)

    def _answer(self, call: Message) -> Message:
        """Return what a call is answered."""
        fields = call.header.fields
        interface, member = fields.get(HeaderFields.interface), fields.get(HeaderFields.member)
        if interface == PEER and member == "Ping":
            return new_method_return(call)
        if fields.get(HeaderFields.path) != OBJECT.object_path:
            return _error(call, "UnknownObject", "there is only /org/mpris/MediaPlayer2")
        if interface == INTROSPECTABLE and member == "Introspect":
            return new_method_return(call, "s", (self._introspection(),))
        if interface == PROPERTIES:
            return self._answer_about_properties(call, str(member))
        if member in _METHODS.get(str(interface), ()):
            return new_method_return(call)  # without effect, as the specification wants where CanControl is false
        return _error(call, "UnknownMethod", f"there is no {interface}.{member}")

    def _answer_about_properties(self, call: Message, member: str) -> Message:
        wanted = {"Get": 2, "GetAll": 1, "Set": 3}
        if len(call.body) != wanted.get(member):
            return _error(call, "UnknownMethod", f"there is no {PROPERTIES}.{member} of these arguments")
        interface, name = (*map(str, call.body), "")[:2]  # whatever the type: others decide what they send
        known = {ROOT: ROOT_PROPERTIES, PLAYER: self._properties()}.get(interface)
        if known is None:
            return _error(call, "UnknownInterface", "there are org.mpris.MediaPlayer2 and its Player")
        if member == "GetAll":
            return new_method_return(call, "a{sv}", (dict(known),))
        if name not in known:
            return _error(call, "UnknownProperty", "there is no such property")
        if member == "Set":
            return _error(call, "PropertyReadOnly", "dejavud only listens: nothing of it can be set")
        return new_method_return(call, "v", (known[name],))

    def _introspection(self) -> str:
        """Return the object's description, as bindings ask for it."""
        interfaces = []
        for interface, known in ((ROOT, ROOT_PROPERTIES), (PLAYER, self._properties())):
            methods = "".join(
                f'<method name="{method}">'
                + "".join(
                    f'<arg name="{name}" type="{kind}" direction="in"/>' for kind, name in _ARGUMENTS.get(method, ())
                )
                + "</method>"
                for method in _METHODS[interface]
            )
            properties = "".join(
                f'<property name="{name}" type="{kind}" access="read"/>' for name, (kind, _) in known.items()
            )
            interfaces.append(f'<interface name="{interface}">{methods}{properties}</interface>')
        return f"<node>{''.join(interfaces)}{_STANDARD_INTERFACES}</node>"


_STANDARD_INTERFACES = f"""\
<interface name="{PROPERTIES}">
<method name="Get"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="out"/></method>
<method name="GetAll"><arg type="s" direction="in"/><arg type="a{{sv}}" direction="out"/></method>
<method name="Set"><arg type="s" direction="in"/><arg type="s" direction="in"/><arg type="v" direction="in"/></method>
<signal name="PropertiesChanged"><arg type="s"/><arg type="a{{sv}}"/><arg type="as"/></signal>
</interface>
<interface name="{INTROSPECTABLE}"><method name="Introspect"><arg type="s" direction="out"/></method></interface>
<interface name="{PEER}"><method name="Ping"/></interface>"""


async def _take_name(connection: DBusConnection) -> str:
    """Return the name that is ours on the bus: the second daemon of a user has one of its own, as the specification has it."""
    async with connection.router() as router:
        for name in (BUS_NAME, f"{BUS_NAME}.instance{os.getpid()}"):
            with trio.move_on_after(CONNECT_S):
                reply = await router.send_and_get_reply(message_bus.RequestName(name, _DO_NOT_QUEUE))
                if reply.header.message_type is MessageType.method_return and reply.body[0] == _OWNER:
                    return name
    msg = f"the session bus does not give out the name {BUS_NAME}"
    raise HookFailed(msg)


def _metadata(play: Playing) -> dict[str, tuple[str, Any]]:
    track_id = "".join(character for character in str(play.track.get("id")) if character.isalnum())
    told: dict[str, tuple[str, Any]] = {
        "mpris:trackid": ("o", f"/org/dejavud/play/{play.play}/track/{track_id}"),
        "mpris:length": ("x", round(float(play.track["duration_s"]) * US_PER_S)),
        "xesam:title": ("s", play.title),
    }
    if play.artist:
        told["xesam:artist"] = ("as", [play.artist])
    if play.album:
        told["xesam:album"] = ("s", play.album)
    return told


def _error(call: Message, name: str, said: str) -> Message:
    return new_error(call, f"org.freedesktop.DBus.Error.{name}", "s", (said,))
