"""The resident view's files: used when they are right, made anew when they are not, and never a reason for a wrong answer."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from index_entries import TINY, meetings_of, never, new_track, open_kind, open_view, rows_of

from dejavud.errors import IndexFull, IndexUnavailable
from dejavud.fingerprint.params import Params
from dejavud.index.open import IndexSettings, open_kept_index
from dejavud.index.view import segment_files
from dejavud.index.view.upkeep import BYTES_A_POSTING, Portions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dejavud.index.view.resident import ResidentIndex
    from dejavud.index.view.upkeep import Upkeep
    from dejavud.values import Hashes

N_TRACKS = 12
N_FILES = 6
"""Of a segment: its header, tracks, starts, places, and two columns of peaks."""
ONE_FILE = Portions(loose=1)
QUERY = new_track(99, 150, n_values=1000).hashes


def stored(seeds: Iterator[int] | range) -> dict[int, Hashes]:
    """Return the hashes of tracks that were added in this order, by their ids."""
    return {track_id: new_track(seed).hashes for track_id, seed in enumerate(seeds, 1)}


@contextmanager
def kept(folder: Path, portions: Portions = TINY) -> Iterator[tuple[ResidentIndex, Upkeep]]:
    """Give an index over a DuckDB file, and its upkeep, which has not run yet."""
    with (
        open_kind("duckdb-file", folder, Params()) as store,
        open_view(store, folder / "view", Params(), portions=portions) as (index, upkeep),
    ):
        yield index, upkeep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of an index of some tracks and its view."""
    with kept(tmp_path, ONE_FILE) as (index, upkeep):
        index.add([new_track(seed) for seed in range(N_TRACKS)])
        upkeep.run(never)
    assert len(files_of(tmp_path)) == N_FILES
    return tmp_path


def files_of(folder: Path) -> list[Path]:
    """Return the files of the view's segments."""
    return sorted(folder.glob("view/segment-*/*"))


def assert_right(index: ResidentIndex, hashes: dict[int, Hashes]) -> None:
    """Check that the index answers, from its view, as these tracks demand."""
    assert index.view() is not None
    assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, hashes)
    assert [track.id for track in index.tracks()] == sorted(hashes)
    found = index.constellations(list(hashes))
    assert {track_id: len(stars) for track_id, stars in found.items()} == dict.fromkeys(hashes, 100)


def test_a_view_that_is_there_is_mapped_and_not_made_again(folder: Path) -> None:
    """At the next start nothing is written, and the answers come from the files."""
    with kept(folder, ONE_FILE) as (index, upkeep):
        assert index.view() is None
        report = upkeep.run(never)
        assert (report.state, report.n_written, report.refused, report.n_segments) == ("ready", 0, (), 1)
        assert_right(index, stored(range(N_TRACKS)))


def test_with_a_view_the_store_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-ups, constellations and tracks are answered while the store could not: it may be busy, or away."""
    with kept(folder) as (index, upkeep):
        upkeep.run(never)

        def away(*_: object, **__: object) -> None:
            raise IndexUnavailable(reason="away")

        for name in ("lookup", "constellations", "tracks"):
            monkeypatch.setattr(index._store, name, away)
        assert_right(index, stored(range(N_TRACKS)))


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "gone"])
def test_a_damaged_file_of_any_kind_is_noticed_and_the_view_made_again(folder: Path, damage: str) -> None:
    """Whichever file it is and wherever: the segment is refused by name, its tracks come from the store, the answers are right."""
    for name in [path.name for path in files_of(folder)]:
        [path] = folder.glob(f"view/segment-*/{name}")
        contents = bytearray(path.read_bytes())
        if damage == "flipped":
            contents[len(contents) * 2 // 3] ^= 4
        changed = {"cut": contents[:-1], "longer": contents + b"\0"}.get(damage, contents)
        path.unlink()
        if damage != "gone":
            path.write_bytes(changed)
        with kept(folder, ONE_FILE) as (index, upkeep):
            report = upkeep.run(never)
            assert [reason.partition(":")[0] for reason in report.refused] == [path.parent.name], name
            assert_right(index, stored(range(N_TRACKS)))
        assert len(files_of(folder)) == N_FILES


def test_a_view_of_other_parameters_is_refused(folder: Path) -> None:
    """Its digest says so, even where the store were to fit."""
    other = dataclasses.replace(Params(), hop_samples=128)
    with (
        open_kind("duckdb-file", folder, Params()) as store,
        open_view(store, folder / "view", other, portions=ONE_FILE) as (index, upkeep),
    ):
        (reason,) = upkeep.run(never).refused
        assert "params_digest" in reason
        assert_right(index, stored(range(N_TRACKS)))


def test_a_view_of_another_layout_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version makes its own and does not guess."""
    monkeypatch.setattr(segment_files, "LAYOUT", segment_files.LAYOUT + 1)
    with kept(folder, ONE_FILE) as (index, upkeep):
        assert "layout" in upkeep.run(never).refused[0]
        assert_right(index, stored(range(N_TRACKS)))


def test_the_view_of_another_library_is_refused(folder: Path) -> None:
    """Where the database was put back from a backup, ids mean other tracks than in the view: contents tell."""
    (folder / "index.duckdb").unlink()
    others = [5, 3, 40, 41, 42]
    with open_kind("duckdb-file", folder, Params()) as store:
        store.add([new_track(seed) for seed in others])
    with kept(folder) as (index, upkeep):
        assert "another library" in upkeep.run(never).refused[0]
        assert_right(index, stored(others))


def test_what_changed_without_the_view_is_made_up_for(folder: Path) -> None:
    """Tracks that were added and removed by a program that keeps no view are and are not there."""
    with open_kind("duckdb-file", folder, Params()) as store:
        store.add([new_track(seed) for seed in (50, 51)])
        store.remove([2, N_TRACKS + 1])
    hashes = stored([*range(N_TRACKS), 50, 51])
    del hashes[2], hashes[N_TRACKS + 1]
    with kept(folder) as (index, upkeep):
        assert upkeep.run(never).refused == ()
        assert_right(index, hashes)


def test_a_view_may_be_deleted_at_any_time(folder: Path) -> None:
    """While it is in use, and then upkeep goes on; the database has everything."""
    with kept(folder, ONE_FILE) as (index, upkeep):
        upkeep.run(never)
        shutil.rmtree(folder / "view")
        assert_right(index, stored(range(N_TRACKS)))
        index.add([new_track(N_TRACKS)])
        upkeep.run(never)
        assert_right(index, stored(range(N_TRACKS + 1)))
    with kept(folder, ONE_FILE) as (index, upkeep):
        assert upkeep.run(never).refused == ()
        assert_right(index, stored(range(N_TRACKS + 1)))


def test_what_upkeep_left_unfinished_is_cleared_away(folder: Path) -> None:
    """Files of a segment that was being written when the machine went down, and ones that a merge had replaced."""
    shutil.copytree(folder / "view/segment-1", folder / "view/.segment-2")
    shutil.copytree(folder / "view/segment-1", folder / "view/segment-3")
    with kept(folder) as (index, upkeep):
        assert upkeep.run(never).refused == ()
        assert_right(index, stored(range(N_TRACKS)))
    assert [path.name for path in (folder / "view").iterdir()] == ["segment-3"]


def test_many_small_segments_become_one(tmp_path: Path) -> None:
    """What was added in many pieces lies in few files, and the files of the pieces are gone."""
    with kept(tmp_path, Portions(loose=300)) as (index, upkeep):
        upkeep.run(never)
        n_written = 0
        for seed in range(30):
            index.add([new_track(seed)])
            n_written += upkeep.run(never).n_written
        assert n_written >= 10
        assert len(list(tmp_path.glob("view/segment-*"))) <= 3
        assert_right(index, stored(range(30)))


def test_removed_tracks_are_cleared_out_of_the_files(folder: Path) -> None:
    """The space of many removed tracks comes back, and a view of none has no files."""
    n_bytes = sum(path.stat().st_size for path in files_of(folder))
    with kept(folder, ONE_FILE) as (index, upkeep):
        upkeep.run(never)
        index.remove(range(1, 9))
        assert_right(index, {i: hashes for i, hashes in stored(range(N_TRACKS)).items() if i > 8})
        assert upkeep.run(never).n_written == 1
        assert sum(path.stat().st_size for path in files_of(folder)) < 0.6 * n_bytes
        assert_right(index, {i: hashes for i, hashes in stored(range(N_TRACKS)).items() if i > 8})
        index.remove(range(N_TRACKS + 1))
        upkeep.run(never)
        assert_right(index, {})
    assert files_of(folder) == []


def test_a_library_of_any_span_of_frames_is_kept(tmp_path: Path) -> None:
    """Tracks whose frames take all of 32 bits do not share a segment, and every frame is right."""
    spread = np.array([-(2**31), -1, 0, 2**31 - 1], np.int32)
    wide = [new_track(seed, hashes=type(QUERY)(QUERY.values[:4], spread)) for seed in range(2)]
    with kept(tmp_path) as (index, upkeep):
        index.add([wide[0], new_track(5), wide[1]])
        upkeep.run(never)
        assert_right(index, {1: wide[0].hashes, 2: new_track(5).hashes, 3: wide[1].hashes})
        index.remove([1])
        upkeep.run(never)
        assert_right(index, {2: new_track(5).hashes, 3: wide[1].hashes})


def test_a_view_that_would_be_too_large_is_not_kept(folder: Path) -> None:
    """Beyond the limit of bytes the files go and the store answers, until enough tracks are removed."""
    limit = N_TRACKS * 200 * BYTES_A_POSTING
    with (
        open_kind("duckdb-file", folder, Params()) as store,
        open_view(store, folder / "view", Params(), portions=TINY, max_bytes=limit) as (index, upkeep),
    ):
        assert upkeep.run(never).state == "ready"
        index.add([new_track(50)])
        assert upkeep.run(never).state == "too_large"
        assert index.view() is None
        assert not (folder / "view").exists()
        assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored([*range(N_TRACKS), 50]))
        index.remove([N_TRACKS + 1])
        assert upkeep.run(never).state == "ready"
        assert_right(index, stored(range(N_TRACKS)))


@pytest.mark.parametrize("mode", ["auto", "always", "never"])
def test_conf_says_whether_there_is_a_view(tmp_path: Path, mode: str) -> None:
    """auto: within the limit; always: whatever the limit; never: not at all, and what is there is deleted."""
    url = f"duckdb:///{tmp_path}/index.duckdb"
    with open_kept_index(url, Params(), IndexSettings("always", 0)) as opened:
        assert opened.upkeep is not None
        opened.index.add([new_track(seed, 4000) for seed in range(300)])
        assert opened.upkeep.run(never).n_written == 1
    with open_kept_index(url, Params(), IndexSettings(mode, 1000)) as opened:
        states = [] if opened.upkeep is None else [opened.upkeep.run(never).state]
        assert states == {"auto": ["too_large"], "always": ["ready"], "never": []}[mode]
        assert len(opened.index.lookup(QUERY)) > 0
    assert (tmp_path / "index.duckdb.view").exists() == (mode == "always")


@pytest.mark.parametrize("url", ["memory://", "duckdb:///:memory:"])
def test_an_index_in_memory_has_no_view(url: str) -> None:
    """It would be the same a second time."""
    with open_kept_index(url, Params(), IndexSettings("always", 0)) as opened:
        assert opened.upkeep is None


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, IndexFull), (errno.EACCES, IndexUnavailable)])
def test_a_view_that_cannot_be_written_is_said_and_the_index_answers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[IndexUnavailable]
) -> None:
    """No room or no permission: a clear error from upkeep, right answers, and no half of a segment."""
    shutil.rmtree(folder / "view")
    with kept(folder) as (index, upkeep):
        with monkeypatch.context() as patched:

            def failing(*_: object) -> None:
                raise OSError(number, os.strerror(number))

            patched.setattr(segment_files.FileSink, "append", failing)
            with pytest.raises(kind, match=r"resident view in .*/view cannot be written"):
                upkeep.run(never)
        assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored(range(N_TRACKS)))
        assert list((folder / "view").iterdir()) == []
        assert upkeep.run(never).state == "ready"
        assert_right(index, stored(range(N_TRACKS)))


def test_a_view_that_another_program_deletes_while_it_is_made_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that is gone as soon as it is written is an error of upkeep, not of the daemon; the index answers, and it is tried again."""
    shutil.rmtree(folder / "view")
    with kept(folder, ONE_FILE) as (index, upkeep):
        with monkeypatch.context() as patched:
            opened = segment_files.SegmentFolder.open

            def gone(self: segment_files.SegmentFolder, path: Path, *args: Any, **options: Any) -> object:  # noqa: ANN401
                shutil.rmtree(path)
                return opened(self, path, *args, **options)

            patched.setattr(segment_files.SegmentFolder, "open", gone)
            with pytest.raises(IndexUnavailable, match="changed by another program"):
                upkeep.run(never)
        assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, stored(range(N_TRACKS)))
        assert upkeep.run(never).state == "ready"
        assert_right(index, stored(range(N_TRACKS)))


def test_where_the_store_fails_the_view_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that ended with an error may have been one all the same: then the track is found, after upkeep as before it."""
    with kept(folder) as (index, upkeep):
        upkeep.run(never)
        add = index._store.add

        def failing_afterwards(entries: list[object]) -> None:
            add(entries)
            raise IndexFull(reason="the checkpoint found no room")

        with monkeypatch.context() as patched:
            patched.setattr(index._store, "add", failing_afterwards)
            with pytest.raises(IndexFull):
                index.add([new_track(50)])
        hashes = stored([*range(N_TRACKS), 50])
        assert index.view() is None
        assert rows_of(index.lookup(QUERY)) == meetings_of(QUERY, hashes)
        upkeep.run(never)
        assert_right(index, hashes)
