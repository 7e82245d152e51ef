"""Queries through the library: the old calls, with true values."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from api_music import PIECE_S, UNKNOWN, clip, clip_file, piece_file
from synthetic import synthesize, write_wav

from dejavud import Dejavu
from dejavud.errors import InvalidRequest, UnreadableFile, UnsupportedAudio
from dejavud.recognize import FileRecognizer, MicrophoneRecognizer

if TYPE_CHECKING:
    from pathlib import Path

    from fixtures_sound import SoundCard

FRAME_S = 0.032
ANSWER_KEYS = {"total_time", "fingerprint_time", "query_time", "align_time", "results"}
SONG_KEYS = {
    "song_id",
    "song_name",
    "input_total_hashes",
    "fingerprinted_hashes_in_db",
    "hashes_matched_in_input",
    "input_confidence",
    "fingerprinted_confidence",
    "offset",
    "offset_seconds",
    "file_sha1",
}


def only(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the one song of an answer."""
    (song,) = answer["results"]
    return song


@pytest.mark.parametrize("query_hz", [8000, 44100, 48000])
@pytest.mark.parametrize("track_hz", [8000, 44100, 48000])
def test_rates_do_not_matter(tmp_path: Path, track_hz: int, query_hz: int) -> None:
    """A song is recognized at its place whatever the rate of its file and that of the clip; the old library needed them equal."""
    with Dejavu(dburl="memory://") as library:
        for seed in (1, 2):
            library.fingerprint_file(piece_file(tmp_path / f"piece{seed}.wav", seed, track_hz))
        found = only(library.recognize(FileRecognizer, clip_file(tmp_path / "clip.wav", 2, 5.0, rate_hz=query_hz)))
    assert found["song_name"] == "piece2"
    assert found["offset_seconds"] == pytest.approx(5.0, abs=0.02)
    assert found["offset"] == round(found["offset_seconds"] / FRAME_S)


def test_an_answer_has_the_old_keys_with_true_values(library: Dejavu, music: Path, tmp_path: Path) -> None:
    """Each of the ten keys of a song says what it means, in the types of JSON, and nothing is named that is not there."""
    answer = library.recognize(FileRecognizer, str(clip_file(tmp_path / "clip.wav", 3, 2.5)))
    assert set(answer) == ANSWER_KEYS
    found = only(answer)
    assert set(found) == SONG_KEYS | {"confidence"}
    stored = library.db.get_song_by_id(found["song_id"])
    assert stored is not None
    path = music / "piece3.wav"
    assert found["file_sha1"] == hashlib.sha1(path.read_bytes()).hexdigest()  # noqa: S324 - as files are told apart
    assert (found["song_name"], found["song_id"]) == ("piece3", stored["song_id"])
    assert found["fingerprinted_hashes_in_db"] == stored["total_hashes"]
    assert 50 < found["hashes_matched_in_input"] <= found["input_total_hashes"]
    assert 0.8 < found["input_confidence"] <= 1
    assert found["fingerprinted_confidence"] == pytest.approx(found["input_confidence"] * 4 / PIECE_S, abs=0.001)
    assert 0.99 < found["confidence"] <= 1
    assert found["offset_seconds"] == pytest.approx(2.5, abs=0.02)
    assert {type(value) for value in found.values()} == {int, float, str}


def test_the_times_are_parts_of_the_whole(library: Dejavu, tmp_path: Path) -> None:
    """Fingerprinting, asking and aligning each take some of the total time, which is in seconds."""
    answer = library.recognize(FileRecognizer, clip_file(tmp_path / "clip.wav", 1, 3.0))
    parts = [answer[name] for name in ("fingerprint_time", "query_time", "align_time")]
    assert min(parts) > 0
    assert sum(parts) < answer["total_time"] < 60


def test_unknown_music_has_no_results(library: Dejavu, tmp_path: Path) -> None:
    """Music that nobody taught, and silence, are no match: the old library always named a song."""
    unknown = clip_file(tmp_path / "unknown.wav", UNKNOWN, 2.0, 6.0)
    silence = write_wav(tmp_path / "silence.wav", np.zeros(5 * 44100, np.float32))
    for path in (unknown, silence):
        answer = library.recognize(FileRecognizer, path)
        assert answer["results"] == []
        assert set(answer) == ANSWER_KEYS


def test_a_query_that_begins_before_its_song_has_a_negative_offset(library: Dejavu, tmp_path: Path) -> None:
    """Two seconds of silence before the song's first note put the query's beginning two seconds before the song's."""
    samples = np.concatenate([np.zeros(2 * 44100, np.float32), synthesize(2, PIECE_S)[: 6 * 44100]])
    found = only(library.recognize(FileRecognizer, write_wav(tmp_path / "early.wav", samples)))
    assert found["offset_seconds"] == pytest.approx(-2.0, abs=0.02)
    assert found["offset"] == round(-2.0 / FRAME_S)


def test_only_hashes_that_agree_are_counted(library: Dejavu, tmp_path: Path) -> None:
    """What is matched in the input are the meetings at the song's place: fewer than those of the song anywhere."""
    path = clip_file(tmp_path / "clip.wav", 1, 6.0)
    found = only(library.recognize(FileRecognizer, path))
    fingerprints, _ = library.generate_fingerprints(clip(1, 6.0))
    _, by_song, _ = library.find_matches(fingerprints)
    assert found["hashes_matched_in_input"] < by_song[found["song_id"]]


def test_the_limit_bounds_songs_and_queries(tmp_path: Path) -> None:
    """With a limit of 6 s what comes later is neither known nor heard."""
    with Dejavu(dburl="memory://", fingerprint_limit=6) as library:
        library.fingerprint_file(piece_file(tmp_path / "piece1.wav", 1))
        assert library.recognize(FileRecognizer, clip_file(tmp_path / "late.wav", 1, 7.5))["results"] == []
        early = clip(1, 1.0)
        hidden = np.concatenate([np.zeros(6 * 44100, np.float32), early])
        assert library.recognize(FileRecognizer, write_wav(tmp_path / "hidden.wav", hidden))["results"] == []
        assert only(library.recognize(FileRecognizer, write_wav(tmp_path / "early.wav", early)))


def test_the_three_steps_find_what_the_whole_does(library: Dejavu, tmp_path: Path) -> None:
    """Samples through generate_fingerprints, find_matches and align_matches give the song that a recognition gives."""
    path = clip_file(tmp_path / "clip.wav", 2, 4.0, rate_hz=48000)
    samples = np.round(clip(2, 4.0, rate_hz=48000) * 32767).astype(np.int16)
    fingerprints, fingerprint_s = library.generate_fingerprints(samples, Fs=48000)
    matches, by_song, query_s = library.find_matches(fingerprints)
    results = library.align_matches(matches, by_song, len(fingerprints), topn=1)
    assert results == library.recognize(FileRecognizer, path)["results"]
    assert min(fingerprint_s, query_s) > 0
    assert len(matches) == sum(by_song.values()) == len(list(matches))


def test_samples_are_taken_as_files_hold_them(library: Dejavu) -> None:
    """16-bit samples, the same as a list, as 32 bits and as floats are one query."""
    pcm = np.round(clip(1, 2.0, 2.0) * 32767).astype(np.int16)
    same = [pcm, pcm.tolist(), pcm.astype(np.int32) << 16, pcm / 32768]
    queries = [dict(library.generate_fingerprints(samples)[0]) for samples in same]
    assert queries[0]
    assert all(query == queries[0] for query in queries)
    assert len(library.generate_fingerprints([])[0]) == 0


@pytest.mark.parametrize(
    ("samples", "rate_hz", "reason"),
    [
        ([0, 70000], 44100, "16-bit"),
        (np.zeros((9, 2)), 44100, "one channel"),
        (np.zeros(9, np.uint32), 44100, "not uint32"),
        (["a"], 44100, "integers"),
        ([0], 0, "Fs"),
        ([0], math.nan, "Fs"),
    ],
)
def test_samples_that_are_none_are_refused(library: Dejavu, samples: Any, rate_hz: float, reason: str) -> None:  # noqa: ANN401 - what the case says
    """What cannot be PCM is named with what was expected."""
    with pytest.raises(InvalidRequest, match=reason):
        library.generate_fingerprints(samples, rate_hz)


def test_steps_out_of_order_are_refused(library: Dejavu) -> None:
    """Lists of pairs hold nothing to verify against: the steps take each other's results and say so."""
    fingerprints, _ = library.generate_fingerprints(clip(1, 2.0, 2.0))
    with pytest.raises(InvalidRequest, match="return_matches"):
        library.find_matches(list(fingerprints))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="find_matches"):
        library.align_matches(library.db.return_matches(fingerprints)[0])  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="topn"):
        library.align_matches(library.find_matches(fingerprints)[0], topn=0)


def test_files_that_cannot_be_heard_say_why(library: Dejavu, tmp_path: Path) -> None:
    """A missing file and one that is no audio are the errors they are everywhere."""
    (tmp_path / "text.mp3").write_text("no music")
    with pytest.raises(UnreadableFile, match="no such file"):
        library.recognize(FileRecognizer, tmp_path / "missing.wav")
    with pytest.raises(UnsupportedAudio):
        library.recognize(FileRecognizer, tmp_path / "text.mp3")


def test_a_recognizer_of_ones_own(library: Dejavu) -> None:
    """Any class that is made with a `Dejavu` and has `recognize` can be given, with its own options."""

    class SamplesRecognizer:
        def __init__(self, dejavu: Dejavu) -> None:
            self.dejavu = dejavu

        def recognize(self, samples: Any, *, rate_hz: int) -> list[str]:  # noqa: ANN401 - any PCM
            matches, *_ = self.dejavu.find_matches(self.dejavu.generate_fingerprints(samples, rate_hz)[0])
            return [song["song_name"] for song in self.dejavu.align_matches(matches)]

    assert library.recognize(SamplesRecognizer, clip(3, 5.0, rate_hz=8000), rate_hz=8000) == ["piece3"]


def test_it_recognizes_what_the_microphone_hears(library: Dejavu, sound_card: SoundCard, tmp_path: Path) -> None:
    """Music from a loudspeaker is recognized from a real take of the sound card, in the shape of a file's answer."""
    song = piece_file(tmp_path / "song.wav", 2)
    with sound_card.playing(song):
        answer = library.recognize(MicrophoneRecognizer, seconds=5)
    assert set(answer) == ANSWER_KEYS
    assert only(answer)["song_name"] == "piece2"


def test_a_machine_without_a_microphone_says_so(library: Dejavu, no_sound_card: None) -> None:
    """The error is that of the daemon, not a traceback of PortAudio's."""
    assert no_sound_card is None
    with pytest.raises(Exception, match="microphone") as raised:
        library.recognize(MicrophoneRecognizer)
    assert getattr(raised.value, "code", None) == "microphone_unavailable"


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan, "10", True])
def test_a_take_of_no_length_is_refused(library: Dejavu, seconds: Any) -> None:  # noqa: ANN401 - what the case says
    """Seconds are a number above 0; the old program passed its argument on as text."""
    with pytest.raises(InvalidRequest, match="seconds"):
        library.recognize(MicrophoneRecognizer, seconds)


def test_a_recognition_tells_the_best_guess_when_asked_to(library: Dejavu, music: Path, tmp_path: Path) -> None:
    """By the configuration's rules or by a confidence of one's own: music that is not there is no match, or an unsure guess."""
    surely = library.recognition(clip_file(tmp_path / "clip.wav", 3, 2.5))
    assert [match.track.path for match in surely.matches] == [str(music / "piece3.wav")]
    assert surely.matches[0].track_start_s == pytest.approx(2.5, abs=0.02)
    unknown = clip_file(tmp_path / "unknown.wav", UNKNOWN, 1.0)
    assert library.recognition(unknown).matches == ()
    assert all(match.confidence < 0.99 for match in library.recognition(unknown, min_confidence=0.0).matches)


def test_files_are_added_as_those_of_a_folder_are(music: Path) -> None:
    """The report tells of the files that were given and of no others."""
    with Dejavu(dburl="memory://") as library:
        chosen = [music / "piece1.wav", music / "none.wav"]
        report = library.fingerprint_files(chosen)
        assert (list(report.added), list(report.failed)) == ([str(chosen[0])], [str(chosen[1])])
        assert library.db.get_num_songs() == 1
