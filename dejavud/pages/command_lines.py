"""What a command line takes, as values: read from the parsers that print `--help`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

_KINDS = {"FILE": "file", "FILE|URL": "file", "URL|FILE": "file", "PATH": "file", "PNG": "file", "SOURCE": "file"}
_KINDS |= {"DIR": "dir", "FOLDER": "dir"}


@dataclass(frozen=True, slots=True)
class Argument:
    """An option, or without `flags` what stands for itself.

    flags : such as ``-q`` and ``--quiet``.
    shown : its value as help shows it, such as ``FILE``; empty where it takes none.
    kind : what its value is, for who completes it: ``file``, ``dir``, ``any``, or the words to choose from, with spaces between; empty where it
        takes none, or need not.
    """

    flags: tuple[str, ...]
    shown: str
    kind: str
    help: str


@dataclass(frozen=True, slots=True)
class Group:
    """Arguments that help shows together."""

    title: str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What may follow some words.

    words : those of the command, empty for the program itself.
    summary : its line among the commands; examples : what help shows last.
    """

    words: str
    summary: str
    description: str
    examples: str
    groups: tuple[Group, ...]

    @property
    def options(self) -> tuple[Argument, ...]:
        """What begins with a dash."""
        return tuple(argument for group in self.groups for argument in group.arguments if argument.flags)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """What stands for itself, in order."""
        return tuple(argument for group in self.groups for argument in group.arguments if not argument.flags)


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its own command line, and those of its commands."""

    name: str
    version: str
    summary: str
    itself: CommandLine
    commands: tuple[CommandLine, ...] = ()


def command_line(parser: argparse.ArgumentParser, words: str = "", summary: str = "") -> CommandLine:
    """Return what `parser` takes."""
    groups = (
        Group(group.title or "", tuple(_argument(parser, action) for action in shown))
        for group in parser._action_groups  # noqa: SLF001 - argparse has no public way to them
        if (shown := [action for action in group._group_actions if action.help is not argparse.SUPPRESS])  # noqa: SLF001
    )
    return CommandLine(words, summary, parser.description or "", parser.epilog or "", tuple(groups))


def _argument(parser: argparse.ArgumentParser, action: argparse.Action) -> Argument:
    takes = action.nargs != 0
    choices = " ".join(map(str, action.choices)) if action.choices else ""
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    shown = f"{{{choices.replace(' ', ',')}}}" if choices else name.upper() if action.option_strings else name
    kind = choices or _KINDS.get(name, "any")
    if action.option_strings and action.nargs == "?":
        kind = ""
    text = argparse.HelpFormatter(parser.prog)._expand_help(action) if action.help else ""  # noqa: SLF001 - see above
    return Argument(
        tuple(action.option_strings), _repeated(shown, action.nargs) if takes else "", kind if takes else "", text
    )


def _repeated(shown: str, nargs: int | str | None) -> str:
    """Return a value as help shows it: whether it may be missing, and whether there may be more of it."""
    return {"?": f"[{shown}]", "*": f"[{shown} …]", "+": f"{shown} …"}.get(str(nargs), shown)
