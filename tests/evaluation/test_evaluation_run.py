from __future__ import annotations

import dataclasses
import io
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dejavud import Dejavu
from dejavud.errors import InvalidRequest, UnreadableFile
from dejavud.evaluation.measures import song_accuracy, summary
from dejavud.evaluation.progress import Progress
from dejavud.evaluation.queries import Outcome
from dejavud.evaluation.run import choose, evaluate, fill

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from dejavud.evaluation.run import Results
    from dejavud.evaluation.settings import EvaluateSettings


def quiet() -> Progress:
    """Return a progress that nobody sees."""
    return Progress(io.StringIO())


def repeatable(results: Results) -> Mapping[str, Any]:
    """Return the summary without what this machine's clock and disk say."""
    return {name: value for name, value in summary(results).items() if name != "measured_here"}


def test_every_clip_is_asked_in_every_condition_and_length(results: Results, settings: EvaluateSettings) -> None:
    """Known and, half as many, unknown ones; and clips of a condition are cut where those of the others are."""
    asked = {(q.known, q.clip, q.condition, q.length_s) for q in results.queries}
    clips = [(True, n) for n in range(4)] + [(False, n) for n in range(2)]
    assert asked == {(*clip, c, s) for clip in clips for c in settings.conditions for s in settings.lengths_s}
    assert len(results.queries) == len(asked)
    assert len({(q.known, q.clip, q.path, q.start_s) for q in results.queries}) == len(clips)


def test_what_is_clean_is_known_and_what_is_drowned_is_not(results: Results) -> None:
    """Clean clips are named and placed, clips 40 dB under noise are not answered, and neither is unknown music."""
    outcome = {c: {q.outcome for q in results.queries if q.known and q.condition == c} for c in ("clean", "noise-40")}
    assert outcome == {"clean": {Outcome.RIGHT}, "noise-40": {Outcome.SILENT}}
    assert {q.outcome for q in results.queries if not q.known} == {Outcome.SILENT}
    assert all(abs(q.off_s) < 0.05 for q in results.queries if q.outcome is Outcome.RIGHT and q.off_s is not None)


def test_what_is_held_out_is_not_in_the_index(settings: EvaluateSettings) -> None:
    """The index holds the recordings to keep and none of the others, whose content is not in it under another name either."""
    library = choose(settings)
    assert (len(library.kept), len(library.held_out), library.n_found, library.n_same) == (3, 2, 6, 1)
    with Dejavu("memory://") as index:
        fill(index, library, quiet())
        names = {song["song_name"] for song in index.get_fingerprinted_songs()}
        assert names == {path.stem for path in library.kept}
        assert not names & {path.stem for path in library.held_out}
        assert all(index.recognition(path).matches == () for path in library.held_out)


def test_clips_come_from_their_side(results: Results) -> None:
    """Known clips are cut from recordings in the index, unknown ones from the others."""
    sides = {known: {Path(q.path) for q in results.queries if q.known is known} for known in (True, False)}
    assert sides[True] <= set(results.library.kept)
    assert sides[False] <= set(results.library.held_out)


def test_a_seed_gives_the_same_summary(results: Results, settings: EvaluateSettings) -> None:
    """To the last figure; another seed cuts other clips."""
    assert repeatable(evaluate(settings, quiet())) == repeatable(results)
    other = dataclasses.replace(settings, seed=4, conditions=("clean",), lengths_s=(1.0,))
    assert {(q.path, q.start_s) for q in evaluate(other, quiet()).queries}.isdisjoint(
        (q.path, q.start_s) for q in results.queries
    )


def test_the_summary_has_every_condition_and_length(results: Results, settings: EvaluateSettings) -> None:
    """And its totals are those of its cells."""
    figures = summary(results)
    assert list(figures["by_condition"]) == list(settings.conditions)
    assert all(list(cells) == ["1", "3"] for cells in figures["by_condition"].values())
    rights = [cell["song_accuracy"]["n_right"] for cells in figures["by_condition"].values() for cell in cells.values()]
    assert sum(rights) == figures["song_accuracy"]["n_right"] == song_accuracy(results.queries).part
    assert figures["measured_here"]["storage"]["audio_s"] == pytest.approx(3 * 9.0, abs=0.1)
    assert figures["measured_here"]["storage"]["index_bytes"] > 0


class Interrupting(io.StringIO):
    """A terminal at which somebody presses Ctrl-C once a few clips are asked about."""

    def isatty(self) -> bool:
        """Return True, so that progress is written as it is made."""
        return True

    def write(self, text: str) -> int:
        """Press Ctrl-C after the third clip and condition."""
        if re.search(r"clips: [3-9] of", text) and "pressed" not in self.getvalue():
            super().write("pressed")
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def test_ctrl_c_keeps_what_was_measured(settings: EvaluateSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asking ends at once, what was asked until then is there, and Ctrl-C means afterwards what it meant before."""
    monkeypatch.setattr("dejavud.evaluation.progress.REDRAW_S", 0.0)
    before = signal.getsignal(signal.SIGINT)
    stopped = evaluate(settings, Progress(Interrupting()))
    assert stopped.interrupted
    assert 0 < len(stopped.queries) <= 4 * len(settings.lengths_s)
    assert summary(stopped)["interrupted"] is True
    assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_with_nothing_to_evaluate_is_explained(settings: EvaluateSettings, tmp_path: Path) -> None:
    """No folder, no audio, none that can be decoded, and none long enough: each says what would help."""

    def said(folder: Path, **changes: object) -> str:
        with pytest.raises((InvalidRequest, UnreadableFile)) as raised:
            evaluate(dataclasses.replace(settings, folder=str(folder), **changes), quiet())
        return raised.value.message

    assert "no such folder" in said(tmp_path / "none")
    assert "no audio file" in said(tmp_path)
    (tmp_path / "a.mp3").write_bytes(b"nothing")
    assert "no recording could be fingerprinted; the first, a.mp3" in said(tmp_path, hold_out=0.0)
    assert "try a smaller --padding" in said(Path(settings.folder), padding_s=60.0)
