"""The operations of HTTP about what is playing, and about the library."""

from __future__ import annotations

from typing import Any

from dejavud.errors import TrackNotFound
from dejavud.interfaces.http_operation import AUDIO, INDEX, Body, Operation, TrackChange
from dejavud.wire.results import answers, tracks

Params = dict[str, Any]

_PLAYING, _LIBRARY = "what is playing", "library"


def _updated_track(result: Params, params: Params) -> Params:
    if not result["updated"]:
        raise TrackNotFound(track=params["ids"][0])
    return {"track": result["updated"][0]}


def _removed_track(result: Params, params: Params) -> Params:
    if not result["removed"]:
        raise TrackNotFound(track=params["ids"][0])
    return result


_SELECTION = ("ids", "sha1s", "search", "artist", "album", "path", "state", "added_after", "added_before")
_URL = ("unsupported_url", "unreachable_url")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/recognize",
        name="recognize",
        summary="Say what a clip is, or what an address plays now.",
        tag=_PLAYING,
        command="recognize",
        query=("limit_s", "name"),
        also=("url", "path", "limit_s", "source"),
        body=Body.AUDIO,
        answer=answers.Recognition,
        errors=(*AUDIO, *INDEX, *_URL),
    ),
    Operation(
        method="POST",
        path="/v1/recognize/microphone",
        name="recognizeMicrophone",
        summary="Say what the daemon's own microphone hears, as soon as that is certain.",
        tag=_PLAYING,
        command="recognize_microphone",
        query=("duration_s", "device"),
        answer=answers.Recognition,
        errors=("microphone_unavailable", "device_not_found", "worker_died", *INDEX),
    ),
    Operation(
        method="POST",
        path="/v1/scan",
        name="scan",
        summary="Say what is played in a recording, or on a station for so long, from when to when.",
        tag=_PLAYING,
        command="scan",
        query=("limit_s", "name"),
        also=("url", "path", "limit_s", "source"),
        body=Body.AUDIO,
        answer=answers.Timeline,
        errors=(*AUDIO, *INDEX, *_URL),
    ),
    Operation(
        method="GET",
        path="/v1/tracks",
        name="listTracks",
        summary="Return a page of the library.",
        tag=_LIBRARY,
        command="tracks.list",
        query=(*_SELECTION, "limit", "cursor", "sort", "reverse", "after_id"),
        answer=tracks.TrackPage,
        errors=("page_not_found", *INDEX),
    ),
    Operation(
        method="POST",
        path="/v1/tracks",
        name="addTrack",
        summary="Add a recording to the library; one that is there already is answered as it is.",
        tag=_LIBRARY,
        command="fingerprint",
        query=("name", "title", "artist", "album", "limit_s"),
        also=("path", "name", "title", "artist", "album", "limit_s"),
        body=Body.AUDIO,
        answer=tracks.Added,
        created="added",
        errors=(*AUDIO, *INDEX),
    ),
    Operation(
        method="PATCH",
        path="/v1/tracks",
        name="changeTracks",
        summary="Disable or enable all tracks that a selection means.",
        tag=_LIBRARY,
        command="tracks.disable",
        by="change_tracks",
        query=_SELECTION,
        also=("disabled",),
        takes=TrackChange,
        body=Body.OBJECT,
        answer=tracks.UpdatedTracks,
        errors=(*INDEX, "nothing_selected"),
        example={"disabled": True},
    ),
    Operation(
        method="DELETE",
        path="/v1/tracks",
        name="removeTracks",
        summary="Remove all tracks that a selection means.",
        tag=_LIBRARY,
        command="tracks.remove",
        query=_SELECTION,
        answer=tracks.RemovedTracks,
        errors=(*INDEX, "nothing_selected"),
    ),
    Operation(
        method="POST",
        path="/v1/known-tracks",
        name="knownTracks",
        summary="Say which files are in the library already, by their SHA1.",
        tag=_LIBRARY,
        command="tracks.known",
        also=("sha1s",),
        body=Body.OBJECT,
        answer=tracks.KnownTracks,
        errors=INDEX,
        example={"sha1s": ["2fd4e1c67a2d28fced849ee1bb76e7391b93eb12"]},
    ),
    Operation(
        method="GET",
        path="/v1/tracks/{id}",
        name="getTrack",
        summary="Return one track.",
        tag=_LIBRARY,
        command="tracks.get",
        place={"id": "id"},
        answer=tracks.OneTrack,
        errors=("track_not_found", *INDEX),
    ),
    Operation(
        method="PATCH",
        path="/v1/tracks/{id}",
        name="editTrack",
        summary="Change what is known of a track; an empty artist or album takes it away.",
        tag=_LIBRARY,
        command="tracks.edit",
        place={"id": "ids"},
        also=("title", "artist", "album", "disabled"),
        body=Body.OBJECT,
        least=1,
        answer=tracks.OneTrack,
        pick=_updated_track,
        errors=("track_not_found", *INDEX),
        example={"title": "Nocturne"},
    ),
    Operation(
        method="DELETE",
        path="/v1/tracks/{id}",
        name="removeTrack",
        summary="Remove a track.",
        tag=_LIBRARY,
        command="tracks.remove",
        place={"id": "ids"},
        answer=tracks.RemovedTracks,
        pick=_removed_track,
        errors=("track_not_found", *INDEX),
    ),
)
