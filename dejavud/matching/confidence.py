"""Evidence to a probability, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.logarithms import log_sum_exp

if TYPE_CHECKING:
    from dejavud.values import Array

RELIEF = (0.2, 0.3, 0.45, 0.62)
"""Reliefs of queries (`evidence_weight`): noise alone has 0.2, music under as much noise 0.25, clean music 0.4 to 0.7."""
EVIDENCE_WEIGHTS = (1.3, 0.92, 0.82, 0.5)
"""What a nat of the ratio is worth at these reliefs, measured on queries whose recording was not in the library."""

LEAST_AGREEMENT = ((0.22, 0.08), (0.29, 0.17), (0.385, 0.2), (0.53, 0.22), (0.62, 0.3))
"""Least share of a track's peaks that a query of so much relief shows where the track sounds: all but one in a hundred show more."""

BEYOND_DOUBT_NATS = 60.0
"""Weighed evidence that no two pieces have in common but for the same sound: a track under a louder one may show this, and less agreement."""

SCALED_SHARE = 0.6
"""So much of that where speed and pitch were sought too: an alignment that may be stretched and bent to fit proves less by fitting."""


def evidence_weight(relief: float, *, scaled: bool) -> float:
    """Return what a nat of the log-likelihood ratio is worth.

    The peaks of one sound are not independent witnesses: a chord that two pieces share agrees for as long as it is held, and in all of
    its partials.  The more a query is music and the less it is noise, the more of its peaks belong to such sounds; what is left
    of music in noise agrees peak by peak or not at all.

    Parameters
    ----------
    relief : share of the query's spectrogram that lies more than 13 dB below the local maximum (`Verifier.relief`).
    scaled : the query was sought at other speeds and pitches.
    """
    return float(np.interp(relief, RELIEF, EVIDENCE_WEIGHTS)) * (SCALED_SHARE if scaled else 1.0)


def least_agreement(relief: float) -> float:
    """Return the share of a track's peaks that must be found in a query of that relief: where there is no noise, nothing hides them.

    Two pieces in one key have their partials in the same places and agree a little everywhere, for as long as they last; a track that really
    sounds is found whole or under a sound that is heard as well.
    """
    reliefs, shares = zip(*LEAST_AGREEMENT, strict=True)
    return float(np.interp(relief, reliefs, shares))


def confidence(log_ratio: float, rivals: Array, n_alignments: float, weight: float) -> float:
    """Return the probability, 0 to 1, that an alignment is not chance.

    Bayes' rule over the alternatives: this alignment, each rival, or none of them, where before the query was heard each of the
    `n_alignments` places of the index was as likely as the next, and all together as likely as none.

    Parameters
    ----------
    log_ratio : log-likelihood ratio of the alignment, nats.
    rivals : float64 [n], ratios of the best alignments of other recordings.
    n_alignments : number of (track, frame) places, at each scale, that the query could have matched.
    weight : of a nat of evidence (`evidence_weight`).
    """
    others = log_sum_exp(np.append(weight * rivals, np.log(max(1.0, n_alignments))))
    log_odds = weight * log_ratio - float(others)
    return float(np.exp(-np.logaddexp(0.0, -log_odds)))
