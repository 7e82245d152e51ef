"""Parameters: a digest for what is stored, and units that convert."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.fingerprint.params import Params

PARAMS = Params()
NAMES = [field.name for field in fields(Params)]
QUERY_ONLY = [name for name in NAMES if name.startswith("query_")]


def changed(name: str) -> Params:
    """Return the parameters with another value of `name`."""
    value: Any = getattr(PARAMS, name)
    return replace(PARAMS, **{name: value + ("x" if isinstance(value, str) else 1)})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in QUERY_ONLY])
def test_what_shapes_the_stored_hashes_is_in_the_digest(name: str) -> None:
    """Another value of a parameter that the index depends on is another digest."""
    assert changed(name).digest != PARAMS.digest


@pytest.mark.parametrize("name", QUERY_ONLY)
def test_what_only_a_query_uses_is_not(name: str) -> None:
    """A query may be asked more densely than before of an index that exists."""
    assert changed(name).digest == PARAMS.digest


def test_the_digest_is_sixteen_hexadecimal_digits_and_repeats() -> None:
    """Equal parameters have equal digests, short enough to show."""
    assert Params().digest == PARAMS.digest
    assert len(PARAMS.digest) == 16
    assert int(PARAMS.digest, 16) >= 0


@given(st.integers(0, 10**9))
def test_samples_survive_being_seconds(n_samples: int) -> None:
    """Samples to seconds and back are the same samples."""
    assert PARAMS.seconds_to_samples(PARAMS.samples_to_seconds(n_samples)) == n_samples


@given(st.integers(0, 10**7))
def test_frames_are_counted_as_they_are_cut(n_frames: int) -> None:
    """So many frames need exactly one window and a hop for each further one; a sample less is a frame less."""
    n_samples = (n_frames - 1) * PARAMS.hop_samples + PARAMS.n_fft
    if n_frames > 0:
        assert PARAMS.n_frames(n_samples) == n_frames
        assert PARAMS.n_frames(n_samples - 1) == n_frames - 1
    assert PARAMS.frames_to_seconds(n_frames) == pytest.approx(n_frames / PARAMS.frames_per_s)


def test_a_second_of_frames_is_a_second() -> None:
    """The units meet: frames a second, hop and rate name one time axis."""
    assert PARAMS.frames_to_seconds(PARAMS.frames_per_s) == 1.0
    assert PARAMS.samples_to_seconds(PARAMS.hop_samples) == PARAMS.frames_to_seconds(1)
    assert PARAMS.n_frames(0) == PARAMS.n_frames(PARAMS.n_fft - 1) == 0
