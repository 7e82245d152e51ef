"""Audio that an address sends, decoded by FFmpeg's libraries, which fetch it too."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import av

from dejavud.audio.container import decoding
from dejavud.audio.pcm import mono
from dejavud.errors import UnreachableUrl, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.audio.address import Way
    from dejavud.audio.container import Decoder

_REMOTE_OPTIONS = {
    "http": {"protocol_whitelist": "http,https,httpproxy,tcp,tls,crypto"},
    "rtsp": {"protocol_whitelist": "rtsp,rtsps,rtp,tcp,tls", "rtsp_transport": "tcp", "allowed_media_types": "audio"},
}
"""By the first letters of an address.  RTSP over TCP passes every router, and what is lost is told; a camera's pictures are not fetched."""
_LEADING_ELSEWHERE = frozenset(
    {
        "concat",
        "concatf",
        "dash",
        "imf",
        "image2",
        "image2pipe",
        "lavfi",
        "rtp",
        "rtsp",
        "sap",
        "sdp",
        "tedcaptions",
        "vobsub",
    }
    | {"webm_dash_manifest"}
)
"""Formats that open what they name.  HLS does too, and is as good as its proxy."""
_REMOTE_TIMEOUT_S = (10.0, 30.0)
"""For an address to answer, and for its next bytes."""
_STREAM = "where it is a web page or a playlist (.m3u, .pls), give the address of the stream that it names"
_NO_AUDIO = f"what comes from there is not audio that can be decoded; {_STREAM}"
_NO_STREAM = frozenset({"subtitle", "data"})
"""What FFmpeg takes a list of addresses for."""


@contextmanager
def open_remote_decoder(way: Way, name: str, *, is_live: bool = False) -> Iterator[Decoder]:
    """Open the audio that an address sends, perhaps for ever, for the length of the context; `name` is for errors.

    is_live : give what has come without waiting for more, which costs a little.

    A connection that is lost ends the audio.  FFmpeg follows redirects and the parts of an HLS playlist, over HTTP only, and RTSP over TCP only.

    Raises
    ------
    UnreachableUrl
        Nobody answers there, in time, or what answers refuses.
    UnsupportedAudio
        What comes is not audio, or none that can be decoded.
    """
    options = dict(_REMOTE_OPTIONS["rtsp" if way.url.lower().startswith("rtsp") else "http"])
    if way.proxy:
        os.environ.pop("no_proxy", None)  # by which FFmpeg would pass the proxy by
        formats = ",".join(
            name for name in av.formats_available if not _LEADING_ELSEWHERE.intersection(name.split(","))
        )
        options |= {"http_proxy": way.proxy, "format_whitelist": formats, "http_persistent": "0"}
    started_s = time.monotonic()
    try:
        container = av.open(
            way.url,
            mode="r",
            container_options=options,
            metadata_errors="replace",
            timeout=_REMOTE_TIMEOUT_S,
        )
    except av.FFmpegError as error:
        is_late = time.monotonic() - started_s >= _REMOTE_TIMEOUT_S[0]  # of RTSP the error is another
        if isinstance(error, av.InvalidDataError) and not is_late:
            raise UnsupportedAudio(source=name, reason=_NO_AUDIO) from error
        raise UnreachableUrl(url=name, reason=_why(error, way, is_late=is_late)) from error
    if _NO_STREAM.issuperset(stream.type for stream in container.streams):
        container.close()
        raise UnsupportedAudio(source=name, reason=_NO_AUDIO)
    with decoding(container, name, mono, is_live=is_live) as decoder:
        yield decoder


def _why(error: av.FFmpegError, way: Way, *, is_late: bool) -> str:
    """Return why nothing could be opened, for people; FFmpeg calls half of it an input/output error."""
    if is_late or isinstance(error, av.ExitError):
        return f"no answer within {_REMOTE_TIMEOUT_S[0]:g} s"
    if not (isinstance(error, OSError) and error.errno == errno.EIO):
        return f"{error.strerror}"
    host = urlsplit(way.url).hostname
    if not way.proxy:  # which knows by itself
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            return f"the name {host!r} is not known"
    is_tls = way.url.lower().startswith(("https", "rtsps"))
    return f"the connection ends before there is any sound{', or is not spoken with TLS' if is_tls else ''}; {_STREAM}"
