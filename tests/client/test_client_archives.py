"""``export``, ``import``, ``backup`` and ``restore``: what the daemon is asked, and what a person reads."""

from __future__ import annotations

import os
import pty
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dejavud.errors import ArchiveDamaged, LibraryNotEmpty

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from client_daemon import Asked, FakeDaemon
    from client_runs import Ran

WRITTEN = {"file": "/x", "n_tracks": 402, "n_bytes": 17_200_000, "elapsed_s": 0.4}
TAKEN = {**WRITTEN, "n_added": 3, "n_known": 399, "n_updated": 0, "n_removed": 0}


@pytest.mark.parametrize(
    ("words", "params"),
    [
        (("export", "/x"), {"file": "/x"}),
        (
            ("export", "x", "--artist", "A", "--search", "b c"),
            {"file": f"{Path.cwd()}/x", "artist": "A", "search": "b c"},
        ),
        (("export", "/x", "--state", "disabled"), {"file": "/x", "state": "disabled"}),
        (("backup", "~/x"), {"file": str(Path("~/x").expanduser())}),
    ],
)
def test_a_file_is_written_by_the_daemon(
    daemon: FakeDaemon, ctl: Callable[..., Ran], words: tuple[str, ...], params: dict[str, Any]
) -> None:
    """It is asked for an absolute path, and what it says is told."""
    daemon.table[words[0]] = lambda _: {"archive": WRITTEN}
    ran = ctl(*words)
    assert daemon.asked[-1].params == params
    assert (ran.status, ran.out) == (0, f"{words[1]}: 402 tracks, 17.2 MB\n")
    assert ctl(*words, "--json").records == [WRITTEN]


@pytest.mark.parametrize("command", ["import", "restore"])
def test_a_file_is_read_by_the_daemon(daemon: FakeDaemon, ctl: Callable[..., Ran], command: str) -> None:
    """What became of the library is told; what is nothing is not said."""
    daemon.table[command] = lambda _: {"archive": TAKEN}
    ran = ctl(command, "/x")
    assert daemon.asked[-1].params == {"file": "/x"}
    assert (ran.status, ran.out) == (0, "/x: 3 tracks added, 399 known already\n")
    daemon.table[command] = lambda _: {"archive": {**TAKEN, "n_updated": 2, "n_removed": 1}}
    assert ctl(command, "/x").out == "/x: 3 tracks added, 399 known already, 2 changed, 1 removed\n"


def test_what_fails_is_told(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """With the daemon's sentence and code."""

    def damaged(_: Asked) -> dict[str, Any]:
        raise ArchiveDamaged(path="/x", reason="it is cut short")

    daemon.table["import"] = damaged
    ran = ctl("import", "/x")
    assert (ran.status, ran.err) == (4, "dejavuctl: /x is damaged: it is cut short; nothing was taken from it\n")
    assert ctl("import", "/x", "--json").records[0]["error"]["code"] == "archive_damaged"


def _not_empty(asked: Asked) -> dict[str, Any]:
    if not asked.params.get("replace"):
        raise LibraryNotEmpty(n_tracks=7)
    return {"archive": TAKEN}


@pytest.mark.parametrize(
    ("words", "answer", "status"),
    [
        (("--replace", "--yes"), "", 0),
        (("--replace",), "y\n", 0),
        (("--replace",), "n\n", 4),
        (("--replace",), None, 4),
        (("--yes",), "", 4),
    ],
)
def test_a_library_is_replaced_after_asking_only(
    daemon: FakeDaemon,
    start_ctl: Callable[..., subprocess.Popen[str]],
    words: tuple[str, ...],
    answer: str | None,
    status: int,
) -> None:
    """--replace alone asks a person, and where there is none changes nothing; without it nothing is replaced at all."""
    daemon.table["restore"] = _not_empty
    options: dict[str, int] = {}
    if answer is not None:
        ours, theirs = pty.openpty()
        options = {"stdin": theirs}
    process = start_ctl("restore", "/x", *words, **options)
    if answer is not None:
        os.close(theirs)
        os.write(ours, answer.encode())
    _, err = process.communicate()
    if answer is not None:
        os.close(ours)
    assert process.returncode == status
    assert any(asked.params.get("replace") for asked in daemon.asked) == (status == 0)
    assert ("7 tracks" in err) == (words != ("--replace", "--yes") and answer is not None)


def test_progress_is_shown(daemon: FakeDaemon, ctl: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line says how far it is, in bytes or tracks; --quiet has none."""
    monkeypatch.setattr("dejavuctl.progress.PLAIN_LINE_S", 0.0)

    def slowly(asked: Asked) -> dict[str, Any]:
        steps: tuple[dict[str, Any], ...] = (
            {"state": "checking", "n_done": 5_000_000, "n_total": 10_000_000, "unit": "bytes"},
            {"state": "adding", "n_done": 40, "n_total": 402, "unit": "tracks", "n_added": 40},
        )
        for figures in steps:
            asked.progress(**figures)
        return {"archive": TAKEN}

    daemon.table["import"] = slowly
    assert ctl("import", "/x").err == "5.0 MB of 10.0 MB checked\n40 of 402 tracks read\n"
    assert ctl("import", "/x", "--quiet").err == ""
