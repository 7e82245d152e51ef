"""``dejavuctl``: parse, run one command, and turn every way it can end into an exit status."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dejavuctl.arguments import parse
from dejavuctl.failures import EXIT_CLOSED_PIPE, EXIT_INTERRUPTED, Failed, Interrupted, NoDaemon, Usage
from dejavuctl.output import Output, wanted_color
from dejavuctl.session import Session, find_key, find_token
from dejavud.errors import DejavudError
from dejavud.wire.codes import EXIT_FAILED, EXIT_NO_DAEMON, EXIT_USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import TextIOWrapper


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (the process's own by default) and return the exit status."""
    _tolerate_any_character(sys.stdout, sys.stderr)
    options, run = parse(sys.argv[1:] if argv is None else argv)
    out = Output(
        as_json=options.json, answers=sys.stdout, remarks=sys.stderr, color=wanted_color(options.color, os.environ)
    )
    try:
        token = find_token(options.token, options.token_file, os.environ)
        return run(options, Session(options.control, os.environ, token, out, find_key(options.key, os.environ, out)))
    except Usage as error:
        out.complain(error.message)
        return EXIT_USAGE
    except (Interrupted, KeyboardInterrupt) as stop:
        return _say_interrupted(out, stop)
    except BrokenPipeError:
        _forget_closed_pipe()
        return EXIT_CLOSED_PIPE
    except Failed as failure:
        return _report(out, failure, EXIT_FAILED)
    except DejavudError as error:
        return _report(out, Failed.of(error), EXIT_NO_DAEMON if isinstance(error, NoDaemon) else EXIT_FAILED)


def _say_interrupted(out: Output, stop: BaseException) -> int:
    if isinstance(stop, Interrupted):
        out.fail({"interrupted": True, **stop.figures}, f"interrupted: {stop.left}")
    else:
        out.remark("interrupted")
    return EXIT_INTERRUPTED


def _report(out: Output, failure: Failed, status: int) -> int:
    try:
        out.refuse(failure)
    except BrokenPipeError:
        _forget_closed_pipe()
    return status


def _forget_closed_pipe() -> None:
    """Let what is still buffered go nowhere: Python flushes at exit, and would complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _tolerate_any_character(*streams: object) -> None:
    """Print what the terminal's encoding lacks as a question mark instead of failing on a title."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            wrapper: TextIOWrapper = stream  # type: ignore[assignment]  # a test may put something else there
            wrapper.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
