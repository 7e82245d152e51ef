"""What a listener meets on the air: stations that lie, change, redirect, break; each is heard, or says why not."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from service_parts import PARAMS, RATE_HZ, WatchedIndex
from stations import HttpStation, Page, RtspStation, encoded
from synthetic import synthesize
from test_services_listeners import RULES, library

from dejavud.audio import remote
from dejavud.audio.address import Way
from dejavud.errors import UnreachableUrl, UnsupportedAudio
from dejavud.fingerprint.extractor import TrackExtractor, track_hashes
from dejavud.services import listen_jobs
from dejavud.services.hearing import Hearing
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PIECE_S = 14.0


@pytest.fixture(scope="module")
def index() -> WatchedIndex:
    """Give a library of two pieces."""
    index = WatchedIndex()
    for seed in (1, 2):
        extractor = TrackExtractor(PARAMS)
        extractor.feed(synthesize(seed, PIECE_S, RATE_HZ))
        constellation = extractor.finish()
        hashes = track_hashes(constellation, PARAMS)
        index.add([NewTrack(f"{seed}", None, None, None, f"{seed:040x}", PIECE_S, constellation, hashes)])
    return index


@pytest.fixture
def station() -> Iterator[HttpStation]:
    """Give a server without pages."""
    with HttpStation({}).on_air() as station:
        yield station


def piece(seed: int, rate_hz: int) -> NDArray[Any]:
    """Return a known piece at some rate."""
    return synthesize(seed, PIECE_S, rate_hz)


def heard(index: WatchedIndex, url: str) -> list[int]:
    """Return which tracks a listener hears there, in order, until the connection ends; raises how it fails."""
    hearing = Hearing(PARAMS, RULES, library(index))
    changes = []
    for item in listen_jobs.hear_url(Way(url), "there", PARAMS, -66.0):
        if isinstance(item, listen_jobs.Sound):
            changes += hearing.hear(item, 0)
    changes += hearing.finish()
    return [change.play.track_id for change in changes if change.kind == "started"]


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac", "mpegts", "adts"])
def test_a_station_is_known_by_what_it_sends(index: WatchedIndex, station: HttpStation, kind: str) -> None:
    """Whatever its type and its name say, and where they say nothing."""
    data = encoded(piece(1, 44100), 44100, kind)
    station.pages = {"/live.mp3": Page((data,), "audio/mpeg"), "/live.ogg": Page((data,), "text/html")}
    assert heard(index, f"{station.url}/live.mp3") == [1]
    assert heard(index, f"{station.url}/live.ogg") == [1]


@pytest.mark.parametrize("kind", ["mp3", "adts"])
def test_a_station_that_changes_its_rate_and_channels_is_heard_on(
    index: WatchedIndex, station: HttpStation, kind: str
) -> None:
    """From mono at 44.1 kHz to stereo at 48 kHz, and to mono at 22.05 kHz."""
    parts = (
        encoded(piece(1, 44100), 44100, kind),
        encoded(piece(2, 48000), 48000, kind, "stereo"),
        encoded(piece(1, 22050), 22050, kind),
    )
    station.pages = {"/live": Page(parts)}
    assert heard(index, f"{station.url}/live") == [1, 2, 1]


def test_what_never_comes_is_told_as_that(
    index: WatchedIndex, station: HttpStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera that takes the connection and says nothing does not answer; a station that sends what is no sound, and then nothing, sends nothing to hear."""
    monkeypatch.setattr(remote, "_REMOTE_TIMEOUT_S", (1.0, 0.5))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableUrl, match="no answer within 1 s"):
        heard(index, f"rtsp://127.0.0.1:{silent.getsockname()[1]}/live")
    station.pages = {"/live": Page((encoded(piece(1, 44100), 44100, "mp3")[:9000],), is_held=True)}
    with pytest.raises(UnsupportedAudio, match="nothing comes that can be decoded"):
        heard(index, f"{station.url}/live")


def test_an_ogg_stream_goes_on_from_link_to_link(index: WatchedIndex, station: HttpStation) -> None:
    """As Icecast chains them, one for each track; one of another rate or other channels ends the connection, with the reason."""
    first, second, other = (
        encoded(piece(seed, rate_hz), rate_hz, "ogg") for seed, rate_hz in ((1, 44100), (2, 44100), (2, 48000))
    )
    stereo = encoded(piece(2, 44100), 44100, "ogg", "stereo")
    station.pages = {
        "/same": Page((first, second, first), "application/ogg"),
        "/rate": Page((first, other), "application/ogg"),
        "/channels": Page((first, stereo), "application/ogg"),
    }
    assert heard(index, f"{station.url}/same") == [1, 2, 1]
    for path in ("rate", "channels"):
        with pytest.raises(UnsupportedAudio, match="from here on it cannot be decoded"):
            heard(index, f"{station.url}/{path}")


def test_titles_between_the_sound_are_no_sound(index: WatchedIndex, station: HttpStation) -> None:
    """A station that puts titles into its stream (ICY) is asked for them, and they are taken out."""
    station.pages = {"/live": Page((encoded(piece(2, 44100), 44100, "mp3"),), has_icy=True)}
    assert heard(index, f"{station.url}/live") == [2]


def test_redirects_are_followed_but_not_to_files(index: WatchedIndex, station: HttpStation) -> None:
    """To another path and to a whole address, several times; one that leads to a file, or round in a circle, is refused."""
    data = encoded(piece(1, 44100), 44100, "mp3")
    station.pages = {
        "/a": Page(status=302, headers={"Location": "/b"}),
        "/b": Page(status=307, headers={"Location": f"{station.url}/live"}),
        "/live": Page((data,)),
        "/file": Page(status=302, headers={"Location": "file:///etc/passwd"}),
        "/round": Page(status=302, headers={"Location": "/round"}),
    }
    assert heard(index, f"{station.url}/a") == [1]
    for path in ("file", "round"):
        with pytest.raises(UnreachableUrl):
            heard(index, f"{station.url}/{path}")


def test_a_list_of_segments_is_heard_as_one(index: WatchedIndex, station: HttpStation) -> None:
    """HLS: segments of MPEG-TS, one after another."""
    music = piece(1, 44100)
    segments = [encoded(part, 44100, "mpegts") for part in np.split(music, 2)]
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:7", "#EXT-X-VERSION:3"]
    for n in range(len(segments)):
        lines += ["#EXT-X-DISCONTINUITY", "#EXTINF:7.0,", f"{n}.ts"]
    station.pages = {f"/{n}.ts": Page((data,), "video/mp2t") for n, data in enumerate(segments)}
    playlist = "\n".join([*lines, "#EXT-X-ENDLIST", ""]).encode()
    station.pages["/live.m3u8"] = Page((playlist,), "application/vnd.apple.mpegurl")
    assert heard(index, f"{station.url}/live.m3u8") == [1]


def test_a_camera_is_heard_over_rtsp(index: WatchedIndex) -> None:
    """RTSP over TCP, with the user's name in its address."""
    with RtspStation(piece(2, 16000), 16000).on_air() as camera:
        assert heard(index, camera.url) == [2]
        assert heard(index, camera.url.replace("://", "://me:secret@")) == [2]


def test_what_is_broken_on_the_way_is_passed_over(index: WatchedIndex, station: HttpStation) -> None:
    """Rubbish in the middle of a stream costs what it covers."""
    first, second = (encoded(piece(seed, 44100), 44100, "mp3") for seed in (1, 2))
    rubbish = np.random.default_rng(3).bytes(30_000)
    station.pages = {"/live": Page((first, rubbish, second))}
    assert heard(index, f"{station.url}/live") == [1, 2]


def test_what_is_no_station_says_why(index: WatchedIndex, station: HttpStation) -> None:
    """A page of text, rubbish, nothing at all, and a refusal: each with its reason."""
    station.pages = {
        "/page": Page((b"<html>Our streams have moved</html>" * 100,)),
        "/rubbish": Page((np.random.default_rng(3).bytes(100_000),)),
        "/nothing": Page(),
        "/closed": Page(status=403),
        "/x.pls": Page((b"[playlist]\nFile1=http://127.0.0.1:18000/live.mp3\nNumberOfEntries=1\n",), "audio/x-scpls"),
        "/x.m3u": Page((b"#EXTM3U\n#EXTINF:-1,x\nhttp://127.0.0.1:18000/live.mp3\n",), "audio/x-mpegurl"),
    }
    for path in ("page", "x.pls", "x.m3u"):
        with pytest.raises((UnsupportedAudio, UnreachableUrl), match="give the address of the stream that it names"):
            heard(index, f"{station.url}/{path}")
    with pytest.raises(UnsupportedAudio, match="there: "):
        heard(index, f"{station.url}/rubbish")
    with pytest.raises(UnreachableUrl, match="ends before there is any sound"):
        heard(index, f"{station.url}/nothing")
    with pytest.raises(UnreachableUrl, match="403"):
        heard(index, f"{station.url}/closed")
    with pytest.raises(UnreachableUrl, match="404"):
        heard(index, f"{station.url}/missing")
    with pytest.raises(UnreachableUrl, match="refused"):
        heard(index, "rtsp://127.0.0.1:1/live")
    with pytest.raises(UnreachableUrl, match=r"the name 'nowhere\.invalid' is not known"):
        heard(index, "http://nowhere.invalid/live")
    with pytest.raises(UnreachableUrl, match="TLS"):
        heard(index, f"{station.url.replace('http', 'https')}/live")
