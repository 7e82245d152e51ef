"""The old ``/upload``, row by row as its clients know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from interfaces_http import serving
from interfaces_table import CRASH, MUSIC, NOISE, RUBBISH, SONG

if TYPE_CHECKING:
    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore

NO_DATA = 'No data in request. Send either form-data with key "file" or raw binary data'


ROWS: dict[str, tuple[dict[str, Any], int, Any]] = {
    "form, wav": ({"files": {"file": ("clip.wav", MUSIC)}}, 201, SONG),
    "form, MP3 in capitals": ({"files": {"file": ("CLIP.MP3", MUSIC)}}, 201, SONG),
    "form, no match": ({"files": {"file": ("clip.mp3", NOISE)}}, 201, None),
    "form without the field": ({"files": {"other": ("clip.wav", MUSIC)}}, 400, NO_DATA),
    "form with a text called file": ({"files": {"file": (None, b"text")}}, 400, NO_DATA),
    "form, broken": (
        {"content": b"--x\r\nrubbish", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        400,
        NO_DATA,
    ),
    "form, no boundary": ({"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, 400, NO_DATA),
    "form, cut short": (
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF mu',
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
        400,
        NO_DATA,
    ),
    "form, empty name": (
        {
            "content": b'--x\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\nRIFF\r\n--x--\r\n',
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
        400,
        "No data selected for uploading",
    ),
    "form, other extension": ({"files": {"file": ("clip.ogg", MUSIC)}}, 400, "Allowed file types are wav, mp3"),
    "form, no extension": ({"files": {"file": ("wav", MUSIC)}}, 400, "Allowed file types are wav, mp3"),
    "raw": ({"content": MUSIC, "headers": {"content-type": "application/octet-stream"}}, 201, SONG),
    "raw, as curl --data-binary sends it": (
        {"content": MUSIC, "headers": {"content-type": "application/x-www-form-urlencoded"}},
        201,
        SONG,
    ),
    "raw, no content type": ({"content": MUSIC}, 201, SONG),
    "raw, no match": ({"content": NOISE}, 201, None),
    "raw, undecodable": ({"content": RUBBISH}, 201, SONG),
    "empty body": ({"content": b""}, 400, "No correct data sent"),
    "no body": ({}, 400, "No correct data sent"),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("row", ROWS)
async def test_old_upload_answers_as_it_always_did(stage: Stage, uploads: UploadStore, row: str, method: str) -> None:
    """Every request of the old interface gets its status and its JSON, to the letter, by GET as by POST."""
    request, status, message = ROWS[row]
    async with serving(stage, uploads) as (client, _):
        response = await client.request(method, "/upload", **request)
    assert (response.status_code, response.json()) == (status, {"message": message})


async def test_old_upload_falls_back_to_raw_samples_for_raw_bodies_only(stage: Stage, uploads: UploadStore) -> None:
    """Undecodable bytes of a form are refused, while those of a raw body are asked for as raw samples."""
    async with serving(stage, uploads) as (client, _):
        response = await client.post("/upload", files={"file": ("a.wav", RUBBISH)})
        assert (response.status_code, response.json()) == (415, {"message": "a.wav: not audio"})
        await client.post("/upload", content=RUBBISH)
    assert [params.raw_fallback for _, params, _ in stage.calls] == [False, True]


@pytest.mark.parametrize(("body", "status"), [(b"x" * (5 << 20), 413), (CRASH, 500)])
async def test_old_upload_reports_every_failure_under_message(
    stage: Stage, uploads: UploadStore, body: bytes, status: int
) -> None:
    """What the old server had no words for comes in its own shape: one message."""
    async with serving(stage, uploads) as (client, _):
        response = await client.post("/upload", content=body)
    assert response.status_code == status
    assert list(response.json()) == ["message"]
    assert isinstance(response.json()["message"], str)
