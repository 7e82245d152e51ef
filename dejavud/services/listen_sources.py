"""Where listeners hear: sources as one writes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.audio.address import Way, check_url, url_without_password
from dejavud.audio.pcm_format import PcmFormat
from dejavud.errors import InvalidRequest
from dejavud.services import listen_jobs

if TYPE_CHECKING:
    from dejavud.fingerprint.params import Params

SOURCES = "mic, mic:DEVICE, http://…, https://…, rtsp://…, /PATH of a file or a pipe, realtime:/PATH, or pcm:ENCODING:RATE:CHANNELS"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a listener's sound comes from, as one writes it.

    text : ``mic``, ``mic:DEVICE``, an address of `dejavud.audio.address.SCHEMES`, ``/PATH`` of a file or a pipe, ``realtime:/PATH``, or
        ``pcm`` and ``pcm:ENCODING:RATE:CHANNELS``, which is sent to the listener.
    is_trusted : wherever an address leads is all right with who named it.
    """

    text: str
    is_trusted: bool = True

    @property
    def shown(self) -> str:
        """Return it without a password."""
        return url_without_password(self.text) if self.is_address else self.text

    @property
    def is_path(self) -> bool:
        """Tell whether it names a file of the daemon's machine."""
        return self.text.removeprefix("realtime:").startswith("/")

    @property
    def is_pipe(self) -> bool:
        """Tell whether it names a pipe."""
        return self.is_path and Path(self.text.removeprefix("realtime:")).is_fifo()

    @property
    def is_live(self) -> bool:
        """Tell whether it goes on when nobody hears it."""
        return "://" in self.text or self.is_microphone

    @property
    def is_microphone(self) -> bool:
        """Tell whether it is a device of the daemon's machine."""
        return self.text.partition(":")[0] == "mic"

    @property
    def pcm(self) -> PcmFormat | None:
        """Return what the sound is that is sent to it; None where none is."""
        kind, _, rest = self.text.partition(":")
        return PcmFormat.parse(rest) if kind == "pcm" else None

    @property
    def comes_back(self) -> bool:
        """Tell whether its end is one to be retried: all but a file's."""
        return not (self.is_path and Path(self.text.removeprefix("realtime:")).is_file())

    @property
    def is_address(self) -> bool:
        """Tell whether it is fetched."""
        return "://" in self.text

    def job(
        self, params: Params, silence_db: float, stall_s: float, way: Way | None = None
    ) -> partial[listen_jobs.Sounds]:
        """Return what fetches (an address on this way) and hears it, in a worker."""
        kind, _, rest = self.text.partition(":")
        if kind == "mic":
            return partial(listen_jobs.hear_microphone, rest or None, params, silence_db, stall_s)
        if self.is_path:
            path, realtime = self.text.removeprefix("realtime:"), kind == "realtime"
            return partial(listen_jobs.hear_file, path, params, silence_db, realtime)
        return partial(listen_jobs.hear_url, way or Way(self.text), self.shown, params, silence_db)

    def feed_job(self, address: str, params: Params, silence_db: float) -> partial[listen_jobs.Sounds]:
        """Return what hears the raw sound that comes from the socket at `address`, in a worker."""
        return partial(listen_jobs.hear_pcm, address, self.pcm or PcmFormat(), self.text, params, silence_db)


def parse_source(text: str, *, is_trusted: bool = True) -> Source:
    """Return the source that `text` names; raises `InvalidRequest` and `UnsupportedUrl`."""
    source = Source(text, is_trusted)
    if source.is_address:
        check_url(text)
    elif text == "pcm" or text.startswith("pcm:"):
        try:
            PcmFormat.parse(text.removeprefix("pcm").removeprefix(":"))
        except ValueError as error:
            raise InvalidRequest(reason=f"{text[:200]!r} is no source: {error}") from None
    elif not (source.is_path or text == "mic" or (text.startswith("mic:") and len(text) > len("mic:"))):
        reason = f"{url_without_password(text)[:200]!r} is no source: it is {SOURCES}"
        raise InvalidRequest(reason=reason)
    return source
