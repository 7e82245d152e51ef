"""The operations of HTTP about listeners."""

from __future__ import annotations

from dejavud.interfaces.http_operation import INDEX, Body, Operation
from dejavud.wire.results import listening

_LISTENING = "listeners"
_LISTENER = {"name": "name"}

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path="/v1/listeners",
        name="listListeners",
        summary="Return every listener, and what plays there.",
        tag=_LISTENING,
        command="listen.list",
        answer=listening.Listeners,
    ),
    Operation(
        method="POST",
        path="/v1/listeners",
        name="addListener",
        summary="Listen to one more source.",
        tag=_LISTENING,
        command="listen.add",
        also=("name", "source", "once"),
        body=Body.OBJECT,
        answer=listening.Listener,
        status=201,
        errors=("listener_exists", "too_many_listeners", "unsupported_url"),
        example={"name": "kitchen", "source": "mic"},
    ),
    Operation(
        method="POST",
        path="/v1/listeners/{name}/pause",
        name="pauseListener",
        summary="Close a listener's source until it is resumed.",
        tag=_LISTENING,
        command="listen.pause",
        place=_LISTENER,
        answer=listening.Listener,
        errors=("listener_not_found",),
    ),
    Operation(
        method="POST",
        path="/v1/listeners/{name}/resume",
        name="resumeListener",
        summary="Have a listener hear again.",
        tag=_LISTENING,
        command="listen.resume",
        place=_LISTENER,
        answer=listening.Listener,
        errors=("listener_not_found",),
    ),
    Operation(
        method="GET",
        path="/v1/listeners/{name}/peaks",
        name="listenerPeaks",
        summary="Return the constellation of what a listener heard in its last seconds, laid over those of the tracks that play.",
        tag=_LISTENING,
        command="listen.peaks",
        place=_LISTENER,
        answer=listening.ListenerPeaks,
        errors=("listener_not_found", *INDEX),
    ),
    Operation(
        method="GET",
        path="/v1/listeners/{name}",
        name="getListener",
        summary="Return one listener.",
        tag=_LISTENING,
        command="listen.list",
        by="show_listener",
        place=_LISTENER,
        answer=listening.Listener,
        errors=("listener_not_found",),
    ),
    Operation(
        method="DELETE",
        path="/v1/listeners/{name}",
        name="removeListener",
        summary="Stop listening to a source; what plays there ends.",
        tag=_LISTENING,
        command="listen.remove",
        place=_LISTENER,
        answer=listening.RemovedListener,
        errors=("listener_not_found",),
    ),
    Operation(
        method="GET",
        path="/v1/devices",
        name="listDevices",
        summary="Return what can record on the daemon's machine.",
        tag=_LISTENING,
        command="devices",
        answer=listening.Devices,
        errors=("microphone_unavailable",),
    ),
)
