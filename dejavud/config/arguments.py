"""The command line of ``dejavud``."""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud import __version__, shipped

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Recognize music from your own library. One process keeps an index of every recording you gave it and says,
for a clip that plays, which recording it is, where in it, and how surely.

With no options it needs no configuration: it keeps its index in an embedded database in your data folder and
listens on this machine only:
  HTTP on 127.0.0.1:4141, WebSocket on 127.0.0.1:4242, and two ZeroMQ sockets that only your user can open.
"""

_EPILOG = """\
examples:
  dejavud                                   start, with the usual places and ports
  dejavuctl fingerprint ~/Music             (in another terminal) teach it your music
  dejavuctl recognize file clip.wav         ask it what a clip is
  curl localhost:4141/upload --data-binary @clip.mp3
  dejavud --data-dir /tmp/try --http 127.0.0.1:0 --ws 127.0.0.1:0 --control ipc:///tmp/try/control.sock \\
          --events ipc:///tmp/try/events.sock     a second daemon, out of the way of the first
  DEJAVUD_SECURITY_TOKEN=$(openssl rand -hex 16) dejavud --http 0.0.0.0:4141     for the whole network

where settings come from, the first that says something:
  these options; environment variables DEJAVUD_SECTION_KEY (DEJAVUD_LIMITS_QUERY_S=30) and DATABASE_URL; the same
  in a file .env in the working directory; the conf file; the defaults. `dejavud --print-config` shows all of
  them and where each comes from.

conf file: --config FILE, else $XDG_CONFIG_HOME/dejavud/dejavud.toml (~/.config/…), else /etc/dejavud/dejavud.toml.

exit status: 0 stopped in order, 1 it failed while running, 2 wrong configuration, 4 it could not start.
SIGTERM or Ctrl-C stops it in order: what is being worked on is finished first. A second one stops it at once.
"""

FLAG_KEYS = {
    "data_dir": "data.dir",
    "dburl": "data.url",
    "http": "http.listen",
    "ws": "websocket.listen",
    "control": "control.endpoint",
    "events": "events.endpoint",
    "log_level": "log.level",
    "log_format": "log.format",
}
"""Option (as argparse names it) to configuration key."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line asked for.

    settings : configuration keys that options set, to the option's text.
    """

    config: Path | None
    check_config: bool
    print_config: bool
    settings: dict[str, str]


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Return what `argv` (without the program's name) asks for; exits with 2 for what it cannot be, 0 for --help and --version."""
    given = vars(_parser().parse_args(argv))
    settings = {key: given[option] for option, key in FLAG_KEYS.items() if given[option] is not None}
    return Arguments(given["config"], given["check_config"], given["print_config"], settings)


def _this_program() -> Path:
    """Return where this program was started from, links and all: that is the name that lasts."""
    return Path(shutil.which(sys.argv[0]) or sys.argv[0]).absolute()


class _PrintShipped(argparse.Action):
    """Print a text that comes with the program, and stop."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, value: object, option: str | None = None
    ) -> None:
        if option == "--write-pages":
            _write_pages(Path(str(value)))
        elif option == "--print-unit":
            sys.stdout.write(shipped.unit(str(value), _this_program()))
        else:
            sys.stdout.write(shipped.licenses() if option == "--licenses" else shipped.default_config())
        parser.exit()


def _write_pages(folder: Path) -> None:
    """Write the manual pages of both programs and what completes their command lines to where they belong in `folder`."""
    from dejavuctl.arguments import program as client  # noqa: PLC0415 - the other program, not needed to start
    from dejavud.pages import pages_of  # noqa: PLC0415
    from dejavud.pages.command_lines import Program, command_line  # noqa: PLC0415

    daemon = Program("dejavud", __version__, "recognizes music from your own library", command_line(_parser()))
    for place, text in pages_of((daemon, client()), shipped.default_config()).items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)  # noqa: T201 - for a person


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dejavud",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    places = parser.add_argument_group("places")
    places.add_argument("--config", metavar="FILE", type=Path, help="the conf file")
    places.add_argument("--data-dir", metavar="DIR", help="folder of the index and of uploads while they are worked on")
    places.add_argument("--dburl", metavar="URL", help="the database, such as duckdb:////srv/music/index.duckdb")
    doors = parser.add_argument_group("interfaces (an empty value switches HTTP or WebSocket off)")
    doors.add_argument("--http", metavar="HOST:PORT", help="HTTP; several with commas (default: 127.0.0.1:4141)")
    doors.add_argument("--ws", metavar="HOST:PORT", help="WebSocket; several with commas (default: 127.0.0.1:4242)")
    doors.add_argument("--control", metavar="ENDPOINT", help="ZeroMQ control socket that dejavuctl talks to")
    doors.add_argument("--events", metavar="ENDPOINT", help="ZeroMQ socket that publishes events")
    logs = parser.add_argument_group("log, on stderr")
    logs.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error (default: info)")
    logs.add_argument("--log-format", metavar="FORMAT", help="json, console, or auto: json unless stderr is a terminal")
    instead = parser.add_argument_group("instead of starting")
    instead.add_argument("--check-config", action="store_true", help="say whether the configuration is right, and stop")
    instead.add_argument(
        "--print-config", action="store_true", help="print the configuration as it is in force, and stop"
    )
    instead.add_argument(
        "--print-default-config",
        nargs=0,
        action=_PrintShipped,
        help="print a conf file with every setting, its default and its meaning, and stop",
    )
    instead.add_argument(
        "--print-unit",
        nargs="?",
        const="system",
        choices=tuple(shipped.UNITS),
        action=_PrintShipped,
        help="print systemd's unit that runs this program as a service of the machine, or of yourself, or that holds its "
        "sockets, and stop",
    )
    instead.add_argument(
        "--licenses", nargs=0, action=_PrintShipped, help="print the licenses of all that is bundled, and stop"
    )
    instead.add_argument(
        "--write-pages",
        metavar="FOLDER",
        action=_PrintShipped,
        help="write manual pages and shell completion of dejavud and dejavuctl below FOLDER, such as ~/.local/share, and stop",
    )
    instead.add_argument("--version", action="version", version=f"dejavud {__version__}")
    return parser
