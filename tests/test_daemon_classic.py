"""A daemon with dejavu's own fingerprint: the same doors, the same commands, the old answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import trio
from daemon_process import Place, run_to_the_end, running_daemon
from synthetic import synthesize, write_wav
from trio_websocket import open_websocket_url

from dejavud import Dejavu

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 44100
PROFILE = "classic/dejavu-2020"


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("d"))


def conf(place: Place, profile: str) -> tuple[str, str]:
    """Write a conf file and return the options that name it."""
    path = place.folder / "classic.toml"
    path.write_text(f'[engine]\nprofile = "{profile}"\n')
    return "--config", str(path)


def music(place: Place, seed: int) -> Path:
    """Write a piece of music."""
    return write_wav(place.folder / f"piece{seed}.wav", synthesize(seed, 15.0, RATE_HZ), RATE_HZ)


def clip(place: Place, seed: int) -> Path:
    """Write five seconds of a piece, from the sixth on."""
    samples = synthesize(seed, 15.0, RATE_HZ)[6 * RATE_HZ : 11 * RATE_HZ]
    return write_wav(place.folder / f"clip{seed}.wav", samples, RATE_HZ)


async def post(url: str, body: bytes) -> httpx.Response:
    """Send a clip over HTTP."""
    return await trio.to_thread.run_sync(partial(httpx.post, url, content=body, timeout=30, trust_env=False))


async def old_socket(url: str, body: bytes) -> str:
    """Send a clip as the old WebSocket client does."""
    async with open_websocket_url(url) as connection:
        await connection.send_message(body)
        answer: str = await connection.get_message()
        return answer


async def test_every_door_answers_with_dejavus_matching(place: Place) -> None:
    """Control socket, HTTP, the old upload and the old WebSocket name the right track; unknown music is no match at any of them."""
    unknown = clip(place, 77).read_bytes()
    async with running_daemon(place, *conf(place, PROFILE)) as daemon:
        for seed in (1, 2, 3):
            added = await daemon.ask("fingerprint", path=str(music(place, seed)))
            assert added["added"]
            assert added["track"]["n_peaks"] == 0 < added["track"]["n_hashes"]
        status = await daemon.ask("status")
        assert status["engine"]["profile"] == PROFILE
        [http], [websocket] = status["endpoints"]["http"], status["endpoints"]["websocket"]
        for seed in (1, 2, 3):
            path = clip(place, seed)
            local = await daemon.ask("recognize", path=str(path))
            [match] = local["matches"]
            assert match["track"]["title"] == f"piece{seed}"
            assert match["track_start_s"] == pytest.approx(6.0, abs=0.05)
            assert match["confidence"] > 0.99
            assert local["engine"] == {
                "profile": PROFILE,
                "params": status["engine"]["params"],
                "frame_s": pytest.approx(2048 / RATE_HZ),
            }
            body = path.read_bytes()
            assert (await post(f"{http}/v1/recognize", body)).json()["matches"] == local["matches"]
            old: dict[str, Any] = (await post(f"{http}/upload", body)).json()["message"]
            assert (old["match"], old["confidence"]) == (f"piece{seed}", match["score"])
            assert old["offset"] == round(6.0 * RATE_HZ / 2048)
            assert await old_socket(websocket, body) == f"piece{seed}"
        assert (await post(f"{http}/v1/recognize", unknown)).json()["matches"] == []
        assert (await post(f"{http}/upload", unknown)).json() == {"message": None}
        assert await old_socket(websocket, unknown) == "No result"


async def test_an_index_of_another_profile_keeps_the_daemon_from_starting(place: Place) -> None:
    """What one profile made is opened by no other: the daemon ends with the reason, both profiles named, and leaves the index as it is."""
    async with running_daemon(place, *conf(place, PROFILE)) as daemon:
        await daemon.ask("fingerprint", path=str(music(place, 1)))
    for other in ("landmark-2", "classic/ivlovric-1.5"):
        ended = await run_to_the_end(place, *conf(place, other))
        assert ended.returncode != 0
        assert "params_mismatch" in ended.stderr
        assert PROFILE in ended.stderr
        assert other in ended.stderr
    async with running_daemon(place, *conf(place, PROFILE)) as daemon:
        assert len((await daemon.ask("recognize", path=str(clip(place, 1))))["matches"]) == 1


def test_the_library_speaks_dejavus_hashes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a program the three old steps give what the whole does, with the first digits of dejavu's own hashes, all 20 of which are taken."""
    monkeypatch.setenv("DEJAVUD_ENGINE_PROFILE", PROFILE)
    monkeypatch.setenv("HOME", str(place.folder))
    monkeypatch.chdir(place.folder)
    with Dejavu(dburl="memory://") as library:
        for seed in (1, 2):
            library.fingerprint_file(music(place, seed))
        samples = np.round(synthesize(2, 15.0, RATE_HZ)[6 * RATE_HZ : 11 * RATE_HZ] * 32767).astype(np.int16)
        fingerprints, _ = library.generate_fingerprints(samples)
        matches, by_song, _ = library.find_matches(fingerprints)
        [song] = library.align_matches(matches)
        assert song["song_name"] == "piece2"
        assert song == library.recognize_file(clip(place, 2))["results"][0]
        assert song["offset"] == round(6.0 * RATE_HZ / 2048)
        assert {len(digits) for digits, _ in fingerprints} == {16}
        whole = [(digits + "0123", offset) for digits, offset in fingerprints]
        assert library.db.return_matches(whole)[1] == by_song
