"""The library in programs of every kind: scripts, prompts, threads, event loops."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import trio
from api_music import PIECES, clip_file

from dejavud import Dejavu
from dejavud.errors import InvalidRequest
from dejavud.recognize import FileRecognizer
from dejavud.services.hidden_main import hidden_main_module

if TYPE_CHECKING:
    from pathlib import Path

PLAIN_SCRIPT = """
import sys
print("started")
from dejavud import Dejavu
from dejavud.recognize import FileRecognizer
library = Dejavu(dburl="duckdb:///songs.duckdb")
library.fingerprint_directory(sys.argv[1], [".wav"], 2)
print(library.recognize(FileRecognizer, sys.argv[2])["results"][0]["song_name"])
"""


def run(*arguments: str, given: str = "") -> list[str]:
    """Run Python and return the lines it printed; it must end well, and say nothing on stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_plain_script_needs_no_guard(music: Path, tmp_path: Path) -> None:
    """A script without ``if __name__ == "__main__":`` and without close runs once, not again in each worker, and keeps its songs."""
    clip = str(clip_file(tmp_path / "clip.wav", 2, 3.0))
    (tmp_path / "script.py").write_text(PLAIN_SCRIPT)
    assert run("script.py", str(music), clip) == ["started", "piece2"]
    with Dejavu("duckdb:///songs.duckdb") as library:
        assert library.db.get_num_songs() == len(PIECES)


def test_a_prompt_will_do(music: Path, tmp_path: Path) -> None:
    """Typed at Python's prompt, where there is no file of the main module, the same lines do the same."""
    clip = str(clip_file(tmp_path / "clip.wav", 2, 3.0))
    assert run("-", str(music), clip, given=PLAIN_SCRIPT) == ["started", "piece2"]


INTERRUPTED_SCRIPT = """
import sys
from dejavud import Dejavu
with Dejavu(dburl="duckdb:///songs.duckdb") as library:
    try:
        library.fingerprint_directory(sys.argv[1], nprocesses=1, progress=lambda *_: print("one", flush=True))
    except KeyboardInterrupt:
        print("interrupted, knowing", library.db.get_num_songs() >= 1)
"""


def test_ctrl_c_ends_a_folder_and_keeps_what_is_done(tmp_path: Path, music: Path) -> None:
    """The interrupt comes out as the KeyboardInterrupt that a program expects, workers are gone, and songs are kept."""
    folder = tmp_path / "long"
    folder.mkdir()
    data = (music / "piece1.wav").read_bytes()
    for n in range(200):
        (folder / f"{n:03}.wav").write_bytes(data + bytes([n]))  # another content by one byte behind the samples
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_SCRIPT, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "one\n"
        program.send_signal(signal.SIGINT)
        printed, errors = program.communicate(timeout=60)
    assert (printed.splitlines()[-1], errors) == ("interrupted, knowing True", "")
    assert len(printed.splitlines()) < 150


def test_threads_ask_at_the_same_time(library: Dejavu, tmp_path: Path) -> None:
    """Queries from several threads are answered each for itself."""
    clips = [clip_file(tmp_path / f"clip{seed}.wav", seed, 2.0 + seed) for seed in PIECES]

    def name_of(clip: Path) -> str:
        return str(library.recognize(FileRecognizer, clip)["results"][0]["song_name"])

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(name_of, clips * 2)) == [f"piece{seed}" for seed in PIECES] * 2


async def test_a_trio_program_asks_from_a_thread(library: Dejavu, music: Path, tmp_path: Path) -> None:
    """In a thread every call works beside trio; on its event loop it would block, and is refused with the way out."""
    clip = clip_file(tmp_path / "clip.wav", 1, 3.0)
    answer = await trio.to_thread.run_sync(library.recognize, FileRecognizer, clip)
    assert answer["results"][0]["song_name"] == "piece1"
    report = await trio.to_thread.run_sync(library.fingerprint_directory, music, None, 1)
    assert len(report.known) == len(PIECES)
    with pytest.raises(InvalidRequest, match=r"trio\.to_thread\.run_sync"):
        library.recognize(FileRecognizer, clip)


def test_an_asyncio_program_asks_from_a_thread(library: Dejavu, music: Path, tmp_path: Path) -> None:
    """In a thread every call works beside asyncio."""
    clip = clip_file(tmp_path / "clip.wav", 1, 3.0)

    async def program() -> tuple[str, int]:
        answer = await asyncio.to_thread(library.recognize, FileRecognizer, clip)
        report = await asyncio.to_thread(library.fingerprint_directory, music, None, 1)
        return answer["results"][0]["song_name"], len(report.known)

    assert asyncio.run(program()) == ("piece1", len(PIECES))


def test_nothing_is_left_running(library: Dejavu, music: Path) -> None:
    """After a folder there is no worker process, and no thread that was not there or only waits to be used again."""
    library.fingerprint_directory(music, nprocesses=2)
    assert multiprocessing.active_children() == []
    assert all(thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread())


class Picklable:
    """Found by pickle in the module of its name."""


def test_the_main_module_is_back_afterwards() -> None:
    """While processes start the main module only hides its file; blocks may overlap, and the last one brings it back."""
    main = sys.modules["__main__"]
    main.Picklable = Picklable  # type: ignore[attr-defined]
    Picklable.__module__ = "__main__"
    try:
        first, second = hidden_main_module(), hidden_main_module()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        hidden = sys.modules["__main__"]
        assert hidden is not main
        assert not hasattr(hidden, "__file__")
        assert hidden.__spec__ is None
        assert isinstance(pickle.loads(pickle.dumps(Picklable())), Picklable)  # noqa: S301 - our own
        second.__exit__(None, None, None)
        assert sys.modules["__main__"] is main
    finally:
        del main.Picklable  # type: ignore[attr-defined]
        Picklable.__module__ = __name__
