"""From hits to alignments: voting, verification, coverage, confidence.  Deterministic functions of arrays."""
