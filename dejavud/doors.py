"""The doors that commands come through: which there are, as the configuration or the service manager says, and who may use them."""

from __future__ import annotations

import ipaddress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from dejavud.config import parse_address
from dejavud.errors import InvalidConfig
from dejavud.interfaces.control import ControlSettings, serve_control
from dejavud.interfaces.curve import CurveDoor, make_pair
from dejavud.interfaces.http import HttpSettings, serve_http
from dejavud.interfaces.publisher import PublisherSettings, serve_publisher
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.services.client_keys import ClientKeys
from dejavud.services.clients import EVENTS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    import trio

    from dejavud.config import Config
    from dejavud.entry import Entry
    from dejavud.services.commands import CommandTable
    from dejavud.services.events import EventHub
    from dejavud.services.handlers import Services
    from dejavud.services.uploads import UploadStore
    from dejavud.services.workers import Workers
    from dejavud.systemd import Handed

    Place = tuple[str, int, socket.socket | None]
    Opened = dict[str, str | list[str]]

log = structlog.get_logger(__name__)


async def open_doors(
    doors: trio.Nursery,
    config: Config,
    services: Services,
    *,
    table: CommandTable,
    uploads: UploadStore,
    entry: Entry,
    keys: ClientKeys,
    handed: Handed,
) -> Opened:
    """Start every interface that takes commands, and return where each can be reached.

    handed : sockets by interface, which take the place of the addresses in `config`.  Raises `InvalidConfig` where one of them can be reached from other
    machines and there is no token.
    """
    check_handed(handed, is_guarded=entry.access.asks)
    hub, grace_s = services.hub, config.shutdown.grace_s
    if table.jobs is not None:
        await doors.start(partial(table.jobs.serve, grace_s=grace_s))
    control = partial(serve_control, table, uploads, feeding=services.listeners.feeding)
    local = ControlSettings(config.control.endpoint, access=entry.access, grace_s=grace_s)
    opened: Opened = {"control": await doors.start(partial(control, settings=local)), "http": [], "websocket": []}
    for address in map(parse_address, config.control.listen):
        by_key = ControlSettings(curve=CurveDoor(address.host, address.port, keys), grace_s=grace_s)
        reached = await doors.start(partial(control, settings=by_key))
        opened["control_tcp"] = [*opened.get("control_tcp", []), reached]
    for host, port, given in _places(config.http.listen, handed["http"]):
        http = HttpSettings(
            host,
            port,
            given,
            access=entry.access,
            tls=entry.tls,
            grace_s=grace_s,
            body_total_s=config.limits.upload_s,
            websockets=lambda: opened["websocket"],
        )
        opened["http"] = [*opened["http"], await doors.start(partial(serve_http, table, uploads, hub, settings=http))]
    for host, port, given in _places(config.websocket.listen, handed["websocket"]):
        websocket = WebSocketSettings(
            host,
            port,
            given,
            access=entry.access,
            tls=entry.tls,
            grace_s=grace_s,
            max_message_bytes=config.websocket.message_bytes,
            upload_s=config.limits.upload_s,
        )
        serve = partial(serve_websocket, table, uploads, hub, settings=websocket)
        opened["websocket"] = [*opened["websocket"], await doors.start(serve)]
    return opened


async def open_publishers(nursery: trio.Nursery, config: Config, hub: EventHub, keys: ClientKeys) -> Opened:
    """Start publishing events, and return where they can be subscribed to."""
    local = PublisherSettings(config.events.endpoint)
    opened: Opened = {"events": await nursery.start(partial(serve_publisher, hub, settings=local))}
    for address in map(parse_address, config.events.listen):
        door = CurveDoor(address.host, address.port, keys, lambda client: client.may(EVENTS), ends_all=True)
        reached = await nursery.start(partial(serve_publisher, hub, settings=PublisherSettings(curve=door)))
        opened["events_tcp"] = [*opened.get("events_tcp", []), reached]
    return opened


def client_keys(config: Config, workers: Workers, endpoints: Mapping[str, str | list[str]]) -> ClientKeys:
    """Return who is let in by which key; raises `InvalidConfig` where the file of keys cannot be used."""
    keys = ClientKeys(
        Path(config.data.dir) / "keys.json", make_pair=make_pair, thread=workers.thread, endpoints=endpoints
    )
    if (config.control.listen or config.events.listen) and not keys.names:
        log.warning("nobody_has_a_key", remedy="dejavuctl keys add NAME")
    return keys


def check_handed(handed: Handed, *, is_guarded: bool) -> None:
    """Raise `InvalidConfig` when a socket that was handed over can be reached from other machines and there is no token."""
    for name, sockets in handed.items():
        for given in sockets:
            host = given.getsockname()[0]
            if not is_guarded and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
                reason = (
                    f"the socket {name!r} that was handed over listens on {host}, which other machines can reach, and nothing asks who they are: "
                    "make a token first (dejavuctl tokens add), set security.token (LoadCredential=security.token:/etc/dejavud/token), or write ListenStream=127.0.0.1:PORT in its unit"
                )
                raise InvalidConfig(origin="LISTEN_FDS", reason=reason)


def _places(addresses: Sequence[str], given: Sequence[socket.socket]) -> Iterator[Place]:
    """Yield where an interface is to be reached: on the sockets that were handed over, else at its addresses."""
    for one in given:
        host, port = one.getsockname()[:2]
        yield host, port, one
    if not given:
        for address in map(parse_address, addresses):
            yield address.host, address.port, None
