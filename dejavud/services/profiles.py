"""What the services do differently from profile to profile, in one place: everything else is the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dejavud.fingerprint.classic_params import ClassicParams
from dejavud.fingerprint.scaling import scaled_hashes, search_scales
from dejavud.matching.classic_matcher import ClassicMatcher
from dejavud.matching.matcher import Considered, Matcher
from dejavud.services import classic_jobs, jobs
from dejavud.values import ClassicQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dejavud.fingerprint.params import Params
    from dejavud.matching.matcher import MatchRules
    from dejavud.placed_hits import AnyHits
    from dejavud.services.jobs import FingerprintedQuery
    from dejavud.values import Alignment, Array, Constellation, Hashes, QueryFingerprint, Scale


class Jobs(Protocol):
    """What the workers do: module-level functions, called with the parameters of their own profile."""

    def fingerprint_file(self, path: Path, name: str, params: Any, limit_s: float | None) -> jobs.FingerprintedFile:  # noqa: ANN401 - of the profile
        """Return what the index stores of a file."""
        ...

    def query_file(
        self,
        path: Path,
        name: str,
        params: Any,  # noqa: ANN401 - of the profile
        limit_s: float,
        raw_fallback: bool,  # noqa: FBT001 - jobs cross the process border by position
    ) -> jobs.FingerprintedQuery:
        """Return what the index is asked for a file."""
        ...

    def query_samples(self, samples: Array, params: Any) -> jobs.FingerprintedQuery:  # noqa: ANN401 - of the profile
        """Return what the index is asked for what a microphone heard: float32 [n] at the profile's `microphone_hz`."""
        ...

    def query_pcm(self, channel: Array, rate_hz: int, params: Any) -> jobs.FingerprintedQuery:  # noqa: ANN401 - of the profile
        """Return what the index is asked for one channel of PCM at any rate, [n] of a type that `audio.pcm.mono` takes."""
        ...


class Matching(Protocol):
    """Hits to answers.  `query` is one that the same profile's jobs made."""

    def __call__(
        self,
        query: Any,  # noqa: ANN401 - of the profile
        hits: AnyHits,
        read_constellations: Callable[[Sequence[int]], Mapping[int, Constellation]],
        n_index_frames: float,
        scales: Sequence[Scale] = ...,
        /,
    ) -> tuple[Alignment, ...]:
        """Return the tracks that sound in the query, the surest first; empty when none is sure enough."""
        ...


class Considering(Protocol):
    """Hits to answers, and to what is not sure enough to be one."""

    def __call__(
        self,
        query: Any,  # noqa: ANN401 - of the profile
        hits: AnyHits,
        read_constellations: Callable[[Sequence[int]], Mapping[int, Constellation]],
        n_index_frames: float,
        /,
    ) -> Considered:
        """Return what the query may be."""
        ...


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to fingerprint and to match.

    microphone_hz : the rate at which its queries are to be heard.
    frames_per_s : of tracks; of dejavu's, whose frames are of each file's own rate, those at 44.1 kHz.
    matching : the matching by a set of rules.
    considering : the same matching, which also tells what it is not sure enough of.
    quick_matching, query_fully : where queries are first only looked at: the matching of a first look, and the job that makes the
        whole query of its samples.
    search_scales : the scales that a search of `dejavud.fingerprint.scaling.SEARCHES` has.
    scaled_hashes : what a query asks at those scales.
    track_hashes : the hashes to store of a track's constellation; None where tracks have none, and their hashes are the record.
    """

    params: Params | ClassicParams
    jobs: Jobs
    microphone_hz: int
    frames_per_s: float
    matching: Callable[[MatchRules], Matching]
    considering: Callable[[MatchRules], Considering]
    search_scales: Callable[[str], tuple[Scale, ...]]
    scaled_hashes: Callable[[Any, tuple[Scale, ...]], Hashes]
    quick_matching: Callable[[MatchRules], Matching] | None = None
    query_fully: Callable[[Array, Any], FingerprintedQuery] | None = None
    track_hashes: Callable[[Constellation], Hashes] | None = None

    def frame_s(self, query: QueryFingerprint | ClassicQuery) -> float:
        """Return the length of the frames in which the alignments of this query are counted."""
        return query.frame_s if isinstance(query, ClassicQuery) else 1 / self.frames_per_s


def _only_sure(match: Matching) -> Considering:
    """Return the matching `match` as one that knows of no doubtful candidates."""
    return lambda query, hits, read, n_index_frames: Considered(match(query, hits, read, n_index_frames))


def _derived(constellation: Constellation, params: Params) -> Hashes:
    """Return the hashes to store of a track's constellation."""
    from dejavud.fingerprint.extractor import track_hashes  # noqa: PLC0415 - scipy, which the daemon starts without

    return track_hashes(constellation, params)


def profile_of(params: Params | ClassicParams) -> Profile:
    """Return the profile that these are parameters of."""
    if isinstance(params, ClassicParams):
        rate_hz = classic_jobs.MICROPHONE_HZ
        return Profile(
            params,
            classic_jobs,
            microphone_hz=rate_hz,
            frames_per_s=1 / params.frames_to_seconds(1, rate_hz),
            matching=lambda rules: ClassicMatcher(rules).match,
            considering=lambda rules: _only_sure(ClassicMatcher(rules).match),
            search_scales=lambda _search: (),
            scaled_hashes=lambda query, _scales: query.hashes,
        )
    return Profile(
        params,
        jobs,
        microphone_hz=params.rate_hz,
        frames_per_s=params.frames_per_s,
        matching=lambda rules: Matcher(params, rules).match,
        considering=lambda rules: Matcher(params, rules).consider,
        search_scales=search_scales,
        scaled_hashes=lambda query, scales: scaled_hashes(query, scales, params),
        quick_matching=lambda rules: Matcher(params, rules).match_quickly,
        query_fully=jobs.query_fully,
        track_hashes=lambda constellation: _derived(constellation, params),
    )
