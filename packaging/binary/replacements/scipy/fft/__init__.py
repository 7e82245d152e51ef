"""SciPy's compiled real transform and nothing else of it.

`scipy.fft` proper imports 230 modules and two linear algebra libraries, 140 MB and a third of the daemon's imports, to arrive
at the same compiled function.
"""

from scipy.fft._pocketfft.pypocketfft import r2c


def rfft(x, axis=-1):  # noqa: ANN001, ANN201 - as scipy.fft has it
    """Return the transform of real `x` along `axis`, in x's own precision: bit for bit what ``scipy.fft.rfft`` returns."""
    return r2c(x, (axis,), True, 0)  # noqa: FBT003 - positional only: forward, not normalized
