"""The command line: which commands there are, what they take, and pages of help that teach.

Only the parser of the command that was typed is built, and only its module is imported.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from dejavuctl.failures import Usage
from dejavud import __version__
from dejavud.wire.codes import EXIT_USAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dejavuctl.session import Session
    from dejavud.pages.command_lines import Program

    Run = Callable[[argparse.Namespace, Session], int]


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the help.

    words : what one types.
    module : of `dejavuctl.commands`; it has ``DESCRIPTION``, ``EXAMPLES``, ``configure(parser)`` and ``run(arguments, session)``.
    """

    words: str
    summary: str
    module: str


COMMANDS = (
    Command("status", "how the daemon is", "status"),
    Command("ready", "say whether the daemon can answer, or wait until it can", "ready"),
    Command("doctor", "examine the daemon and its machine, and say what mends what is wrong", "doctor"),
    Command("fingerprint", "add recordings to the library", "fingerprint"),
    Command("recognize", "say which track is playing: in files, at the microphone, on standard input", "recognize"),
    Command("scan", "say what is played in a long recording or a stream, from when to when", "scan"),
    Command("listen add", "have the daemon listen to a microphone, a stream, a file or a pipe", "listen_add"),
    Command("listen ls", "list what the daemon listens to", "listen_ls"),
    Command("listen pause", "have a listener hear nothing for a while", "listen_pause"),
    Command("listen resume", "have it hear again", "listen_resume"),
    Command("listen rm", "stop listening to a source", "listen_rm"),
    Command("listen send", "send raw sound to a listener: from a program, a pipe, another machine", "listen_send"),
    Command("listen", "show what is heard, as it is heard", "listen"),
    Command("history summary", "say what was played how often and how long", "history_summary"),
    Command("history export", "write what was played as CSV or JSON", "history_export"),
    Command("history rm", "forget plays of the history", "history_rm"),
    Command("history ls", "list what was played, newest first", "history_ls"),
    Command("history", "the same", "history_ls"),
    Command("jobs watch", "show how far a job is until it has ended", "jobs_watch"),
    Command("jobs cancel", "cancel a job", "jobs_cancel"),
    Command("jobs ls", "list what takes long, and how far it is", "jobs_ls"),
    Command("jobs", "the same", "jobs_ls"),
    Command("devices", "list the microphones and other devices that can record", "devices"),
    Command("hooks ls", "list what tells other programs what plays, and how it is", "hooks_ls"),
    Command("hooks test", "send a sample through the hooks", "hooks_test"),
    Command("tracks ls", "list the library", "tracks_ls"),
    Command("tracks show", "show one track", "tracks_show"),
    Command("tracks edit", "change what the library calls tracks", "tracks_edit"),
    Command("tracks disable", "keep tracks in the library and out of all answers", "tracks_disable"),
    Command("tracks enable", "have disabled tracks in answers again", "tracks_enable"),
    Command("tracks rm", "remove tracks from the library", "tracks_rm"),
    Command("export", "write the library, or some tracks of it, into one file", "export"),
    Command("import", "add the tracks of such a file", "import_"),
    Command("backup", "write all that is needed to have the same library again", "backup"),
    Command("restore", "have the library again that a backup holds", "restore"),
    Command("migrate", "bring the songs of an old dejavu's database over", "migrate"),
    Command("compact", "write the index anew, without the space that nothing uses", "compact"),
    Command("check", "check the index, and repair it", "check"),
    Command("evaluate", "measure how well your own music is recognized, and write a report", "evaluate"),
    Command("plot", "draw the spectrogram of a recording with its constellation", "plot"),
    Command("events", "print what happens, as it happens", "events"),
    Command("keys add", "let a client of another machine in, and make its key", "keys_add"),
    Command("keys ls", "list the clients that are let in by a key", "keys_ls"),
    Command("keys rm", "let a client in no more", "keys_rm"),
    Command("keys show", "show the daemon's public key", "keys_show"),
    Command("keys new", "make keys on the client's machine", "keys_new"),
    Command("tokens add", "make a token for a program, a page or a person", "tokens_add"),
    Command("tokens ls", "list the tokens, what they allow and when they were last used", "tokens_ls"),
    Command("tokens rm", "let nobody in by a token any more", "tokens_rm"),
    Command("completion", "print what has your shell complete dejavuctl", "completion"),
    Command("reload", "have the daemon read its configuration again", "reload"),
    Command("shutdown", "stop the daemon", "shutdown"),
)

DESCRIPTION = "Asks the music-recognition daemon dejavud."

EPILOG = """\
examples:
  dejavuctl status                          is it there, and how is it
  dejavuctl fingerprint ~/Music             teach it your music
  dejavuctl recognize clip.wav              which track is this
  dejavuctl recognize mic                   which track is playing in this room
  dejavuctl tracks ls                       what does it know

Each command tells more: dejavuctl COMMAND --help

exit status:
  0  matched, or done            3  no daemon answers
  1  no match                    4  failed
  2  the command line is wrong   130  interrupted (Ctrl-C)

environment:
  DEJAVUD_CONTROL  the daemon's control endpoint (as --control)
  DEJAVUD_KEY      a file of keys (as --key)
  DEJAVUD_TOKEN    the token, where the daemon asks for one (as --token)
  NO_COLOR         no colours (as --color never)"""


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Run]:
    """Return the options of a command line and what runs it.

    Exits as argparse does for ``--help``, ``--version`` and a command line that is wrong.
    """
    root = _root_parser()
    options = root.parse_args(argv)
    rest: list[str] = options.rest
    del options.rest
    command, arguments = _command_of(root, rest)
    module = import_module(f"dejavuctl.commands.{command.module}")
    parser = _parser_of(command)
    options = parser.parse_intermixed_args(arguments, options)
    try:
        module.check(options)
    except Usage as error:
        parser.error(error.message)
    return options, module.run


def program() -> Program:
    """Return every command with what it takes, for manual pages and completion; imports every command's module."""
    from dejavud.pages.command_lines import Program, command_line  # noqa: PLC0415 - only `dejavuctl completion` needs it

    commands = (command_line(_parser_of(command), command.words, command.summary) for command in COMMANDS)
    summary = "asks the music-recognition daemon dejavud"
    return Program("dejavuctl", __version__, summary, command_line(_root_parser()), tuple(commands))


def _parser_of(command: Command) -> argparse.ArgumentParser:
    module = import_module(f"dejavuctl.commands.{command.module}")
    parser = argparse.ArgumentParser(
        prog=f"dejavuctl {command.words}",
        description=module.DESCRIPTION,
        epilog=module.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.configure(parser)
    _add_common(parser, default=argparse.SUPPRESS)
    return parser


def _root_parser() -> argparse.ArgumentParser:
    width = max(len(command.words) for command in COMMANDS)
    listed = "\n".join(f"  {command.words:{width}}  {command.summary}" for command in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="dejavuctl",
        usage="dejavuctl [OPTIONS] COMMAND …",
        description=f"{DESCRIPTION}\n\ncommands:\n{listed}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_common(parser, default=None)
    parser.add_argument("--version", action="version", version=f"dejavuctl {__version__}")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _add_common(parser: argparse.ArgumentParser, *, default: str | None) -> None:
    """Add what every command takes, before its name or after it."""
    group = parser.add_argument_group("the daemon")
    group.add_argument(
        "--control",
        metavar="ENDPOINT",
        default=default,
        help="ipc://PATH or tcp://HOST:PORT (default: DEJAVUD_CONTROL, else your own daemon's socket, else the system's)",
    )
    group.add_argument(
        "--json",
        action="store_true",
        default=default if default is not None else False,
        help="print one JSON object a line",
    )
    group.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default=default if default is not None else "auto",
        help="colours: on a terminal (auto, and not where NO_COLOR is set), always or never",
    )
    group.add_argument(
        "--token", default=default, help="the daemon's token; other users may see it in the process list"
    )
    group.add_argument(
        "--key",
        metavar="FILE",
        default=default,
        help="the file of keys by which a daemon of another machine lets you in (default: DEJAVUD_KEY); it says where the daemon is, too",
    )
    group.add_argument("--token-file", metavar="FILE", default=default, help="a file that holds the token")


def _command_of(root: argparse.ArgumentParser, rest: Sequence[str]) -> tuple[Command, Sequence[str]]:
    """Return the command that `rest` begins with, and what follows it."""
    for command in COMMANDS:
        words = command.words.split()
        if list(rest[: len(words)]) == words:
            return command, rest[len(words) :]
    return _exit_without_command(root, rest)


def _exit_without_command(root: argparse.ArgumentParser, rest: Sequence[str]) -> NoReturn:
    """Say what could have been meant by a command line that names no command."""
    if not rest:
        root.print_help(sys.stderr)
        root.exit(EXIT_USAGE)
    family = [command for command in COMMANDS if command.words.split()[0] == rest[0]]
    if family:
        _show_family(root, family, rest)
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistyped command needs it

    near = get_close_matches(rest[0], {command.words.split()[0] for command in COMMANDS}, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "dejavuctl --help lists the commands"
    root.error(f"there is no command {rest[0]!r}; {hint}")


def _show_family(root: argparse.ArgumentParser, family: Sequence[Command], rest: Sequence[str]) -> NoReturn:
    """Show the commands that begin with one word, and exit: 0 when that was asked for."""
    asked = rest[1:2] in (["-h"], ["--help"])
    lines = [
        f"  dejavuctl {command.words:{max(len(c.words) for c in family)}}  {command.summary}" for command in family
    ]
    text = "\n".join([f"dejavuctl {rest[0]} has these commands:", *lines, "", "Each tells more with --help."])
    if asked:
        sys.stdout.write(text + "\n")
        root.exit(0)
    root.exit(EXIT_USAGE, text + "\n")


def positive_number(text: str) -> float:
    """Return a number of seconds; for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        msg = f"{text} is not a number above 0"
        raise argparse.ArgumentTypeError(msg)
    return value


def positive_count(text: str) -> int:
    """Return a whole number of at least 1; for argparse."""
    value = int(text)
    if value < 1:
        msg = f"{text} is not a whole number above 0"
        raise argparse.ArgumentTypeError(msg)
    return value


def default_jobs() -> int:
    """Return how many requests to keep in flight: what keeps a daemon on this machine's cores busy."""
    import os  # noqa: PLC0415

    return max(2, min(16, (os.cpu_count() or 1) + 1))
