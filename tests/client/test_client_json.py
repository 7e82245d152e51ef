"""What `--json` prints is what docs/dejavuctl.md says, key by key, and that is what the daemon's protocol has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from daemon_process import Place, running_daemon
from synthetic import synthesize, write_wav

from dejavuctl.__main__ import main
from dejavuctl.arguments import COMMANDS
from dejavud.wire.results import RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from daemon_process import RunningDaemon

PAGE = (Path(__file__).parents[2] / "docs" / "dejavuctl.md").read_text("utf-8").partition("## What programs read")[2]
ROW = re.compile(r"^\| (`[^|]+`) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TICKED = re.compile(r"`([^`]+)`")
RATE_HZ = 16_000
UNSEEN = {"listen", "migrate", "evaluate", "plot"}
"""Commands that end with Ctrl-C, or need much beside a daemon; other tests run them, and `listen --json` prints what `events --json` does."""
ANYWHERE = ({"error"}, {"interrupted"})


def rows() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Give each command of the page, what a line of it is, and its keys."""
    for commands, what, keys in ROW.findall(PAGE):
        for command in TICKED.findall(commands):
            yield command, what, frozenset(TICKED.findall(keys))


LINES = """
status
ready
doctor
fingerprint MUSIC NOISE
recognize CLIP
recognize NOTHING
scan CLIP
listen add kitchen pcm:s16le:16000:1 --once
listen ls
listen send kitchen RAW
listen pause kitchen
events match.ended --after 0 -n 1
history
history ls
history export
history summary
history rm --listener nobody --yes
history rm --listener kitchen --dry-run
listen resume kitchen
listen rm kitchen
devices
hooks ls
hooks test
tracks ls
tracks show 1
tracks edit 1 --title Nocturne
tracks disable 1
tracks enable 1
tracks rm 1 --dry-run
export FOLDER/e.dejavu
import FOLDER/e.dejavu
backup FOLDER/b.dejavu
restore FOLDER/b.dejavu --replace --yes
compact
check
jobs
jobs ls
jobs watch JOB
jobs cancel JOB
keys add laptop
keys ls
keys rm laptop
keys show
keys new FOLDER/client.key --server SERVER --control tcp://127.0.0.1:1
tokens add page
tokens ls
tokens rm page
completion bash
reload
tracks rm 1 --yes
shutdown
"""


def test_the_page_has_every_command_and_what_the_protocol_has() -> None:
    """No command is left out, none is invented, and a line that is the result of a daemon's command has that result's keys."""
    assert {command for command, _, _ in rows()} == {command.words for command in COMMANDS}
    for command, what, keys in rows():
        if found := re.match(r"the result of `([a-z.]+)`", what):
            kind: Any = RESULTS[found[1]]
            assert keys == kind.__required_keys__ | kind.__optional_keys__, command


async def test_each_command_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run against a real daemon, every line has the keys of one of its rows, and every row that can be had was had."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    piece = synthesize(1, 20.0, RATE_HZ)
    noise = np.zeros(RATE_HZ, np.float32)
    names = {
        "MUSIC": write_wav(tmp_path / "music.wav", piece, RATE_HZ),
        "NOISE": write_wav(tmp_path / "noise.wav", noise, RATE_HZ),
        "CLIP": write_wav(tmp_path / "clip.wav", piece[5 * RATE_HZ : 11 * RATE_HZ], RATE_HZ),
        "RAW": tmp_path / "raw",
        "NOTHING": tmp_path / "nothing.wav",
        "FOLDER": tmp_path,
    }
    names["RAW"].write_bytes((np.concatenate([piece, noise]) * 32767).astype("<i2").tobytes())
    hook = {"DEJAVUD_HOOKS_NOW_PLAYING_FILE": str(tmp_path / "now")}
    seen: set[tuple[str, frozenset[str]]] = set()
    async with running_daemon(Place(tmp_path), environment=hook) as daemon:
        for line in LINES.split("\n")[1:-1]:
            if "JOB" in line:
                names["JOB"] = (await daemon.ask("jobs.list"))["jobs"][0]["id"]
            if "SERVER" in line:
                names["SERVER"] = (await daemon.ask("keys.list"))["server_key"]
            words = [re.sub("|".join(names), lambda found: str(names[found[0]]), word) for word in line.split()]
            for record in await said(daemon, words, capsys):
                command = next(one.words for one in COMMANDS if f"{line} ".startswith(f"{one.words} "))
                keys = frozenset(record)
                if set(keys) not in ANYWHERE:
                    assert keys in {known for name, _, known in rows() if name == command}, (line, sorted(keys))
                seen.add((command, keys))
    left = {(command, keys) for command, _, keys in rows() if command not in UNSEEN} - seen
    assert {command for command, _ in left} <= {"devices"}, left


async def said(daemon: RunningDaemon, words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return what a command prints."""
    capsys.readouterr()
    with trio.fail_after(30):
        await trio.to_thread.run_sync(main, ["--control", daemon.place.control, *words, "--json"])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]
