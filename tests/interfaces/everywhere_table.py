"""Every command of the daemon in one table: with what it is asked over each transport, and how HTTP spells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

CONTROL, WEBSOCKET, HTTP = TRANSPORTS = ("control", "websocket", "http")

Params = dict[str, Any]
Known = dict[str, Any]
"""What the tests know of the daemon: ids and files of its library, a job's id, where a station is."""
Asked = Callable[[Known, str], Params]


@dataclass(frozen=True)
class Over:
    """How HTTP asks for a command.

    path : with the parameters that belong into it in braces.  sends : what its body is: nothing, "audio", or "object" (the other parameters).
    gives : makes the command's result of the answer, where HTTP gives a part of it; None: it is the result.
    """

    method: str
    path: str
    sends: str = ""
    renamed: dict[str, str] = field(default_factory=dict)
    gives: Callable[[Params], Params] | None = None


@dataclass(frozen=True)
class Row:
    """One command.

    params : by what is known and the transport.
    before : commands, with parameters, that are asked first, over the control socket.
    audio : which of the clips comes along; "" where none does.
    http : how it is asked there; a text says why it is not.
    websocket : a text says why it is not there.
    """

    command: str
    http: Over | str
    params: Asked = lambda _known, _transport: {}
    before: Callable[[Known, str], list[tuple[str, Params]]] = lambda _known, _transport: []
    audio: str = ""
    websocket: str = ""


FILES = "names files of the daemon's machine"
OWNER = "is for the daemon's own user"
NO_STREAM = "HTTP sends no sound that goes on"


def _track(known: Known, transport: str) -> Params:
    return {"ids": [known["tracks"][TRANSPORTS.index(transport)]]}


def _listener(_known: Known, transport: str) -> list[tuple[str, Params]]:
    return [("listen.add", {"name": f"of {transport}", "source": "pcm:s16le:8000:1", "once": True})]


def _named(_known: Known, transport: str) -> Params:
    return {"name": f"of {transport}"}


TABLE = (
    Row("status", Over("GET", "/v1/status")),
    Row("metrics", "gives the text alone, as Prometheus reads it"),
    Row("ready", Over("GET", "/readyz")),
    Row(
        "recognize",
        Over("POST", "/v1/recognize", "audio", {"source": "name"}),
        lambda *_: {"source": "a clip"},
        audio="clip",
    ),
    Row(
        "recognize_microphone",
        Over("POST", "/v1/recognize/microphone"),
        lambda *_: {"duration_s": 5.0},
    ),
    Row(
        "scan",
        Over("POST", "/v1/scan", "object"),
        lambda known, _: {"url": f"{known['station']}/a.wav", "limit_s": 5.0},
    ),
    Row("fingerprint", Over("POST", "/v1/tracks", "audio"), lambda _, transport: {"title": transport}, audio="new"),
    Row("tracks.list", Over("GET", "/v1/tracks"), lambda *_: {"limit": 2}),
    Row("tracks.get", Over("GET", "/v1/tracks/{id}"), lambda known, _: {"id": known["tracks"][0]}),
    Row("tracks.known", Over("POST", "/v1/known-tracks", "object"), lambda known, _: {"sha1s": known["sha1s"]}),
    Row(
        "tracks.edit",
        Over(
            "PATCH",
            "/v1/tracks/{ids}",
            "object",
            gives=lambda answer: {"updated": [answer["track"]], "n_updated": 1},
        ),
        lambda known, transport: {**_track(known, transport), "title": f"By {transport}"},
    ),
    Row(
        "tracks.disable",
        Over("PATCH", "/v1/tracks", '{"disabled": true}'),
        _track,
    ),
    Row("tracks.enable", Over("PATCH", "/v1/tracks", '{"disabled": false}'), _track),
    Row(
        "tracks.remove",
        Over("DELETE", "/v1/tracks"),
        lambda known, transport: {"ids": [known["removable"][TRANSPORTS.index(transport)]]},
    ),
    Row("devices", Over("GET", "/v1/devices")),
    Row("listen.list", Over("GET", "/v1/listeners")),
    Row(
        "listen.add",
        Over("POST", "/v1/listeners", "object"),
        lambda _, transport: {"name": f"added by {transport}", "source": "pcm:s16le:8000:1", "once": True},
    ),
    Row("listen.peaks", Over("GET", "/v1/listeners/{name}/peaks"), _named, _listener),
    Row("listen.pause", Over("POST", "/v1/listeners/{name}/pause"), _named),
    Row("listen.resume", Over("POST", "/v1/listeners/{name}/resume"), _named),
    Row("listen.send", NO_STREAM, _named, audio="samples"),
    Row("listen.remove", Over("DELETE", "/v1/listeners/{name}"), _named),
    Row("events.replay", "tells events as a stream", lambda *_: {"limit": 3}),
    Row("history.list", Over("GET", "/v1/matches"), lambda *_: {"since": "7d"}),
    Row("history.summary", Over("GET", "/v1/matches/summary"), lambda *_: {"by": "artist"}),
    Row("history.remove", Over("DELETE", "/v1/matches"), lambda *_: {"until": "7d"}),
    Row("hooks.list", Over("GET", "/v1/hooks")),
    Row("hooks.test", Over("POST", "/v1/hooks/test")),
    Row("compact", Over("POST", "/v1/index/compact")),
    Row("check", Over("POST", "/v1/index/check")),
    Row("jobs.list", Over("GET", "/v1/jobs"), lambda *_: {"state": "done"}),
    Row("jobs.get", Over("GET", "/v1/jobs/{id}"), lambda known, _: {"id": known["job"]}),
    Row("jobs.cancel", Over("DELETE", "/v1/jobs/{id}"), lambda known, _: {"id": known["job"]}),
    Row("migrate", FILES, lambda known, _: {"url": known["old"], "dry_run": True}, websocket=FILES),
    Row("export", FILES, lambda known, _: {"file": f"{known['folder']}/export", "state": "all"}, websocket=FILES),
    Row("backup", FILES, lambda known, _: {"file": f"{known['folder']}/backup"}, websocket=FILES),
    Row("import", FILES, lambda known, _: {"file": f"{known['folder']}/export"}, websocket=FILES),
    Row("restore", FILES, lambda known, _: {"file": f"{known['folder']}/backup", "replace": True}, websocket=FILES),
    Row("access.list", OWNER, websocket=OWNER),
    Row("access.add", OWNER, lambda *_: {"name": "more", "scopes": ["read"]}, websocket=OWNER),
    Row("access.remove", OWNER, lambda *_: {"name": "more"}, websocket=OWNER),
    Row("keys.list", OWNER),
    Row("keys.add", OWNER, lambda known, _: {"name": "more", "key": known["key"], "scopes": ["read"]}, websocket=OWNER),
    Row("keys.remove", OWNER, lambda *_: {"name": "more"}, websocket=OWNER),
    Row("reload", OWNER, websocket=OWNER),
    Row("shutdown", OWNER, websocket=OWNER),
)
