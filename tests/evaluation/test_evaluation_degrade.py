from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import find_peaks
from synthetic import synthesize

from dejavud.errors import InvalidRequest
from dejavud.evaluation import codecs
from dejavud.evaluation.clips import CLIP_HZ, loudness, prefix, reserve_s
from dejavud.evaluation.codecs import through_companding, through_speech_codec
from dejavud.evaluation.conditions import DEFAULT_CONDITIONS, condition_of, conditions_of
from dejavud.evaluation.degrade import degraded, pink_noise, to_engine

LENGTH_S = 3.0
N_SAMPLES = round(LENGTH_S * CLIP_HZ)
QUIETLY = 0.02
"""So quiet that nothing has to be turned down to stay within full scale."""


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Return quiet music with the reserve that a faster condition takes."""
    return QUIETLY * synthesize(5, reserve_s(LENGTH_S), CLIP_HZ)


def tone(frequency_hz: float) -> np.ndarray:
    """Return a sine with reserve."""
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(reserve_s(LENGTH_S) * CLIP_HZ)) / CLIP_HZ)


def loudest_hz(samples: np.ndarray) -> float:
    """Return where the spectrum has its highest peak."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * CLIP_HZ / len(samples))


@pytest.mark.parametrize("name", ["noise10", "noise0", "noise-5", "babble10", "babble0"])
def test_noise_is_as_loud_as_it_says(music: np.ndarray, name: str) -> None:
    """The music is still in it, and what came to it is so many dB below: over the whole clip, to a hundredth."""
    condition = condition_of(name)
    came = degraded(music, condition, LENGTH_S, [1]) - music[:N_SAMPLES]
    snr_db = 20 * np.log10(loudness(music[:N_SAMPLES]) / loudness(came))
    assert snr_db == pytest.approx(condition.value, abs=0.01)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    """Every octave is as loud as the next."""
    power = np.abs(np.fft.rfft(pink_noise(1 << 18, np.random.default_rng(1)))) ** 2
    octaves = [10 * np.log10(power[1 << k : 2 << k].sum()) for k in range(8, 16)]
    assert np.ptp(octaves) < 1.0


@pytest.mark.parametrize("name", [*DEFAULT_CONDITIONS, "speed-4", "speed+10", "pitch-10"])
def test_a_condition_keeps_length_and_scale(music: np.ndarray, name: str) -> None:
    """Whatever is done to a clip, it is as long as asked, within full scale, and not silent; the same seed does the same."""
    condition = condition_of(name)
    clip = degraded(music / QUIETLY, condition, LENGTH_S, [1, 2])
    assert clip.shape == (N_SAMPLES,)
    assert np.abs(clip).max() <= 1.0
    assert loudness(clip) > 0.01
    np.testing.assert_array_equal(clip, degraded(music / QUIETLY, condition, LENGTH_S, [1, 2]))


@pytest.mark.parametrize("name", ["noise0", "babble0", "room", "roomnoise"])
def test_another_clip_has_other_noise(music: np.ndarray, name: str) -> None:
    """What is drawn is drawn anew for every clip."""
    condition = condition_of(name)
    first, second = (degraded(music, condition, LENGTH_S, [1, number]) for number in (0, 1))
    assert not np.allclose(first, second)


def test_speed_moves_tempo_and_pitch_together() -> None:
    """At +4 % a second of the recording lasts 1/1.04, and a tone is 1.04 times as high."""
    assert loudest_hz(degraded(tone(1000), condition_of("speed+4"), LENGTH_S, [1])) == pytest.approx(1040, abs=1)
    click = np.zeros(round(reserve_s(LENGTH_S) * CLIP_HZ))
    click[2 * CLIP_HZ] = 0.9
    heard = degraded(click, condition_of("speed+4"), LENGTH_S, [1])
    assert np.argmax(heard) / CLIP_HZ == pytest.approx(2 / 1.04, abs=0.001)


def test_pitch_is_moved_and_tempo_kept() -> None:
    """At +3 % a tone is 1.03 times as high, and the beats of music stay where they were."""
    condition = condition_of("pitch+3")
    assert loudest_hz(degraded(tone(1000), condition, LENGTH_S, [1])) == pytest.approx(1030, abs=1)
    clicks = np.zeros(round(reserve_s(LENGTH_S) * CLIP_HZ))
    at = np.array([0.5, 1.2, 2.6])
    clicks[(at * CLIP_HZ).astype(int)] = 0.9
    level = np.abs(degraded(clicks, condition, LENGTH_S, [1]))
    found, _ = find_peaks(level, height=0.3 * level.max(), distance=CLIP_HZ // 4)
    assert found / CLIP_HZ == pytest.approx(at, abs=0.02)


def test_a_room_rings_on(music: np.ndarray) -> None:
    """After the music stops there is sound, 20 to 30 dB weaker a fifth of a second later, and less than it all the time."""
    cut = np.concatenate([music[:CLIP_HZ], np.zeros(len(music) - CLIP_HZ)])
    heard = degraded(cut, condition_of("room"), LENGTH_S, [1])
    early, late = (loudness(heard[CLIP_HZ + n : CLIP_HZ + n + 2000]) for n in (500, round(0.2 * CLIP_HZ)))
    assert 10 < 20 * np.log10(early / late) < 40
    assert loudness(heard[round(1.6 * CLIP_HZ) :]) < 1e-6


def test_the_phone_has_its_band() -> None:
    """A tone within 300 to 3400 Hz comes through; one below and one above do not."""
    heard = {hz: loudness(degraded(tone(hz), condition_of("phone"), LENGTH_S, [1])) for hz in (60, 1000, 6000)}
    assert heard[60] < 0.02 * heard[1000]
    assert heard[6000] < 0.02 * heard[1000]


@pytest.mark.parametrize("name", ["mp3_64k", "phone"])
def test_a_codec_changes_the_sound_and_not_its_place(name: str) -> None:
    """What comes back is not what went in, and lies where that lay to within 2 ms."""
    music = synthesize(5, reserve_s(LENGTH_S), CLIP_HZ)
    original, heard = music[:N_SAMPLES], degraded(music, condition_of(name), LENGTH_S, [1])
    n = 2 * N_SAMPLES
    correlation = np.fft.irfft(np.fft.rfft(heard, n) * np.conj(np.fft.rfft(original, n)))
    late = int(np.argmax(correlation))
    assert abs(late - n if late > N_SAMPLES else late) <= 0.002 * CLIP_HZ
    assert not np.allclose(original, heard, atol=1e-3)


def test_without_a_mobile_phones_codec_a_landlines_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PyAV lacks AMR the telephone is G.711's eight bits, and an mp3 is refused with what to do about it."""
    voice = synthesize(5, 1.0, 8000)
    monkeypatch.setattr(codecs, "has_encoder", lambda _name: False)
    heard = through_speech_codec(voice)
    np.testing.assert_array_equal(heard, through_companding(voice))
    assert 0 < np.abs(heard - voice).max() < 0.05
    with pytest.raises(InvalidRequest, match="leave it out of --conditions"):
        degraded(voice, condition_of("mp3_64k"), 0.5, [1])


def test_lengths_are_beginnings_of_one_another(music: np.ndarray) -> None:
    """The shorter clip is the longer one's beginning, to the sample, at the engine's rate."""
    clip = to_engine(degraded(music, condition_of("roomnoise"), LENGTH_S, [1]), 8000)
    assert (len(prefix(clip, 1.0, 8000)), len(prefix(clip, 3.0, 8000))) == (8000, 24000)
    np.testing.assert_array_equal(prefix(clip, 1.0, 8000), prefix(clip, 3.0, 8000)[:8000])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nois0", "did you mean noise0"),
        ("xyzzy", "there are clean"),
        ("speed+40", "up to 10 %"),
        ("pitch+0", "up to 10 %"),
        ("noise99", "from -60 to 60"),
        ("noise", "did you mean noise"),
    ],
)
def test_a_wrong_condition_is_explained(name: str, said: str) -> None:
    """The message says what would have been right."""
    with pytest.raises(ValueError, match=r"condition|up to|from") as raised:
        condition_of(name)
    assert said in str(raised.value)


def test_every_condition_says_what_it_is_like() -> None:
    """Each has a reason in one line, with its own figure in it; a name given twice counts once."""
    conditions = conditions_of([*DEFAULT_CONDITIONS, "clean"])
    assert tuple(condition.name for condition in conditions) == DEFAULT_CONDITIONS
    assert all(condition.reason and "{" not in condition.reason for condition in conditions)
    assert condition_of("speed-4").speed == pytest.approx(0.96)
    assert "-4 %" in condition_of("speed-4").reason
