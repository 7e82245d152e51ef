from __future__ import annotations

import pytest

from dejavud.audio.address import check_url, url_without_password
from dejavud.errors import UnsupportedUrl


@pytest.mark.parametrize(
    "url",
    [
        "http://radio.example/live",
        "https://radio.example:8443/a%20b.mp3?x=1",
        "HTTP://me:pw@[::1]:80/",
        "rtsp://camera.example:8554/stream1",
        "rtsps://me:pw@camera.example/",
    ],
)
def test_addresses_of_streams_may_be_fetched(url: str) -> None:
    """Every scheme in any case, with a port, a query, a user, a host of either family."""
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "radio.example/live",
        "file:///etc/passwd",
        "ftp://host/a.mp3",
        "rtmp://host/a",
        "rtp://host:5004",
        "concat:http://a|http://b",
        "http:a.mp3",
        "http:///a.mp3",
        "http://",
        "http://[::1/a",
        "http://ho st/a",
        "http://host/a\nb",
        "http://host/\x00",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    """Other schemes, addresses without a host, and what is no address."""
    with pytest.raises(UnsupportedUrl):
        check_url(url)


def test_a_refused_address_shows_no_password() -> None:
    """Nor does it show without end."""
    with pytest.raises(UnsupportedUrl) as caught:
        check_url("ftp://me:secret@host/" + 1000 * "a")
    assert "secret" not in caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "url", ["http://me:s3/cret@host/live", "http://me:s3?cret@host", "rtsp://me:s3#cret@host/1", "http://host:99999/"]
)
def test_a_password_that_is_not_encoded_is_refused_and_said_how_to_be(url: str) -> None:
    """What it would mistake for a host and a path tells how user and password are written, and shows neither."""
    with pytest.raises(UnsupportedUrl, match="%2F") as caught:
        check_url(url)
    assert "s3" not in caught.value.message
    assert "cret" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:pw@host/a@b", "http://host/a@b"),
        ("http://host:80/a", "http://host:80/a"),
        ("http://[::1]:80/a@b?x=1", "http://[::1]:80/a@b?x=1"),
        ("http://me:p@ss@host", "http://host"),
        ("http://me:pw@host?x=a/b@c", "http://host?x=a/b@c"),
        ("no address", "no address"),
        ("me:pw@host/live", "host/live"),
        (
            "rtsp://cam/1?channel=2&user=me&password=pw&subtype=0",
            "rtsp://cam/1?channel=2&user=***&password=***&subtype=0",
        ),
        (
            "https://cdn/a.m3u8?Policy=x;Signature=y&X-Amz-Credential=z",
            "https://cdn/a.m3u8?Policy=x;Signature=***&X-Amz-Credential=***",
        ),
        ("http://host/a?access_token=t&p=pw&sid=", "http://host/a?access_token=***&p=***&sid=***"),
        ("http://host/a?x=1#me:pw@b", "http://host/a?x=1"),
    ],
)
def test_addresses_are_shown_without_their_passwords(url: str, shown: str) -> None:
    """What stands before the last @ of the authority is left out, the values of parameters that let somebody in are stars, and the rest is as it is."""
    assert url_without_password(url) == shown
