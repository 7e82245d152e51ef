"""Manual pages and shell completion, made from what `--help` is made from, and where they are installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dejavud.pages.completion import SHELLS, completion
from dejavud.pages.manual import conf_page, program_page

if TYPE_CHECKING:
    from dejavud.pages.command_lines import Program

PLACES = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
"""Where each shell looks for the completion of a program, below /usr/share or ~/.local/share."""


def pages_of(programs: tuple[Program, ...], conf: str) -> dict[str, str]:
    """Return every page, by where it lies below /usr/share: the same bytes for the same version, whenever they are made.

    conf : the conf file of defaults.
    """
    pages = {f"man/man1/{program.name}.1": program_page(program) for program in programs}
    pages["man/man5/dejavud.toml.5"] = conf_page(conf, programs[0].version)
    return pages | {
        PLACES[shell].format(program.name): completion(program, shell) for program in programs for shell in SHELLS
    }
