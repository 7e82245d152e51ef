"""What schemathesis has to know of this API beyond what a schema can say: sound, forms of text of our own, and a stream without end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st

CLIPS = sorted(Path(os.environ["SCHEMATHESIS_CLIPS"]).glob("*.wav"))
STATION = os.environ["SCHEMATHESIS_STATION"]

sound = st.sampled_from([clip.read_bytes() for clip in CLIPS])
schemathesis.openapi.media_type("application/octet-stream", sound)
schemathesis.openapi.format("binary", sound)
for name, texts in {
    "audio-url": [f"{STATION}/a.wav", f"{STATION}/b.wav"],
    "listener-source": ["pcm:s16le:8000:1", "pcm", "pcm:f32le:48000:2"],
    "listener-name": ["kitchen", "Küche 2", "a/b", "x" * 64],
    "iso-moment": ["2026-01-31", "2026-01-31T18:00:00+01:00", "2026-01-31T18:00:00.5Z", ""],
    "moment": ["24h", "7d", "yesterday", "now", "2026-10-25T14:30", "2026-10-25", ""],
    "day": ["today", "yesterday", "2026-10-25"],
    "time-zone": ["UTC", "Europe/Berlin", "+01:00", "-11:30"],
    "device": ["0", "the test's"],
    "pcm": ["s16le:8000:1"],
    "server-path": list(map(str, CLIPS)),
}.items():
    schemathesis.openapi.format(name, st.sampled_from(texts))


class FirstOfIt(requests.adapters.HTTPAdapter):
    """Reads of a stream of events what comes first, and leaves, as a client may."""

    def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401 - as the one it stands for
        """Send a request and read its answer."""
        response = super().send(request, **{**options, "stream": True})
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            response._content = response.raw.read1(1 << 16) if request.method != "HEAD" else b""
            response.close()
        return response


requests.sessions.HTTPAdapter = FirstOfIt  # of every session that is opened from here on
