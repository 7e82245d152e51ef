"""The constants of dejavu's fingerprint, one set a generation of the program.

A database of dejavu does not say which constants made it, and hashes made with others never meet: whoever asks it has to know
the generation.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from dejavud.fingerprint.params import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping

DIAMOND, SQUARE = 1, 2
"""The values of `ClassicParams.connectivity`, as scipy's `generate_binary_structure` has them."""

MAX_N_FFT = 1 << 17

CLASSIC = "classic"
"""The family of profiles that are dejavu's own."""


@dataclass(frozen=True, slots=True)
class ClassicParams:
    """One set of dejavu's constants; the names in dejavu's own settings are in capitals.

    name : of the generation; not part of the digest, as some generations share their constants.
    fan_value : DEFAULT_FAN_VALUE; one more than the partners of an anchor, or as many where pairs_with_itself.
    amp_min_db : DEFAULT_AMP_MIN; a peak lies strictly above it, on the scale of int16 amplitudes.  Never negative.
    neighborhood_cells : PEAK_NEIGHBORHOOD_SIZE; a peak is the maximum of this many frames and bins to either side.
    connectivity : CONNECTIVITY_MASK; DIAMOND, or SQUARE, which reaches as far in the corners.
    rate_hz : what the samples are taken to be at.  It moves the scale of levels by 10 log10 of it and nothing else.  Programs
        that went by each file's own rate are met with ``dataclasses.replace(params, rate_hz=...)``.
    dt_min_frames, dt_max_frames : MIN_HASH_TIME_DELTA, MAX_HASH_TIME_DELTA; None is no limit.
    sorted_by_time : PEAK_SORT; peaks are paired in order of (frame, bin), otherwise of (bin, frame).
    pairs_with_itself : the first version counted a peak as its own first partner.
    hash_digits : FINGERPRINT_REDUCTION; hexadecimal digits kept of a SHA-1, an even number.
    n_fft, hop_samples : DEFAULT_WINDOW_SIZE, and what DEFAULT_OVERLAP_RATIO leaves of it.
    query_united : a query asks with the union of its channels' hashes, each at every offset that it has.  Before that a query asked
        with one channel after the other, and of each hash with the last of its offsets only.  Not part of the digest.

    Raises
    ------
    ValueError
        A value that no dejavu could have had, or that dejavu would have made no hashes with.
    """

    hash_bits: ClassVar[int] = 64

    name: str
    fan_value: int = 15
    amp_min_db: float = 10.0
    neighborhood_cells: int = 20
    connectivity: int = DIAMOND
    rate_hz: int = 44100
    dt_min_frames: int = 0
    dt_max_frames: int | None = 200
    sorted_by_time: bool = True
    pairs_with_itself: bool = False
    hash_digits: int = 20
    n_fft: int = 4096
    hop_samples: int = 2048
    query_united: bool = False

    def __post_init__(self) -> None:
        rules = {
            "fan_value must be at least 1": self.fan_value >= 1,
            "amp_min_db must be 0 or more": self.amp_min_db >= 0,
            "neighborhood_cells must be at least 1": self.neighborhood_cells >= 1,
            "connectivity must be 1 (diamond) or 2 (square)": self.connectivity in (DIAMOND, SQUARE),
            "rate_hz must be positive": self.rate_hz > 0,
            "dt_min_frames must be 0 or more": self.dt_min_frames >= 0,
            "dt_max_frames must not be less than dt_min_frames": self.dt_max_frames is None
            or self.dt_max_frames >= self.dt_min_frames,
            "hash_digits must be even, from 2 to 40": self.hash_digits in range(2, 41, 2),
            f"n_fft must be even, from 2 to {MAX_N_FFT}": self.n_fft in range(2, MAX_N_FFT + 1, 2),
            "hop_samples must be from 1 to n_fft": 1 <= self.hop_samples <= self.n_fft,
        }
        broken = [rule for rule, kept in rules.items() if not kept]
        if broken:
            msg = f"classic parameters {self.name!r}: {'; '.join(broken)}"
            raise ValueError(msg)

    @property
    def digest(self) -> str:
        """Return 16 hex digits that differ whenever a constant does."""
        return digest_of(self.stored())

    @property
    def profile(self) -> str:
        """Return what conf, the index and every answer call this generation's fingerprint."""
        return f"{CLASSIC}/{self.name}"

    def stored(self) -> dict[str, object]:
        """Return every constant that stored hashes depend on, by name."""
        return {name: value for name, value in asdict(self).items() if name not in {"name", "query_united"}}

    def n_frames(self, n_samples: int) -> int:
        """Return how many frames `n_samples` have: less than a whole frame still makes one, nothing makes none."""
        if n_samples == 0:
            return 0
        return max(0, n_samples - self.n_fft) // self.hop_samples + 1

    def frames_to_seconds(self, n_frames: float, rate_hz: float) -> float:
        """Return the time of an offset in a recording that was at `rate_hz`, which dejavu's database does not keep."""
        return n_frames * self.hop_samples / rate_hz


GENERATIONS: Mapping[str, ClassicParams] = MappingProxyType(
    {
        params.name: params
        for params in (
            ClassicParams("dejavu-2013-11", dt_max_frames=None, sorted_by_time=False, pairs_with_itself=True),
            ClassicParams("dejavu-2014-02", dt_max_frames=None, sorted_by_time=False),
            ClassicParams("dejavu-2014-03", sorted_by_time=False),
            ClassicParams("dejavu-0.1.3"),
            ClassicParams("dejavu-2020", fan_value=5, neighborhood_cells=10, connectivity=SQUARE, query_united=True),
            ClassicParams("ivlovric-1.4"),
            ClassicParams("ivlovric-1.5", fan_value=40, amp_min_db=15.0, neighborhood_cells=7, rate_hz=8000),
        )
    }
)
"""By name.  dejavu-2013-11: the first, until 2014-02-20.  dejavu-2014-02: until 2014-03-03.  dejavu-2014-03: until
2014-07-02.  dejavu-0.1.3: from 2014-07-03, with the last numbered release, to 2019-09.  dejavu-2020: from 2019-09, the newest.
ivlovric-1.4: the forks of bcollazo and ivlovric until 2022-12-26.  ivlovric-1.5: after it."""
