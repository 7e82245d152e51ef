"""``check`` and ``compact``: what is damaged is found, told and repaired, and what is whole is left alone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio
from service_parts import PARAMS, music_file

from dejavud.errors import InvalidRequest
from dejavud.index import checking
from dejavud.index.duckdb import compaction
from dejavud.index.open import IndexSettings, KeptIndex, open_kept_index
from dejavud.index.view.segment_files import SegmentFolder
from dejavud.index.view.upkeep import Portions, Upkeep
from dejavud.services import maintenance as maintenance_module
from dejavud.services.clients import LOCAL as LOCAL_CLIENT
from dejavud.services.commands import Call
from dejavud.services.ingest import sha1_of_file
from dejavud.services.inline_workers import InlineWorkers
from dejavud.services.jobs import fingerprint_file
from dejavud.services.maintenance import CheckIndex, Maintenance
from dejavud.services.workers import open_workers
from dejavud.values import NewTrack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

N_TRACKS = 4
LOCAL = Call(client=LOCAL_CLIENT)


class Damaged:
    """An index of real fingerprints in a file, with a view in files, that can be damaged by SQL."""

    def __init__(self, folder: Path, stack: ExitStack, *, settings: str) -> None:
        url = f"duckdb:///{folder / 'index.duckdb'}"
        kept = stack.enter_context(open_kept_index(url, PARAMS, IndexSettings(settings, 0)))
        if kept.upkeep is not None:
            view = SegmentFolder(folder / "index.duckdb.view", PARAMS)
            kept = KeptIndex(
                kept.index,
                kept.store,
                kept.history,
                Upkeep(kept.index, kept.store, view, portions=Portions(loose=1)),
                kept.clustering,
            )  # type: ignore[arg-type]
        self.kept = kept
        self.files = [music_file(folder, seed) for seed in range(N_TRACKS)]
        self.tracks = kept.index.add([entry_of(path) for path in self.files])
        self.view_is_made()
        self.maintenance = Maintenance(kept, InlineWorkers(), PARAMS, fingerprint_timeout_s=60.0)

    def view_is_made(self) -> None:
        """Let upkeep do what there is to do."""
        if self.kept.upkeep is not None:
            self.kept.upkeep.run(lambda: False)

    def sql(self, statement: str, *values: object) -> None:
        """Change the database as another program would."""
        with self.kept.store.reading() as cursor:  # type: ignore[attr-defined]
            cursor.execute(statement, values)

    async def check(self, *, repair: bool = False) -> dict[str, Any]:
        """Return the report."""
        return await self.maintenance.check(CheckIndex(repair=repair), LOCAL)

    def kinds(self, report: dict[str, Any]) -> set[tuple[str, int | None]]:
        """Return what was found of which track."""
        return {(finding["kind"], finding["track_id"]) for finding in report["findings"]}


def entry_of(path: Path) -> NewTrack:
    """Return a real fingerprint of the file."""
    made = fingerprint_file(path, path.name, PARAMS, None)
    sha1 = sha1_of_file(path, path.name)
    return NewTrack(path.name, None, None, str(path), sha1, made.duration_s, made.constellation, made.hashes)


@pytest.fixture(params=["always", "never"], ids=["with a view", "from the database alone"])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Damaged]:
    """Give an index that is whole as yet."""
    with ExitStack() as stack:
        yield Damaged(tmp_path, stack, settings=request.param)


DAMAGES: dict[str, tuple[str, Callable[[Damaged], None]]] = {
    "a posting is gone": (
        checking.POSTINGS_DIFFER,
        lambda d: d.sql("DELETE FROM postings WHERE rowid = (SELECT min(rowid) FROM postings WHERE track_id = 2)"),
    ),
    "all postings are gone": (checking.POSTINGS_DIFFER, lambda d: d.sql("DELETE FROM postings WHERE track_id = 2")),
    "a posting is there twice": (
        checking.POSTINGS_DIFFER,
        lambda d: d.sql("INSERT INTO postings FROM postings WHERE track_id = 2 LIMIT 1"),
    ),
    "a frame is another": (
        checking.POSTINGS_DIFFER,
        lambda d: d.sql("UPDATE postings SET frame = frame + 1 WHERE track_id = 2"),
    ),
    "a hash is another": (
        checking.POSTINGS_DIFFER,
        lambda d: d.sql("UPDATE postings SET hash = hash + 1 WHERE track_id = 2"),
    ),
    "its numbers are wrong": (
        checking.MISCOUNTED,
        lambda d: d.sql("UPDATE tracks SET n_peaks = n_peaks + 1 WHERE id = 2"),
    ),
    "a bit of the constellation is flipped": (
        checking.DAMAGED,
        lambda d: d.sql(
            "UPDATE constellations SET data = unhex(hex(data)[:200] || CASE hex(data)[201] WHEN 'A' THEN 'B' ELSE 'A' END"
            " || hex(data)[202:]) WHERE track_id = 2 AND part = 0"
        ),
    ),
    "a part of the constellation is gone": (
        checking.DAMAGED,
        lambda d: (
            d.sql(
                "DELETE FROM constellations WHERE track_id = 2 AND part ="
                " (SELECT max(part) FROM constellations WHERE track_id = 2) AND part > 0"
            )
            or d.sql("UPDATE constellations SET data = unhex(hex(data)[:20]) WHERE track_id = 2 AND part = 0")
        ),
    ),
    "the constellation is gone": (checking.MISSING, lambda d: d.sql("DELETE FROM constellations WHERE track_id = 2")),
}


async def test_of_a_whole_index_nothing_is_said(damaged: Damaged) -> None:
    """Real fingerprints agree with their constellations to the posting, and repairing changes nothing."""
    report = await damaged.check()
    assert (report["n_tracks"], report["n_findings"], report["findings"]) == (N_TRACKS, 0, [])
    assert (await damaged.check(repair=True))["n_findings"] == 0
    if damaged.kept.upkeep is not None:
        assert damaged.kept.index.view() is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_track_is_found_and_repaired(
    damaged: Damaged, damage: tuple[str, Callable[[Damaged], None]]
) -> None:
    """It is the only finding; afterwards nothing is wrong, in the database or in the view, and the track is what it was."""
    kind, inflict = damage
    inflict(damaged)
    assert damaged.kinds(await damaged.check()) == {(kind, 2)}
    assert damaged.kinds(await damaged.check()) == {(kind, 2)}  # looking changed nothing
    repaired = await damaged.check(repair=True)
    assert (repaired["n_findings"], repaired["n_repaired"]) == (1, 1)
    damaged.view_is_made()
    assert (await damaged.check())["n_findings"] == 0
    assert damaged.kept.index.tracks() == damaged.tracks
    entry = entry_of(damaged.files[1])
    assert (damaged.kept.index.lookup(entry.hashes).track_ids == 2).sum() >= len(entry.hashes)


async def test_what_cannot_be_repaired_is_kept_and_told(damaged: Damaged) -> None:
    """A damaged constellation whose file is gone, or another now: the postings still answer, and the reason says what to do."""
    DAMAGES["a bit of the constellation is flipped"][1](damaged)
    damaged.files[1].write_bytes(damaged.files[0].read_bytes())
    (finding,) = (await damaged.check(repair=True))["findings"]
    assert finding["repair"] is None
    assert "another file now" in finding["reason"]
    damaged.files[1].unlink()
    report = await damaged.check(repair=True)
    assert (report["n_findings"], report["n_repaired"]) == (1, 0)
    music = music_file(damaged.files[0].parent, 1)
    hits = damaged.kept.store.lookup(entry_of(music).hashes)
    assert (hits.track_ids == 2).any()


async def test_rows_of_no_track_are_found_and_deleted(damaged: Damaged) -> None:
    """Postings and constellations under numbers that no track has."""
    damaged.sql("INSERT INTO postings VALUES (7, 99, 1)")
    damaged.sql("INSERT INTO constellations VALUES (98, 0, 'x'::BLOB)")
    stray = {(checking.STRAY, 98), (checking.STRAY, 99)}
    assert damaged.kinds(await damaged.check()) == stray
    assert (await damaged.check(repair=True))["n_repaired"] == 2
    assert (await damaged.check())["n_findings"] == 0


async def test_a_content_that_is_there_twice_is_found_and_the_later_one_deleted(damaged: Damaged) -> None:
    """Two tracks of one file."""
    damaged.sql("UPDATE tracks SET file_sha1 = (SELECT file_sha1 FROM tracks WHERE id = 1) WHERE id = 3")
    assert damaged.kinds(await damaged.check()) == {(checking.DUPLICATE_CONTENT, 3)}
    await damaged.check(repair=True)
    assert [track.id for track in damaged.kept.store.tracks()] == [1, 2, 4]


async def test_a_number_that_is_given_twice_is_told(damaged: Damaged) -> None:
    """Two rows of one number: neither is deleted, since nobody knows which is right."""
    damaged.sql("INSERT INTO tracks FROM tracks WHERE id = 3")
    report = await damaged.check(repair=True)
    assert (checking.DUPLICATE_ID, 3) in damaged.kinds(report)
    assert report["n_repaired"] < report["n_findings"]
    assert len(damaged.kept.store.tracks(ids=[3])) == 2


async def test_a_damaged_file_of_the_view_is_found_and_the_view_made_anew(tmp_path: Path) -> None:
    """One byte in any of its files that is another: the check says which, and afterwards the view is whole."""
    with ExitStack() as stack:
        damaged = Damaged(tmp_path, stack, settings="always")
        (folder,) = (tmp_path / "index.duckdb.view").glob("segment-*")
        with (folder / "places").open("r+b") as file:
            octet = file.read(1)
            file.seek(0)
            file.write(bytes([octet[0] ^ 1]))
        found = damaged.kinds(await damaged.check())
        assert (checking.VIEW_DAMAGED, None) in found
        assert {kind for kind, _ in found} <= {checking.VIEW_DAMAGED, checking.VIEW_DIFFERS}
        report = await damaged.check(repair=True)
        assert report["n_repaired"] == report["n_findings"]
        assert damaged.kept.index.view() is None  # type: ignore[attr-defined]
        damaged.view_is_made()
        assert damaged.kept.index.view() is not None  # type: ignore[attr-defined]
        assert (await damaged.check())["n_findings"] == 0


async def test_a_view_that_answers_otherwise_is_found(tmp_path: Path) -> None:
    """A track whose postings another program made anew, in the database alone: the view is told to differ, and is made anew."""
    with ExitStack() as stack:
        damaged = Damaged(tmp_path, stack, settings="always")
        entry = entry_of(music_file(tmp_path, 77))
        damaged.kept.store.replace(2, entry.constellation, entry.hashes)
        assert damaged.kinds(await damaged.check()) == {(checking.VIEW_DIFFERS, 2)}
        await damaged.check(repair=True)
        damaged.view_is_made()
        assert (await damaged.check())["n_findings"] == 0


async def test_only_the_local_socket_repairs(damaged: Damaged) -> None:
    """A caller that may not name files may look, and not change."""
    with pytest.raises(InvalidRequest, match="local control socket"):
        await damaged.maintenance.check(CheckIndex(repair=True), Call())
    assert (await damaged.maintenance.check(CheckIndex(), Call()))["n_findings"] == 0


async def test_compact_tells_bytes_before_and_after(damaged: Damaged) -> None:
    """What the file and its log took, and what it takes now; the second time there is nothing to do."""
    before = damaged.kept.store.statistics().size_bytes
    done = await damaged.maintenance.compact(None, LOCAL)
    assert done["is_rewritten"]
    assert (done["n_bytes_before"], done["n_bytes_after"]) == (before, damaged.kept.store.statistics().size_bytes)
    assert not (await damaged.maintenance.compact(None, LOCAL))["is_rewritten"]
    assert (await damaged.check())["n_findings"] == 0


async def test_sizes_tell_of_the_view_and_of_what_is_sorted(damaged: Damaged) -> None:
    """A view in files takes bytes beside the database; a file that was written anew is sorted as a whole."""
    sizes = await damaged.maintenance.sizes()
    assert sizes["clustered_share"] == 0.0
    if damaged.kept.upkeep is None:
        assert sizes["view_bytes"] is None
    else:
        on_disk = sum(path.stat().st_size for path in damaged.files[0].parent.glob("index.duckdb.view/segment-*/*"))
        assert 0 < sizes["view_bytes"] <= on_disk
    await damaged.maintenance.compact(None, LOCAL)
    assert (await damaged.maintenance.sizes())["clustered_share"] == 1.0


async def test_a_cancelled_compaction_ends_soon_and_leaves_the_index_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C arrives as a cancellation: the thread stops between two slices, and nothing of the new file is left."""
    monkeypatch.setattr(compaction, "SLICE_POSTINGS", 1)
    monkeypatch.setattr(maintenance_module, "_TELL_S", 0.001)
    with ExitStack() as stack:
        damaged = Damaged(tmp_path, stack, settings="never")
        before = (tmp_path / "index.duckdb").stat().st_ino
        async with open_workers(n_processes=1, max_waiting=8) as workers:
            maintenance = Maintenance(damaged.kept, workers, PARAMS, fingerprint_timeout_s=60.0)
            with trio.fail_after(20), trio.CancelScope() as scope:

                async def cancel(**_figures: object) -> None:
                    scope.cancel()

                await maintenance.compact(None, Call(progress=cancel))  # type: ignore[arg-type]
            assert scope.cancelled_caught
        assert (tmp_path / "index.duckdb").stat().st_ino == before
        assert not (tmp_path / "index.duckdb.compact").exists()
        assert (await damaged.check())["n_findings"] == 0
