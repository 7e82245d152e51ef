"""``dejavuctl completion``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavuctl.arguments import program
from dejavud.pages.completion import SHELLS, completion
from dejavud.wire.codes import EXIT_MATCHED

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from dejavuctl.session import Session

DESCRIPTION = """\
Prints a script that has your shell complete the commands, options and files of dejavuctl.
The script is a table: completing starts no program.  The package dejavud.deb brings it along, for dejavud too."""
EXAMPLES = """\
examples:
  source <(dejavuctl completion bash)                        in this shell; in ~/.bashrc, in every one
  source <(dejavuctl completion zsh)                         the same for zsh, after compinit in ~/.zshrc
  dejavuctl completion fish | source                         and for fish
  dejavud --write-pages ~/.local/share                       for both programs, with their manual pages, where bash and fish look by themselves"""


def configure(parser: ArgumentParser) -> None:
    """Say what the command takes."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def check(options: Namespace) -> None:
    """Accept anything that parsed."""


def run(options: Namespace, session: Session) -> int:
    """Print it; no daemon is asked."""
    script = completion(program(), options.shell)
    session.out.show({"shell": options.shell, "script": script}, script.rstrip("\n"))
    return EXIT_MATCHED
