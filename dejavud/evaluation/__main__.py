"""What ``dejavuctl`` becomes for `evaluate` and `plot`: ``python -m dejavud.evaluation WORK SETTINGS``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from dejavud.errors import DejavudError
from dejavud.evaluation.configuration import own_configuration
from dejavud.evaluation.drawing import require_drawing
from dejavud.evaluation.failures import EXIT_CLOSED_PIPE, EXIT_INTERRUPTED, CannotWrite
from dejavud.evaluation.progress import Progress
from dejavud.evaluation.settings import EvaluateSettings, PlotSettings
from dejavud.wire.codes import EXIT_FAILED
from dejavud.wire.messages import error_body


def main(work: str, settings: str) -> int:
    """Do `work` and return the exit status of the client."""
    try:
        return _contained(work, settings)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # Python flushes at exit, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_CLOSED_PIPE


def _contained(work: str, settings: str) -> int:
    """Do `work`, and say what went wrong in the form that was asked for."""
    try:
        require_drawing()
        return _WORK[work](settings)
    except DejavudError as error:
        if json.loads(settings)["as_json"]:
            _print(json.dumps({"error": error_body(error)}, default=str))
        else:
            sys.stderr.write(f"dejavuctl: {_shown(error.message)}\n")
        return EXIT_FAILED


def _evaluate(text: str) -> int:
    from dejavud.evaluation.report import as_text, open_folder, write_report  # noqa: PLC0415 - only this work needs them
    from dejavud.evaluation.run import evaluate  # noqa: PLC0415

    settings = EvaluateSettings.from_json(text)
    out = open_folder(Path(settings.out))
    progress = Progress(sys.stderr)
    results = evaluate(settings, progress)
    progress.say(f"{len(results.queries)} queries asked; drawing the report")
    figures = write_report(results, out)
    if settings.as_json:
        _print(json.dumps(figures))
    else:
        _print(f"{as_text(results)}\n\n{_shown(str(out / 'report.html'))}")
    return EXIT_INTERRUPTED if results.interrupted else 0


def _plot(text: str) -> int:
    from dejavud.evaluation.plots import plot_recording  # noqa: PLC0415 - only this work needs it

    settings = PlotSettings.from_json(text)
    params = own_configuration().engine
    png, n_peaks = plot_recording(settings, params)
    try:
        Path(settings.out).write_bytes(png)
    except OSError as error:
        raise CannotWrite(path=settings.out, reason=error.strerror) from error
    if settings.as_json:
        _print(json.dumps({"picture": settings.out, "n_peaks": n_peaks}))
    else:
        _print(f"{_shown(settings.out)}: {n_peaks} peaks")
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _shown(text: str) -> str:
    """Return `text` as any terminal takes it: file names may hold bytes that are no text."""
    return text.encode(sys.stdout.encoding or "utf-8", "replace").decode(sys.stdout.encoding or "utf-8")


_WORK = {"evaluate": _evaluate, "plot": _plot}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
