"""Evidence to a probability, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dejavud.matching.logarithms import log_sum_exp

if TYPE_CHECKING:
    from dejavud.values import Array

EVIDENCE_WEIGHT = 0.8
"""Peaks of one sound are not independent witnesses: what a nat of the ratio is worth, measured on queries of unknown music."""


def confidence(log_ratio: float, rivals: Array, n_alignments: float) -> float:
    """Return the probability, 0 to 1, that an alignment is not chance.

    Bayes' rule over the alternatives: this alignment, each rival, or none of them, where before the query was heard each of the
    `n_alignments` places of the index was as likely as the next, and all together as likely as none.

    Parameters
    ----------
    log_ratio : log-likelihood ratio of the alignment, nats.
    rivals : float64 [n], ratios of the best alignments of other recordings.
    n_alignments : number of (track, frame) places that the query could have matched.
    """
    others = log_sum_exp(np.append(EVIDENCE_WEIGHT * rivals, np.log(max(1.0, n_alignments))))
    log_odds = EVIDENCE_WEIGHT * log_ratio - float(others)
    return float(np.exp(-np.logaddexp(0.0, -log_odds)))
