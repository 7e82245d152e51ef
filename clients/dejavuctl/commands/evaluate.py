"""``dejavuctl evaluate``."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING

from dejavuctl.arguments import positive_count, positive_number
from dejavuctl.failures import Usage
from dejavuctl.handover import hand_over
from dejavud.evaluation.conditions import DEFAULT_CONDITIONS, REASONS, condition_of, conditions_of
from dejavud.evaluation.settings import DEFAULT_OUT, EvaluateSettings

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from typing import NoReturn

    from dejavuctl.session import Session

_LISTED = "\n".join(f"  {name:9}  {condition_of(name).reason}" for name in DEFAULT_CONDITIONS)

DESCRIPTION = f"""\
Measures how well your own music is recognized, and writes a report: a page with charts and pictures
(report.html, one file), the figures (summary.json), every query (queries.csv) and the charts as PNG.

It fingerprints the recordings of a folder into an index of its own, leaves some of them out, cuts
clips from all of them, does to the clips what the world does, and asks. No daemon is needed, and
your library is not touched. Settings such as recognize.false_positive_rate are those of your conf file.

conditions, those of a run that names none:
{_LISTED}
noise, babble, speed and pitch take any number: noise-5, babble10, speed-4, pitch+1.5"""
EXAMPLES = """\
examples:
  dejavuctl evaluate ~/Music                                 ten minutes on two cores
  dejavuctl evaluate ~/Music --clips 10 --tracks 50          a first impression
  dejavuctl evaluate ~/Music --conditions room,noise0,noise-5 --lengths 3,5,10
  dejavuctl evaluate ~/Music --seed 7 --out seven            other clips
  dejavuctl evaluate ~/Music --json | jq .unknown.answered   one figure for a script

The same seed cuts and degrades the same clips, so two runs compare. Ctrl-C ends the questions: the report then
tells of what was asked until then, and the exit status is 130."""

MAX_LENGTH_S = 60.0


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    default = EvaluateSettings(folder="")
    lengths = ",".join(f"{length_s:g}" for length_s in default.lengths_s)
    parser.add_argument("folder", metavar="DIR", help="the folder of recordings; with all its subfolders")
    parser.add_argument(
        "--lengths", metavar="S,S…", type=_lengths, default=default.lengths_s, help=f"seconds of a clip ({lengths})"
    )
    parser.add_argument(
        "--clips",
        metavar="N",
        type=positive_count,
        default=default.n_clips,
        help=f"clips of known music a condition; of unknown music half as many ({default.n_clips})",
    )
    parser.add_argument(
        "--padding",
        metavar="S",
        type=_seconds,
        default=default.padding_s,
        help=f"seconds at either end of a recording that no clip is cut from ({default.padding_s:g})",
    )
    parser.add_argument("--seed", metavar="N", type=_seed, default=default.seed, help=f"({default.seed})")
    parser.add_argument(
        "--conditions",
        metavar="NAME,NAME…",
        action="append",
        type=_conditions,
        help=f"what is done to the clips (all of the above); kinds: {', '.join(REASONS)}",
    )
    parser.add_argument(
        "--hold-out",
        metavar="SHARE",
        type=_share,
        default=default.hold_out,
        help=f"share of the recordings that are left out of the index, as unknown music ({default.hold_out:g})",
    )
    parser.add_argument(
        "--tracks",
        metavar="N",
        type=positive_count,
        default=default.n_tracks,
        help=f"draw so many recordings from the folder, at most ({default.n_tracks})",
    )
    parser.add_argument("--out", metavar="DIR", default=DEFAULT_OUT, help=f"the report's folder (./{DEFAULT_OUT})")


def check(options: Namespace) -> None:
    """Refuse a folder that is none."""
    if not Path(options.folder).expanduser().is_dir():
        raise Usage(reason=f"{options.folder} is not a folder of recordings")
    out = Path(options.out).expanduser()
    if out.exists() and not out.is_dir():
        raise Usage(reason=f"--out {options.out}: there is a file of that name; the report needs a folder")


def run(options: Namespace, _session: Session) -> NoReturn:
    """Evaluate, in the process that this one becomes."""
    conditions = [name for names in options.conditions or [DEFAULT_CONDITIONS] for name in names]
    settings = EvaluateSettings(
        folder=str(Path(options.folder).expanduser()),
        lengths_s=options.lengths,
        n_clips=options.clips,
        padding_s=options.padding,
        seed=options.seed,
        conditions=tuple(dict.fromkeys(conditions)),
        hold_out=options.hold_out,
        n_tracks=options.tracks,
        out=str(Path(options.out).expanduser()),
        as_json=options.json,
    )
    hand_over("evaluate", settings)


def _lengths(text: str) -> tuple[float, ...]:
    lengths = sorted({positive_number(part) for part in text.split(",")})
    if lengths[-1] > MAX_LENGTH_S:
        msg = f"{lengths[-1]:g} s is more than {MAX_LENGTH_S:g}, which says no more about recognition"
        raise ArgumentTypeError(msg)
    return tuple(lengths)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        msg = f"{text} is not a number of seconds"
        raise ArgumentTypeError(msg)
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        msg = f"{text} is below 0"
        raise ArgumentTypeError(msg)
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        msg = f"{text} is not a share: from 0 (hold out nothing) to less than 1"
        raise ArgumentTypeError(msg)
    return value


def _conditions(text: str) -> tuple[str, ...]:
    try:
        return tuple(condition.name for condition in conditions_of(text.split(",")))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
