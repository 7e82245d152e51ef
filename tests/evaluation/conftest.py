"""A little library to evaluate, and one evaluation of it that the tests look at."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest
from synthetic import synthesize, write_wav

from dejavud.evaluation.progress import Progress
from dejavud.evaluation.run import evaluate
from dejavud.evaluation.settings import EvaluateSettings

if TYPE_CHECKING:
    from pathlib import Path

    from dejavud.evaluation.run import Results

PIECE_S = 9.0
PIECES = range(1, 6)


def _without_configuration(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Have no conf file, no environment and no working directory that say anything."""
    for variable in [name for name in os.environ if name.startswith(("DEJAVUD_", "XDG_")) or name == "DATABASE_URL"]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)


@pytest.fixture(autouse=True)
def _own_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have no conf file, no environment and no working directory that say anything."""
    _without_configuration(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of five pieces, of which one is there twice."""
    folder = tmp_path_factory.mktemp("music")
    for seed in PIECES:
        write_wav(folder / f"piece{seed}.wav", synthesize(seed, PIECE_S, 22050), 22050)
    (folder / "again.wav").write_bytes((folder / "piece1.wav").read_bytes())
    return folder


@pytest.fixture(scope="session")
def settings(music: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateSettings:
    """Return what the tests evaluate: a clean condition, a noisy one and one that drowns everything."""
    return EvaluateSettings(
        folder=str(music),
        lengths_s=(1.0, 3.0),
        n_clips=4,
        padding_s=0.5,
        seed=3,
        conditions=("clean", "noise5", "noise-40"),
        hold_out=0.4,
        out=str(tmp_path_factory.mktemp("report")),
    )


@pytest.fixture(scope="session")
def results(settings: EvaluateSettings, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Return the evaluation of `settings`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _without_configuration(monkeypatch, tmp_path_factory.mktemp("home"))
        return evaluate(settings, Progress(io.StringIO()))
