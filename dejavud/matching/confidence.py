"""Evidence to a probability, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.logarithms import log_sum_exp

if TYPE_CHECKING:
    from dejavud.values import Array

EVIDENCE_WEIGHT = 0.8
"""Peaks of one sound are not independent witnesses: what a nat of the ratio is worth, measured on queries of unknown music."""

SCALED_EVIDENCE_WEIGHT = 0.45
"""The same where speed and pitch were sought too: an alignment that may be stretched and bent to fit proves less by fitting."""


def confidence(log_ratio: float, rivals: Array, n_alignments: float, weight: float = EVIDENCE_WEIGHT) -> float:
    """Return the probability, 0 to 1, that an alignment is not chance.

    Bayes' rule over the alternatives: this alignment, each rival, or none of them, where before the query was heard each of the
    `n_alignments` places of the index was as likely as the next, and all together as likely as none.

    Parameters
    ----------
    log_ratio : log-likelihood ratio of the alignment, nats.
    rivals : float64 [n], ratios of the best alignments of other recordings.
    n_alignments : number of (track, frame) places, at each scale, that the query could have matched.
    weight : of a nat of evidence.
    """
    others = log_sum_exp(np.append(weight * rivals, np.log(max(1.0, n_alignments))))
    log_odds = weight * log_ratio - float(others)
    return float(np.exp(-np.logaddexp(0.0, -log_odds)))
