"""`dejavuctl evaluate` and `dejavuctl plot` as one types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from dejavuctl.__main__ import main
from dejavud.evaluation.settings import EvaluateSettings, PlotSettings
from dejavud.wire.codes import EXIT_FAILED

ROOT = Path(__file__).parents[2]


def ctl(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the client, where there is no daemon."""
    return subprocess.run(
        [sys.executable, "-m", "dejavuctl", "--control", "ipc:///nowhere", *map(str, words)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_folder_is_evaluated(music: Path, tmp_path: Path) -> None:
    """Without a daemon: the table on the terminal, the report's files in the folder, exit status 0."""
    words = (
        "--clips",
        "2",
        "--lengths",
        "2,1",
        "--padding",
        "0.5",
        "--conditions",
        "clean,noise5",
        "--conditions",
        "phone",
    )
    done = ctl("evaluate", music, *words, "--out", tmp_path / "report")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "18 queries asked; drawing the report")
    assert done.stdout.splitlines()[1].split() == ["clean", "100", "%", "100", "%"]
    assert done.stdout.splitlines()[-1] == str(tmp_path / "report" / "report.html")
    figures = json.loads((tmp_path / "report" / "summary.json").read_text("ascii"))
    assert list(figures["by_condition"]) == ["clean", "noise5", "phone"]
    assert figures["settings"]["lengths_s"] == [1.0, 2.0]


def test_a_summary_for_programs(music: Path, tmp_path: Path) -> None:
    """With --json the summary is one line of standard output, and an error is an object with its code."""
    words = ("--json", "--clips", "1", "--lengths", "1", "--padding", "0.5", "--conditions", "clean", "--hold-out", "0")
    done = ctl("evaluate", music, *words, "--out", tmp_path)
    assert json.loads(done.stdout) == json.loads((tmp_path / "summary.json").read_text("ascii"))
    (tmp_path / "empty").mkdir()
    failed = ctl("evaluate", tmp_path / "empty", "--json", "--out", tmp_path / "out")
    assert failed.returncode == 4
    assert json.loads(failed.stdout)["error"]["code"] == "invalid_request"


def test_a_reader_that_leaves_ends_it_quietly(music: Path) -> None:
    """Into a pipe that nobody reads any more: no traceback, and the exit status that shells give such a program."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        command = [sys.executable, "-m", "dejavuctl", "plot", str(music / "piece1.wav")]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}"}
        done = subprocess.run(command, env=environment, stdout=closed, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_recording_is_drawn(music: Path, tmp_path: Path) -> None:
    """As a PNG of the size asked for, under the recording's name unless another is given."""
    done = ctl("plot", music / "piece1.wav", "--start", "1", "--seconds", "2", "--size", "640x400")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("piece1.png: ")
    with Image.open(tmp_path / "piece1.png") as picture:
        assert picture.size == (640, 400)
    failed = ctl("plot", music / "piece1.wav", "--out", tmp_path / "none" / "x.png")
    assert (failed.returncode, failed.stdout) == (4, "")
    assert "x.png cannot be written (No such file or directory)" in failed.stderr


def test_without_matplotlib_it_says_what_to_type(music: Path, tmp_path: Path) -> None:
    """Before anything is measured, with exit status 4."""
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise ImportError('not here')")
    path = f"{tmp_path}:{ROOT}:{ROOT / 'clients'}"
    for words in (("evaluate", music), ("plot", music / "piece1.wav")):
        done = ctl(*words, PYTHONPATH=path)
        assert (done.returncode, done.stdout) == (4, "")
        assert "pip install 'dejavud[plots]'" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("evaluate", "DIR"),
        ("evaluate none", "none is not a folder of recordings"),
        ("evaluate . --out file", "there is a file of that name"),
        ("evaluate . --lengths 1,x", "--lengths"),
        ("evaluate . --lengths 1,90", "90 s is more than 60"),
        ("evaluate . --conditions clean,nois0", "did you mean noise0"),
        ("evaluate . --hold-out 1", "less than 1"),
        ("evaluate . --padding -1", "not a number of seconds"),
        ("evaluate . --seed -1", "below 0"),
        ("evaluate . --clips 0", "not a whole number above 0"),
        ("plot", "FILE"),
        ("plot a.wav --size 10x10", "200 to 10000 pixels"),
        ("plot a.wav --size big", "such as 1600x800"),
        ("plot a.wav --start -3", "a recording begins at 0"),
        ("plot a.wav --seconds 4000", "no picture shows"),
        ("plot a.wav --out a.jpg", "end the name with .png"),
    ],
)
def test_a_wrong_command_line_is_explained(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 2, before any work is handed over."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_settings_cross_as_they_are() -> None:
    """Every field comes back equal, file names that are no text included."""
    evaluate = EvaluateSettings("/m/\udcff é", lengths_s=(1.5,), conditions=("noise-5",), hold_out=0.0)
    plot = PlotSettings("/m/\udcff.mp3", out="ü.png")
    assert EvaluateSettings.from_json(evaluate.to_json()) == evaluate
    assert PlotSettings.from_json(plot.to_json()) == plot


@pytest.mark.parametrize("command", ["evaluate", "plot"])
def test_a_profile_without_constellations_is_refused(command: str, music: Path) -> None:
    """Under a classic profile there is nothing to draw or to compare with, and the message says how to go on."""
    what = music if command == "evaluate" else next(music.iterdir())
    ended = ctl(command, what, DEJAVUD_ENGINE_PROFILE="classic/dejavu-2020")
    assert ended.returncode == EXIT_FAILED
    assert "classic/dejavu-2020" in ended.stderr
    assert "DEJAVUD_ENGINE_PROFILE=landmark-2" in ended.stderr
