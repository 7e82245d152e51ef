"""Manual pages, in the macros `man` that every formatter knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dejavud.pages.command_lines import CommandLine, Program

_SEE_ALSO = {
    "dejavud": (("dejavuctl", 1), ("dejavud.toml", 5), ("systemctl", 1)),
    "dejavuctl": (("dejavud", 1), ("dejavud.toml", 5)),
    "dejavud.toml": (("dejavud", 1), ("dejavuctl", 1)),
}


def program_page(program: Program) -> str:
    """Return the manual page of a program: what `--help` says at every level."""
    usage = "[OPTIONS] COMMAND …" if program.commands else "[OPTIONS]"
    lines = [
        *_head(program.name, 1, program.version, "User Commands", program.summary),
        ".SH SYNOPSIS",
        f"{_bold(program.name)} {_text(usage)}",
        ".SH DESCRIPTION",
        *_blocks(program.itself.description),
        ".SH OPTIONS",
        *_arguments(program.itself),
    ]
    if program.commands:
        lines += [".SH COMMANDS", "Each takes the options above as well, before its name or after it."]
    common = {option.flags for option in program.itself.options}
    for line in program.commands:
        lines += _command(program, line, common)
    lines += _sections(program.itself.examples)
    return "\n".join([*lines, *_see_also(program.name)]) + "\n"


def conf_page(conf: str, version: str) -> str:
    """Return the manual page of the conf file, made of its own comments.

    conf : conf/dejavud.toml, where each comment stands above the keys that it is about.
    """
    lines = _head("dejavud.toml", 5, version, "File Formats", "every setting of dejavud, with its default")
    lines += [".SH DESCRIPTION"]
    for comment, settings in _settings(conf):
        heading = settings[0] if settings and settings[0].startswith("[") else ""
        if heading:
            section, _, remark = heading.partition("#")
            lines += [f".SH {_text(section.strip())}", *_blocks(f"{comment}\n{remark.strip()}".strip())]
        elif settings:
            lines += [".TP", _bold(settings[0])]
            for more in settings[1:]:
                lines += [".TQ", _bold(more)]
            lines += _blocks(comment) or [r"\&"]
        else:
            lines += _blocks(comment)
    return "\n".join([*lines, *_see_also("dejavud.toml")]) + "\n"


def _settings(conf: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each comment with the lines below it up to the next comment or empty line; a section's heading by itself."""
    comment: list[str] = []
    settings: list[str] = []
    for line in [*conf.splitlines(), ""]:
        if settings and (not line or line[0] in "#["):
            yield "\n".join(comment), settings
            comment, settings = [], []
        if line.startswith("#"):
            comment.append(line[1:].removeprefix(" "))
        elif line.startswith("["):
            yield "\n".join(comment), [line]
            comment = []
        elif line:
            settings.append(line)
        elif comment:
            yield "\n".join(comment), []
            comment = []


def _head(name: str, section: int, version: str, kind: str, summary: str) -> list[str]:
    # No date: a page is the same whenever it is made.
    return [
        f'.TH {name.upper()} {section} "" "dejavud {version}" "{kind}"',
        ".nh",
        ".ad l",
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
    ]


def _command(program: Program, line: CommandLine, common: set[tuple[str, ...]]) -> Iterator[str]:
    yield f".SS {_text(' '.join([program.name, line.words, *(one.shown for one in line.positionals)]))}"
    yield from _blocks(line.description)
    yield from _arguments(line, without=common | {("-h", "--help")})
    yield from _examples(line.examples)


def _arguments(line: CommandLine, without: Iterable[tuple[str, ...]] = ()) -> Iterator[str]:
    for group in line.groups:
        shown = [argument for argument in group.arguments if argument.flags not in without or not argument.flags]
        if shown and group.title not in {"options", "positional arguments"}:
            yield ".PP"
            yield f"{_text(group.title[0].upper() + group.title[1:])}:"
        for argument in shown:
            yield ".TP"
            value = _italic(argument.shown) if argument.shown else ""
            yield f"{', '.join(map(_bold, argument.flags))} {value}".strip()
            yield _line(argument.help) or r"\&"


def _sections(epilog: str) -> Iterator[str]:
    """Yield the paragraphs below `--help` as sections, named by what stands before the first colon; what is indented stays as it is."""
    for block in epilog.strip().split("\n\n"):
        first, _, rest = block.partition("\n")
        if first.endswith(":") and rest.startswith(" "):
            heading, comma, more = first[:-1].partition(", ")
            yield f".SH {_text(heading.upper())}"
            if comma:
                yield f"{_text(more[0].upper() + more[1:])}:"
            yield from _as_it_is(rest)
        else:
            heading, _, rest = block.partition(": ")
            yield f".SH {_text(heading.upper())}"
            yield from _blocks(rest)


def _examples(text: str) -> Iterator[str]:
    for block in text.strip().split("\n\n"):
        first, _, rest = block.partition("\n")
        yield ".PP"
        if first.endswith(":") and rest.startswith(" "):
            yield _line(first[0].upper() + first[1:])
            yield from _as_it_is(rest)
        else:
            yield from _blocks(block)


def _blocks(text: str) -> list[str]:
    """Return paragraphs, those with indented lines as they are."""
    lines: list[str] = []
    for number, block in enumerate(text.strip().split("\n\n") if text.strip() else ()):
        lines += [".PP"] if number else []
        if re.search(r"^\s", block, re.MULTILINE):
            lines += [".nf", *map(_line, block.splitlines()), ".fi"]
        else:
            lines += map(_line, block.splitlines())
    return lines


def _as_it_is(text: str) -> list[str]:
    return [".nf", ".RS 2", *(_line(line.removeprefix("  ")) for line in text.splitlines()), ".RE", ".fi"]


def _see_also(name: str) -> list[str]:
    others = _SEE_ALSO[name]
    return [
        ".SH SEE ALSO",
        *(f".BR {_text(other)} ({number}){',' if other != others[-1][0] else ''}" for other, number in others),
    ]


def _bold(text: str) -> str:
    return f"\\fB{_text(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_text(text)}\\fR"


def _text(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _line(text: str) -> str:
    """Return `text` as a line of its own: one that begins as a request does is none."""
    escaped = _text(text.rstrip())
    return f"\\&{escaped}" if escaped[:1] in {".", "'"} else escaped
