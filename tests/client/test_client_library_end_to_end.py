"""A library's life with the real client and real daemons: copies, disabling, backup and restore, another database."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from daemon_process import Place, running_daemon
from real_client import RealClient
from synthetic import synthesize, write_wav

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 16000
PIECE_S = 20.0


def make_music(folder: Path) -> Path:
    """Leave three pieces, and a clip of the second, in a folder."""
    music = folder / "music"
    music.mkdir()
    for seed in (1, 2, 3):
        write_wav(music / f"piece {seed}.wav", synthesize(seed, PIECE_S, RATE_HZ), RATE_HZ)
    clip = synthesize(2, PIECE_S, RATE_HZ)[7 * RATE_HZ : 12 * RATE_HZ]
    write_wav(folder / "clip.wav", clip, RATE_HZ)
    return music


async def test_a_library_lives_and_comes_back(tmp_path: Path) -> None:
    """Disabled at once and enabled again; removed, and restored under its number; imported by a daemon on another database."""
    music, clip, backup = make_music(tmp_path), tmp_path / "clip.wav", tmp_path / "library.dejavu"
    async with running_daemon(Place(tmp_path)) as daemon:
        client = RealClient(daemon)
        await client.ctl("fingerprint", music)
        (match,) = (await client.ctl("recognize", clip, "--json")).records[0]["matches"]
        track_id = match["track"]["id"]
        await client.ctl("tracks", "edit", str(track_id), "--title", "Étude", "--artist", "Ana")
        assert (await client.ctl("tracks", "disable", "--artist", "ANA")).status == 0
        assert (await client.ctl("recognize", clip)).status == 1
        assert [each["id"] for each in (await client.ctl("tracks", "ls", "--disabled", "--json")).records] == [track_id]
        assert (await client.ctl("tracks", "enable", match["track"]["file_sha1"])).status == 0
        assert (await client.ctl("recognize", clip)).status == 0

        before = (await client.ctl("tracks", "ls", "--json")).records
        assert (await client.ctl("backup", backup)).out.startswith(f"{backup}: 3 tracks, ")
        assert (await client.ctl("tracks", "rm", "--search", "etude", "--yes")).status == 0
        assert (await client.ctl("recognize", clip)).status == 1
        refused = await client.ctl("restore", backup, "--json")
        assert refused.records[0]["error"]["code"] == "library_not_empty"
        restored = await client.ctl("restore", backup, "--replace", "--yes")
        assert restored.out == f"{backup}: 1 track added, 2 known already\n"
        assert (await client.ctl("tracks", "ls", "--json")).records == before
        (match,) = (await client.ctl("recognize", clip, "--json")).records[0]["matches"]
        assert (match["track"]["id"], match["track"]["title"]) == (track_id, "Étude")

    other = tmp_path / "o"
    other.mkdir()
    async with running_daemon(Place(other, {"--dburl": "memory://"})) as daemon:
        client = RealClient(daemon)
        assert (await client.ctl("import", backup)).out == f"{backup}: 3 tracks added, 0 known already\n"
        assert (await client.ctl("import", backup)).out == f"{backup}: 0 tracks added, 3 known already\n"
        assert (await client.ctl("recognize", clip)).status == 0


async def test_copies_that_arrive_together_are_one_track(tmp_path: Path) -> None:
    """Eight names of the same bytes at once: added once, the same track for all; nothing is called a duplicate of itself."""
    music = make_music(tmp_path)
    copies = tmp_path / "copies"
    copies.mkdir()
    for number in range(8):
        shutil.copy(music / "piece 1.wav", copies / f"copy {number}.wav")
    async with running_daemon(Place(tmp_path)) as daemon:
        *files, last = (await RealClient(daemon).ctl("fingerprint", copies, "--json", "--jobs", "8")).records
        assert len({record["track"]["id"] for record in files}) == 1
        assert sorted(record["added"] for record in files) == [False] * 7 + [True]
        assert all(record["duplicates"] == [] for record in files)
        assert (last["summary"]["n_added"], last["summary"]["n_duplicates"]) == (1, 0)

        softer = write_wav(tmp_path / "softer.wav", 0.4 * synthesize(1, PIECE_S, RATE_HZ), RATE_HZ)
        told = await RealClient(daemon).ctl("fingerprint", softer)
        assert told.err.startswith(f"same recording: {softer} as {files[0]['track']['id']}: copy ")
        assert "1 track added, 1 of them the same recording as another" in told.out
