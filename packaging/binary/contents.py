"""What goes into the single file and what stays out, measured: `tests/packaging` runs the commands without what stays out."""

from __future__ import annotations

from fnmatch import fnmatch

EXTRAS = ("mic", "hooks")
"""Of pyproject.toml; `plots` (matplotlib, 100 MB with what it needs) stays out."""

MORE_REQUIREMENTS = ("tzdata",)
"""What a normal machine has and a bare one lacks: names of time zones, for `history --tz`."""

CLIENT_PACKAGES = frozenset({"dejavud", "dejavuctl", "rich", "zmq", "pyzmq.libs"})
"""With the interpreter, all that dejavuctl needs: the part of the file that the client unpacks."""

LEFT_OUT = (
    # for those who build, test or type-check
    "bin/*", "*.pyi", "*.pyx", "*.pxd", "*.pxi", "*.h", "*.hpp", "*.c", "*.cpp", "*.a", "*.la", "*.typed", "*.md", "*.rst",
    "*/tests/*", "*/_tests/*", "*/testsuite/*", "*/__pycache__/*", "*/include/*", "*.dist-info/RECORD",
    "*.dist-info/licenses/*", "*.dist-info/sboms/*", "*.dist-info/LICENSE*", "*.dist-info/COPYING*", "*.dist-info/WHEEL",
    "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/direct_url.json", "*.dist-info/top_level.txt",
    "numpy/f2py/*", "numpy/distutils/*", "numpy/_pyinstaller/*", "numpy/testing/*",
    "sqlalchemy/testing/*", "sqlalchemy/dialects/mssql/*", "sqlalchemy/dialects/oracle/*", "trio/testing/*",
    "hypercorn/asyncio/*", "mutagen/_tools/*", "pycparser/*", "pycparser-*",
    # coloured source code and Markdown: rich can draw them, and nothing of ours asks it to
    "pygments/*", "pygments-*", "markdown_it/*", "markdown_it_py-*", "mdurl/*", "mdurl-*",
    # all of SciPy but its compiled transform: see replacements/.  What evaluates recognition needs nearly all of it, and matplotlib.
    "scipy.libs/*", "scipy-*",
)  # fmt: skip

KEPT = ("scipy/fft/_pocketfft/pypocketfft.*.so", "numpy/_core/tests/_natype.py")
"""Files that a pattern above, or the rule for SciPy, would leave out."""

STDLIB_LEFT_OUT = (
    "site-packages/*", "dist-packages/*", "test/*", "idlelib/*", "tkinter/*", "turtle.py", "turtledemo/*", "ensurepip/*",
    "lib2to3/*", "distutils/*", "pydoc_data/*", "pydoc.py", "venv/*", "curses/*", "dbm/gnu.py", "config-*", "__phello__/*",
    "*/__pycache__/*", "*/test/*", "*/tests/*", "*.exe", "*.a", "*.txt", "LICENSE*", "sitecustomize.py",
    "lib-dynload/_test*", "lib-dynload/_xx*", "lib-dynload/xx*", "lib-dynload/_ctypes_test*", "lib-dynload/_tkinter*",
    "lib-dynload/_curses*", "lib-dynload/readline*", "lib-dynload/_dbm*", "lib-dynload/_gdbm*", "lib-dynload/nis*",
    "lib-dynload/_crypt.*", "lib-dynload/ossaudiodev*",
)  # fmt: skip

HOLLOW = ("libjack", "libx264", "libx265", "libSvtAv1Enc")
"""Libraries that others are linked with and we never use: each becomes functions that return 0, "there is none".

JACK's, for PortAudio: a sound server's library must be of the server's own version, and is asked only for whether there is a server.
The encoders of video, for FFmpeg: 30 MB, and two of them under the GPL.
"""

OF_THE_MACHINE = frozenset({"libasound.so.2"})
"""Taken from where the program runs: it reads that machine's sound configuration and loads that machine's plugins."""

C_LIBRARIES = (
    "ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1",
    "libresolv.so.2", "libanl.so.1", "libgcc_s.so.1", "libstdc++.so.6",
)  # fmt: skip
"""The machine's where they are new enough; else, all together, our own."""


def is_left_out(path: str) -> bool:
    """Return whether a file of site-packages, named relative to it with slashes, stays out."""
    if any(fnmatch(path, kept) for kept in KEPT):
        return False
    return path.startswith("scipy/") or any(fnmatch(path, pattern) for pattern in LEFT_OUT)


def is_left_out_of_stdlib(path: str) -> bool:
    """Return whether a file of the standard library, named relative to its folder, stays out."""
    return any(fnmatch(path, pattern) for pattern in STDLIB_LEFT_OUT)


def part_of(path: str) -> str:
    """Return which part of the file a file of site-packages belongs to: ``client`` or ``daemon``."""
    return "client" if path.split("/", maxsplit=1)[0] in CLIENT_PACKAGES else "daemon"
