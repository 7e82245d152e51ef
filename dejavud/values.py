"""The nouns: frozen values that every floor above shares.

Parallel arrays live together in one class that checks that they are parallel and makes them read-only, so a value can
be handed to a thread, a process or a cache without a copy and without a doubt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from numpy.typing import DTypeLike, NDArray

    Array = NDArray[Any]


def freeze_arrays(owner: object, dtypes: dict[str, DTypeLike]) -> None:
    """Convert the named fields to their dtypes, check that their lengths agree and make them read-only."""
    lengths = set()
    for name, dtype in dtypes.items():
        array = np.ascontiguousarray(getattr(owner, name), dtype=dtype)
        if array.ndim != 1:
            msg = f"{type(owner).__name__}.{name} has {array.ndim} dimensions, not one"
            raise ValueError(msg)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        object.__setattr__(owner, name, array)
        lengths.add(len(array))
    if len(lengths) > 1:
        msg = f"{type(owner).__name__}: parallel arrays of lengths {sorted(lengths)}"
        raise ValueError(msg)


N_QUARTERS = 4
"""Into so many classes of prominence a constellation's peaks fall."""


@dataclass(frozen=True, slots=True, eq=False)
class Constellation:
    """The peaks of a recording, in order of (frame, bin).

    frames : int32 [n], ascending, frames.
    bins : int16 [n], STFT bins.
    n_frames : number of STFT frames of the recording, peaks or not.
    quarters : uint8 [n], 0 to 3: which quarter of the peaks around it the peak belongs to, the most prominent being 0.
        What noise leaves of a recording is its prominent peaks, so verification expects more of them.
    """

    frames: Array
    bins: Array
    n_frames: int
    quarters: Array

    def __post_init__(self) -> None:
        freeze_arrays(self, {"frames": np.int32, "bins": np.int16, "quarters": np.uint8})

    def __len__(self) -> int:
        return len(self.frames)

    def most_prominent(self, n_quarters: int) -> Constellation:
        """Return the constellation of the first `n_quarters` quarters only."""
        kept = self.quarters < n_quarters
        return Constellation(self.frames[kept], self.bins[kept], self.n_frames, self.quarters[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Hashes:
    """Hashed pairs of peaks, and where their anchors are.

    values : in no promised order, repeats possible; uint32 [n], packed landmarks (``fingerprint.hashing``), or uint64 [n] where
        the profile's hashes are wider.
    offsets : int32 [n], the anchors' frames.
    """

    values: Array
    offsets: Array

    def __post_init__(self) -> None:
        wide = np.asarray(self.values).dtype == np.uint64
        freeze_arrays(self, {"values": np.uint64 if wide else np.uint32, "offsets": np.int32})

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def concatenate(cls, parts: Sequence[Hashes]) -> Hashes:
        """Return all hashes of `parts`, in order; empty when there are none."""
        if not parts:
            return cls(np.empty(0, np.uint32), np.empty(0, np.int32))
        return cls(np.concatenate([p.values for p in parts]), np.concatenate([p.offsets for p in parts]))


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How near each cell of a query's spectrogram is to being a peak: what a track's constellation is held against.

    depths : uint8 [n_shifts, n_frames, n_bins], quarters of a dB that the cell lies below the local maximum around it, one
        map a sub-frame shift; 0 is a local maximum, 255 is 63.75 dB and more, or silence.
    bin_min : the STFT bin of the first column.
    """

    depths: Array
    bin_min: int

    @property
    def n_shifts(self) -> int:
        """Return how many sub-frame shifts there are."""
        return int(self.depths.shape[0])

    @property
    def n_frames(self) -> int:
        """Return how many frames of the query every shift has."""
        return int(self.depths.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class QueryFingerprint:
    """What is asked of the index for one query.

    hashes : of all sub-frame shifts together; offsets in frames of the query.
    constellation : of the unshifted query, to be asked at other scales.
    evidence : what candidates are verified against.
    """

    hashes: Hashes
    constellation: Constellation
    evidence: Evidence
    duration_s: float


@dataclass(frozen=True, slots=True, eq=False)
class ClassicQuery:
    """What is asked of an index of dejavu's own hashes for one query.

    hashes : of 64 bits; offsets in frames of the query.  A pair may come more than once, where the generation asks so.
    frame_s : seconds from one frame of the query to the next; dejavu's frames are of the file's own rate.
    """

    hashes: Hashes
    duration_s: float
    frame_s: float


@dataclass(frozen=True, slots=True)
class Scale:
    """How many times as fast (tempo) and as high (pitch) as the track a query is played."""

    speed: float
    pitch: float


UNSCALED = Scale(1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Query hashes that met postings, one row a meeting, in no promised order.

    query_offsets : int32 [n], frames of the query.
    track_ids : int32 [n].
    track_offsets : int32 [n], frames of the track.
    unseen : parts of the index that could not be asked, such as a server that is down; a track may have more hits than are here.
    """

    query_offsets: Array
    track_ids: Array
    track_offsets: Array
    unseen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze_arrays(self, {"query_offsets": np.int32, "track_ids": np.int32, "track_offsets": np.int32})

    def __len__(self) -> int:
        return len(self.track_ids)


@dataclass(frozen=True, slots=True)
class Tags:
    """What a recording says of itself; None where it says nothing."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None


@dataclass(frozen=True, slots=True)
class NewTrack:
    """A recording about to be added: everything but the id that the index gives it.

    file_sha1 : 40 lower-case hex digits, of the file's bytes: the identity of a track.
    path : where the file was when it was added, or the name it was uploaded by; None when it had neither.
    id, added_at : those that a backup remembers; as a rule None, and the index gives them.
    """

    title: str
    artist: str | None
    album: str | None
    path: str | None
    file_sha1: str
    duration_s: float
    constellation: Constellation
    hashes: Hashes
    id: int | None = None
    added_at: datetime | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Track:
    """One known recording as the index keeps it.

    disabled : it is kept, and never named in an answer.
    """

    id: int
    title: str
    artist: str | None
    album: str | None
    path: str | None
    file_sha1: str
    duration_s: float
    n_peaks: int
    n_hashes: int
    added_at: datetime
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class TrackEdit:
    """What is to be changed of a track; None leaves it as it is, an empty `artist` or `album` takes that away."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class IndexStatistics:
    """How much an index holds; disabled tracks are counted with the others, and by themselves.

    reachable : False where the database is away, and these are what was counted last.
    answers_from : who answers queries: the "database", or the resident "view" of it.
    """

    n_tracks: int
    n_postings: int
    duration_s: float
    size_bytes: int
    n_disabled: int = 0
    reachable: bool = True
    answers_from: str = "database"


@dataclass(frozen=True, slots=True)
class Alignment:
    """A track laid against the query: where, how well, and for how much of it.

    delta_frames : frame of the track at the query's start, to a fraction; negative where the query starts before the track.
    speed, pitch : how many times as fast and as high as the track the query is.
    score : for ranking only: log-likelihood ratio against chance, nats, or of a classic profile the hashes that agree.
    confidence : 0..1.
    coverage : share of the query's time in which the alignment is seen, 0..1.
    first_frame, last_frame : the stretch of the query in which it is seen, [first, last).
    gaps : breaks in that stretch, each frames [first, last) of the query.
    twins : ids of other tracks that hold the same recording there, such as a compilation's release of it.
    """

    track_id: int
    delta_frames: float
    speed: float
    pitch: float
    score: float
    confidence: float
    coverage: float
    first_frame: float = 0.0
    last_frame: float = math.inf
    gaps: tuple[tuple[float, float], ...] = ()
    twins: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """An alignment in seconds on both axes, with the track it names.

    query_start_s, query_end_s : the stretch of the query in which the track is heard; track_start_s, track_end_s : the same moments
        of the track.
    gaps : breaks in it, each from and to a second of the query.
    twins : ids of other tracks that hold the same recording.
    """

    track: Track
    confidence: float
    score: float
    query_start_s: float
    query_end_s: float
    track_start_s: float
    track_end_s: float
    speed: float
    pitch: float
    coverage: float
    gaps: tuple[tuple[float, float], ...] = ()
    twins: tuple[int, ...] = ()

    @property
    def offset_s(self) -> float:
        """Return the second of the track at which the query begins; negative where the query begins first."""
        return self.track_start_s - self.query_start_s * self.speed


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one recognition went."""

    decode_ms: float = 0.0
    fingerprint_ms: float = 0.0
    lookup_ms: float = 0.0
    match_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """The answer to one query; `matches` is empty when nothing is recognized, best first otherwise.

    frame_s : the unit of time of the query's fingerprint.
    partial : what of the index could not be asked, such as a server that is down; empty when all of it was.
    """

    source: str
    duration_s: float
    n_hashes: int
    matches: tuple[Match, ...]
    timings: Timings
    profile: str
    params_digest: str
    frame_s: float
    partial: tuple[str, ...] = ()
