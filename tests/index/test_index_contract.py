"""The contract of `dejavud.index.base.Index`, over every kind of index."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_entries import SQL, meetings_of, new_track, open_kind, rows_of, sha1_of

from dejavud.errors import IndexUnavailable, Timeout, TrackIdTaken
from dejavud.values import Constellation, Hashes, TrackEdit

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.index.base import Index

NO_HASHES = Hashes(np.empty(0), np.empty(0))


def test_an_added_track_is_kept_field_by_field(index: Index) -> None:
    """What add returns and what tracks returns later is the entry with an id, counts and the time."""
    entry = new_track(1, album="Álbum 🎵", artist="", path=None)
    before = datetime.now(UTC)
    (added,) = index.add([entry])
    assert [added] == list(index.tracks())
    assert (added.title, added.artist, added.album, added.path) == (entry.title, "", "Álbum 🎵", None)
    assert (added.file_sha1, added.duration_s) == (entry.file_sha1, entry.duration_s)
    assert (added.n_peaks, added.n_hashes) == (len(entry.constellation), len(entry.hashes))
    assert before - timedelta(milliseconds=1) <= added.added_at <= datetime.now(UTC)
    assert added.added_at.utcoffset() == timedelta(0)


def test_text_that_no_database_takes_is_replaced(index: Index) -> None:
    """A file name that is not UTF-8 and a tag with NUL are kept as far as they can be."""
    (added,) = index.add([new_track(1, title="a\0b", path="/music/caf\udce9.mp3")])
    assert (added.title, added.path) == ("a\ufffdb", "/music/caf\ufffd.mp3")
    assert list(index.tracks()) == [added]


def test_ids_are_positive_ascending_and_never_given_again(index: Index) -> None:
    """A removed track's id is not given to the next one, even where it was the greatest."""
    first, second = index.add([new_track(1), new_track(2)])
    assert 0 < first.id < second.id
    index.remove([second.id])
    (third,) = index.add([new_track(2)])
    assert third.id > second.id


def test_add_is_idempotent_by_content(index: Index) -> None:
    """A known file is answered with the track that is there, whatever its tags are now, and nothing is stored twice."""
    (old,) = index.add([new_track(1)])
    again, new = index.add([new_track(1, title="retagged"), new_track(2)])
    assert again == old
    assert [track.id for track in index.tracks()] == [old.id, new.id]
    hashes = {old.id: new_track(1).hashes, new.id: new_track(2).hashes}
    assert rows_of(index.lookup(hashes[old.id])) == meetings_of(hashes[old.id], hashes)
    assert index.statistics().n_postings == 2 * 200


def test_two_copies_in_one_batch_are_one_track(index: Index) -> None:
    """The first of equal entries is stored, and the answer stays parallel to the entries."""
    added = index.add([new_track(1, title="first"), new_track(2), new_track(1, title="second")])
    assert added[0] == added[2]
    assert [track.title for track in added] == ["first", "Title 2", "first"]
    assert index.statistics().n_tracks == 2


def test_an_empty_add_and_an_empty_remove_do_nothing(index: Index) -> None:
    """Empty input is answered with empty output."""
    assert list(index.add([])) == []
    assert list(index.remove([])) == []


def test_lookup_returns_every_meeting(index: Index) -> None:
    """Every pair of a query hash and a posting of the same value is one row, repeated hashes each counting."""
    entries = [new_track(seed, n_values=60) for seed in range(4)]
    added = index.add(entries)
    query = new_track(9, 120, n_values=80).hashes
    stored = {track.id: entry.hashes for track, entry in zip(added, entries, strict=True)}
    assert rows_of(index.lookup(query)) == meetings_of(query, stored)


def test_lookup_covers_the_whole_range_of_hashes_and_frames(index: Index) -> None:
    """The least and the greatest uint32 and int32 are as good as any value."""
    edges = Hashes([0, 2**31 - 1, 2**31, 2**32 - 1], [0, 1, -(2**31), 2**31 - 1])
    (added,) = index.add([new_track(1, hashes=edges)])
    assert rows_of(index.lookup(edges)) == meetings_of(edges, {added.id: edges})


def test_lookup_of_nothing_and_in_nothing_is_empty(index: Index) -> None:
    """No hashes, no tracks, no common value: no hits, of the right dtypes."""
    assert len(index.lookup(NO_HASHES)) == 0
    assert len(index.lookup(new_track(1).hashes)) == 0
    index.add([new_track(1)])
    assert len(index.lookup(NO_HASHES)) == 0
    none = index.lookup(Hashes([5000], [0]))
    assert len(none) == 0
    assert none.track_ids.dtype == np.int32


def test_a_track_without_hashes_or_peaks_is_still_a_track(index: Index) -> None:
    """Silence can be catalogued."""
    silent = new_track(1, hashes=NO_HASHES, constellation=Constellation(np.empty(0), np.empty(0), 7, np.empty(0)))
    (added,) = index.add([silent])
    assert (added.n_peaks, added.n_hashes) == (0, 0)
    assert index.constellations([added.id])[added.id].n_frames == 7


def test_a_steady_tone_is_bounded_by_leaving_out_the_commonest_hashes(
    kind: str, tmp_path: Path, params: Params
) -> None:
    """Where there would be more meetings than the bound, hashes that meet a great part of it are not asked at all."""
    hashes = Hashes([7] * 50 + [8] * 3 + [9], range(54))
    with open_kind(kind, tmp_path, params, max_hits=64) as index:
        (added,) = index.add([new_track(1, hashes=hashes)])
        rare = Hashes([8] * 3 + [9], range(50, 54))
        assert rows_of(index.lookup(hashes)) == meetings_of(rare, {added.id: rare})


def test_what_a_query_repeats_is_asked_once_where_all_is_too_much(kind: str, tmp_path: Path, params: Params) -> None:
    """Equal hashes of one frame count once then; a removed track's postings do not count."""
    with open_kind(kind, tmp_path, params, max_hits=32) as index:
        gone, added = index.add(
            [new_track(0, hashes=Hashes([8] * 50, range(50))), new_track(1, hashes=Hashes([7, 8], range(2)))]
        )
        index.remove([gone.id])
        often = Hashes([7] * 40 + [8], [3] * 40 + [4])
        assert rows_of(index.lookup(often)) == [(3, added.id, 0), (4, added.id, 1)]


def test_of_too_many_meetings_an_even_sample_is_left(kind: str, tmp_path: Path, params: Params) -> None:
    """As many as the bound allows, from everywhere in the query, and the same in whatever order it is asked."""
    hashes = Hashes(range(400), range(400))
    with open_kind(kind, tmp_path, params, max_hits=100) as index:
        (added,) = index.add([new_track(1, hashes=hashes)])
        found = rows_of(index.lookup(hashes))
        assert len(found) == 100
        assert set(found) < set(meetings_of(hashes, {added.id: hashes}))
        assert 30 < sum(frame < 200 for frame, _, _ in found) < 70
        assert rows_of(index.lookup(Hashes(hashes.values[::-1], hashes.offsets[::-1]))) == found


def test_a_lookup_that_takes_too_long_is_stopped(kind: str, index: Index) -> None:
    """The deadline of a look-up holds, and the index answers the next one."""
    n_hashes = 200_000 if kind.startswith(SQL) else 2_000_000  # what takes long depends on who looks
    big = Hashes(np.arange(n_hashes), np.zeros(n_hashes))
    index.add([new_track(1, hashes=big)])
    with pytest.raises(Timeout, match="look-up"):
        index.lookup(big, timeout_s=0.002)
    assert len(index.lookup(Hashes([5], [0]), timeout_s=60)) == 1


def test_tracks_are_selected_by_id_and_content(index: Index) -> None:
    """Both restrictions hold together, what is not there is left out, an empty sequence selects nothing."""
    one, two, three = index.add([new_track(seed) for seed in (1, 2, 3)])
    assert list(index.tracks(ids=[three.id, one.id, 99, one.id])) == [one, three]
    assert list(index.tracks(sha1s=[sha1_of(2), sha1_of(77)])) == [two]
    assert list(index.tracks(ids=[one.id, two.id], sha1s=[sha1_of(2), sha1_of(3)])) == [two]
    assert list(index.tracks(ids=[])) == []
    assert list(index.tracks(sha1s=[])) == []


def test_tracks_are_paged_by_id(index: Index) -> None:
    """Limit and after_id walk through all tracks, each once."""
    added = list(index.add([new_track(seed) for seed in range(5)]))
    assert list(index.tracks(limit=2)) == added[:2]
    assert list(index.tracks(limit=2, after_id=added[1].id)) == added[2:4]
    assert list(index.tracks(limit=2, after_id=added[3].id)) == added[4:]
    assert list(index.tracks(limit=0)) == []
    assert list(index.tracks(after_id=2**40)) == []


def test_impossible_ids_are_ids_that_are_not_there(index: Index) -> None:
    """Zero, negative ids and ids beyond 32 bits are left out everywhere."""
    index.add([new_track(1)])
    impossible = [0, -1, 2**31, 2**63, 10**30]
    assert list(index.tracks(ids=impossible)) == []
    assert list(index.remove(impossible)) == []
    assert dict(index.constellations(impossible)) == {}


def test_remove_deletes_all_that_belongs_to_a_track(index: Index) -> None:
    """A removed track is in no answer any more; the others are untouched; those that were there are returned."""
    one, two, three = index.add([new_track(seed) for seed in (1, 2, 3)])
    assert list(index.remove([three.id, one.id, 99, one.id])) == [one, three]
    assert list(index.tracks()) == [two]
    assert set(index.constellations([one.id, two.id, three.id])) == {two.id}
    assert set(index.lookup(new_track(1).hashes).track_ids.tolist()) == {two.id}
    assert index.statistics().n_postings == two.n_hashes
    assert list(index.remove([one.id])) == []


def test_edits_change_what_they_name_and_nothing_else(index: Index) -> None:
    """None leaves a field as it is, an empty artist or album takes it away; answers ascend by id, without what is not there."""
    one, two = index.add([new_track(seed, album="Album") for seed in (1, 2)])
    edits = {two.id: TrackEdit(artist="", album=""), 99: TrackEdit(title="x"), one.id: TrackEdit(title="Ñandú\0 🎵")}
    changed = list(index.edit(edits))
    assert changed == [replace(one, title="Ñandú\ufffd 🎵"), replace(two, artist=None, album=None)]
    assert list(index.tracks()) == changed
    assert list(index.edit({})) == []
    assert list(index.edit(dict.fromkeys([0, -1, 2**31, 10**30], TrackEdit(title="x")))) == []


def test_a_disabled_track_is_kept_and_in_no_look_up(index: Index) -> None:
    """It vanishes when edit returns, is still listed, counted and read, and comes back whole when it is enabled."""
    one, two = index.add([new_track(seed) for seed in (1, 2)])
    query = new_track(1).hashes
    before = rows_of(index.lookup(query))
    (disabled,) = index.edit({one.id: TrackEdit(disabled=True)})
    assert disabled == replace(one, disabled=True)
    assert set(index.lookup(query).track_ids.tolist()) == {two.id}
    assert list(index.tracks()) == [disabled, two]
    assert set(index.constellations([one.id, two.id])) == {one.id, two.id}
    statistics = index.statistics()
    assert (statistics.n_tracks, statistics.n_disabled, statistics.n_postings) == (2, 1, 400)
    (again,) = index.add([new_track(1)])
    assert again == disabled
    assert list(index.edit({one.id: TrackEdit(disabled=False)})) == [one]
    assert rows_of(index.lookup(query)) == before


def test_tracks_come_and_go_beside_a_disabled_one(index: Index) -> None:
    """What is added, renamed or removed later leaves it disabled; removing it removes all of it."""
    one, two = index.add([new_track(seed) for seed in (1, 2)])
    index.edit({one.id: TrackEdit(disabled=True)})
    (three,) = index.add([new_track(3)])
    index.edit({one.id: TrackEdit(title="renamed")})
    index.remove([two.id])
    query = new_track(1).hashes
    assert set(index.lookup(query).track_ids.tolist()) == {three.id}
    index.remove([one.id])
    assert (index.statistics().n_disabled, index.statistics().n_tracks) == (0, 1)
    (back,) = index.add([new_track(1)])
    assert set(index.lookup(query).track_ids.tolist()) == {three.id, back.id}


def test_disabled_tracks_do_not_count_for_the_bound(kind: str, tmp_path: Path, params: Params) -> None:
    """A steady tone that is disabled takes nothing from the others."""
    with open_kind(kind, tmp_path, params, max_hits=10) as index:
        tone, added = index.add(
            [new_track(0, hashes=Hashes([8] * 50, range(50))), new_track(1, hashes=Hashes([8] * 5, range(5)))]
        )
        index.edit({tone.id: TrackEdit(disabled=True)})
        assert rows_of(index.lookup(Hashes([8], [3]))) == [(3, added.id, frame) for frame in range(5)]


def test_what_a_backup_brings_is_kept(index: Index) -> None:
    """Id, time and state are as they are brought, below and above the others; later ids are greater."""
    (first,) = index.add([new_track(1)])
    index.remove([first.id])
    (second,) = index.add([new_track(2)])
    when = datetime(2011, 2, 3, 4, 5, 6, 789000, UTC)
    brought = [
        new_track(1, id=first.id, added_at=when, disabled=True),
        new_track(3, id=70, added_at=when),
        new_track(2, id=90),
    ]
    one, three, two = index.add(brought)
    assert (one.id, one.added_at, one.disabled) == (first.id, when, True)
    assert (three.id, three.added_at, three.disabled) == (70, when, False)
    assert two == second
    (later,) = index.add([new_track(4)])
    assert later.id > 70
    assert list(index.tracks()) == [one, two, three, later]
    stored = {track.id: new_track(seed).hashes for seed, track in ((2, two), (3, three), (4, later))}
    query = new_track(1).hashes
    assert rows_of(index.lookup(query)) == meetings_of(query, stored)
    assert set(index.constellations([first.id])) == {first.id}


def test_an_id_that_is_taken_is_refused(index: Index) -> None:
    """No track takes another's place, and nothing of the batch is stored."""
    (one,) = index.add([new_track(1)])
    with pytest.raises(TrackIdTaken):
        index.add([new_track(2), new_track(3, id=one.id)])
    with pytest.raises(TrackIdTaken):
        index.add([new_track(2, id=50), new_track(3, id=50)])
    assert list(index.tracks()) == [one]
    assert rows_of(index.lookup(new_track(1).hashes)) == meetings_of(new_track(1).hashes, {one.id: new_track(1).hashes})


def test_an_id_given_again_by_a_backup_brings_nothing_of_its_old_track(index: Index) -> None:
    """After a removal its number may come back with another recording, which alone is found under it."""
    one, two = index.add([new_track(seed) for seed in (1, 2)])
    index.edit({one.id: TrackEdit(disabled=True)})
    index.remove([one.id])
    (other,) = index.add([new_track(3, id=one.id)])
    query = new_track(1).hashes
    assert rows_of(index.lookup(query)) == meetings_of(
        query, {other.id: new_track(3).hashes, two.id: new_track(2).hashes}
    )
    np.testing.assert_array_equal(index.constellations([one.id])[one.id].frames, new_track(3).constellation.frames)


def test_constellations_come_back_as_they_were_added(index: Index) -> None:
    """Frames, bins and the number of frames are the same, and unknown ids are left out."""
    entries = [new_track(seed) for seed in range(3)]
    added = index.add(entries)
    found = index.constellations([*(track.id for track in added), 99])
    assert sorted(found) == [track.id for track in added]
    for track, entry in zip(added, entries, strict=True):
        np.testing.assert_array_equal(found[track.id].frames, entry.constellation.frames)
        np.testing.assert_array_equal(found[track.id].bins, entry.constellation.bins)
        np.testing.assert_array_equal(found[track.id].quarters, entry.constellation.quarters)
        assert found[track.id].n_frames == entry.constellation.n_frames


def test_statistics_count_what_is_stored(index: Index) -> None:
    """An empty index counts zeros; a filled one its tracks, postings, seconds and bytes."""
    empty = index.statistics()
    assert (empty.n_tracks, empty.n_postings, empty.duration_s) == (0, 0, 0.0)
    index.add([new_track(1, 50_000), new_track(2, 50_000)])
    full = index.statistics()
    assert (full.n_tracks, full.n_postings, full.duration_s) == (2, 100_000, 123.0)
    assert full.size_bytes > empty.size_bytes


def test_a_closed_index_says_so(kind: str, tmp_path: Path, params: Params) -> None:
    """Every method of a closed index raises IndexUnavailable."""
    with open_kind(kind, tmp_path, params) as index:
        index.add([new_track(1)])
    for call in (
        lambda: index.add([new_track(2)]),
        lambda: index.remove([1]),
        lambda: index.edit({1: TrackEdit(title="x")}),
        index.tracks,
        lambda: index.lookup(new_track(1).hashes),
        lambda: index.lookup(NO_HASHES),
        lambda: index.constellations([1]),
        index.statistics,
    ):
        with pytest.raises(IndexUnavailable, match="closed"):
            call()
