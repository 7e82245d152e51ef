"""The one part of SciPy that the daemon uses, without the rest of it: see scipy.fft."""
