"""The signal: samples to peaks, peaks to hashes.  Deterministic functions of arrays and parameters."""
