"""Shell completion: a script that knows every command and option, and starts no program."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.pages.command_lines import Argument, CommandLine, Program

SHELLS = ("bash", "zsh", "fish")


def completion(program: Program, shell: str) -> str:
    """Return the script that has a shell of `SHELLS` complete the command line of `program`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](program)


_BASH = """\
# How bash completes {name} {version}: a table, no program is started.

{tables}
_{name}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command='' expected='' value='' options='' words='' argument='' word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        _{name}_read "$word"
    done
    [[ $current != = ]] || current=''
    _{name}_takes "$command"
    if [[ -z $expected ]]; then
        expected=$argument
        if [[ $current == -* ]]; then
            expected=$options
        elif [[ -n $words ]]; then
            expected=$words
        fi
    fi
    case $expected in
        file) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        dir) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        any | '') COMPREPLY=() ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$expected" -- "$current") ;;
    esac
}}
complete -F _{name} {name}
"""

_ZSH = """\
#compdef {name}
# How zsh completes {name} {version}: a table, no program is started.

{tables}
{descriptions}
_{name}() {{
    local command='' expected='' value='' options='' words_='' argument='' word
    local -a described
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        _{name}_read "$word"
    done
    _{name}_takes "$command"
    if [[ -z $expected ]]; then
        expected=$argument
        if [[ $PREFIX == -* || -n $words_ ]]; then
            _{name}_describe "$command" "${{PREFIX[1]}}"
            if [[ $PREFIX == -* ]]; then _describe -o option described; else _describe -t commands command described; fi
            return
        fi
    fi
    case $expected in
        file) _files ;;
        dir) _files -/ ;;
        any | '') _message value ;;
        *) compadd -- ${{=expected}} ;;
    esac
}}
if [[ ${{funcstack[1]}} == _{name} ]]; then _{name} "$@"; else compdef _{name} {name}; fi
"""

_READ = """\
_{name}_read() {{ # WORD: what it makes of what is expected next
    if [[ $1 == = && -n $expected ]]; then return; fi # bash takes --format=csv for three words
    if [[ -n $expected ]]; then
        expected=''
        return
    fi
    _{name}_value "$command:$1"
    expected=$value
    if [[ $1 == -* ]]; then return; fi
    case "${{command:+$command }}$1" in
        {all_words}) command="${{command:+$command }}$1" ;;
    esac
}}
"""


def _bash(program: Program) -> str:
    return _BASH.format(name=program.name, version=program.version, tables=_tables(program, words="words"))


def _zsh(program: Program) -> str:
    # `words` is zsh's own name for the words of the command line.
    described = [
        f"_{program.name}_describe() {{ # COMMAND, FIRST LETTER: options, or words with what they mean",
        '    case "$1:$2" in',
    ]
    for line in (program.itself, *_places(program)):
        entries = [
            f"{_quoted(flag + ':' + _colonless(option.help))}" for option in line.options for flag in option.flags
        ]
        described += [f"        {_quoted(line.words + ':-')}) described=({' '.join(entries)}) ;;"]
    for place, following in _following(program).items():
        entries = [_quoted(f"{word}:{_colonless(summary)}") for word, summary in following.items()]
        described += [f"        {_quoted(place)}:*) described=({' '.join(entries)}) ;;"]
    described += ["    esac", "}"]
    tables = _tables(program, words="words_")
    return _ZSH.format(
        name=program.name, version=program.version, tables=tables, descriptions="\n".join(described) + "\n"
    )


def _tables(program: Program, *, words: str) -> str:
    """Return the functions that bash and zsh have in common: what follows what."""
    name = program.name
    places = _following(program)
    all_words = (
        " | ".join(_quoted(word) for word in sorted({*places, *(line.words for line in program.commands)} - {""}))
        or "''"
    )
    values = [f"_{name}_value() {{ # COMMAND:OPTION: what its value is", "    case $1 in"]
    values += [
        f"        {' | '.join(patterns)}) value={_quoted(kind)} ;;" for kind, patterns in _values(program).items()
    ]
    values += ["        *) value='' ;;", "    esac", "}\n"]
    takes = [f"_{name}_takes() {{ # COMMAND: what may follow it", "    case $1 in"]
    for line in (program.itself, *_places(program)):
        flags = " ".join(flag for option in line.options for flag in option.flags)
        following = " ".join(places.get(line.words, ()))
        takes.append(
            f"        {_quoted(line.words)}) options={_quoted(flags)} {words}={_quoted(following)} argument={_kind(line)} ;;"
        )
    takes += ["    esac", "}\n"]
    return "\n".join(["\n".join(values), "\n".join(takes), _READ.format(name=name, all_words=all_words)])


def _places(program: Program) -> Iterator[CommandLine]:
    """Yield every command, and for a first word that is none by itself (``tracks``) the program's own command line."""
    yield from program.commands
    known = {line.words for line in program.commands}
    for words in dict.fromkeys(line.words.split()[0] for line in program.commands):
        if words not in known:
            yield type(program.itself)(words, "", "", "", program.itself.groups)


def _following(program: Program) -> dict[str, dict[str, str]]:
    """Return which words may follow which, with what they mean: ``""`` to the first words, ``listen`` to ``add``, ``ls`` and so on."""
    following: dict[str, dict[str, str]] = {}
    summaries = {line.words: line.summary for line in program.commands}
    for line in program.commands:
        first, _, second = line.words.partition(" ")
        following.setdefault("", {})[first] = summaries.get(first, f"{first} …")
        if second:
            following.setdefault(first, {})[second] = line.summary
    return following


def _values(program: Program) -> dict[str, list[str]]:
    """Return the kinds of values that options take, with patterns of the COMMAND:OPTION that takes one."""
    common = {flag for option in program.itself.options for flag in option.flags}
    values: dict[str, list[str]] = {}
    for line in (program.itself, *program.commands):
        for option in line.options:
            own = [flag for flag in option.flags if not line.words or flag not in common]
            if option.kind and own:
                patterns = [_quoted(f"{line.words}:{flag}") if line.words else f"*:{flag}" for flag in own]
                values.setdefault(option.kind, []).extend(patterns)
    return values


def _kind(line: CommandLine) -> str:
    """Return what the command's own arguments are: files where one of them is."""
    kinds = [argument.kind for argument in line.positionals]
    found = next((kind for kind in kinds if kind not in {"any", ""}), "any" if kinds else "")
    return _quoted(found)


def _fish(program: Program) -> str:
    name = program.name
    taking = " ".join(_quoted(pattern.strip("'")) for patterns in _values(program).values() for pattern in patterns)
    words = sorted({*_following(program), *(line.words for line in program.commands)} - {""})
    lines = [
        f"# How fish completes {name} {program.version}: a table, no program is started.\n",
        f"function __{name}_at -d 'whether what is typed so far ends the words of a command'",
        "    set -l command ''",
        "    set -l expected ''",
        "    for word in (commandline -opc)[2..-1]",
        '        if test -n "$expected"',
        "            set expected ''",
        "            continue",
        "        end",
        '        switch "$command:$word"',
        f"            case {taking}",
        "                set expected yes",
        "        end",
        '        set -l longer (string trim -- "$command $word")',
        f"        if contains -- $longer {' '.join(map(_quoted, words))}" if words else "        if false",
        "            set command $longer",
        "        end",
        "    end",
        '    contains -- "$command" $argv',
        "end\n",
        f"complete -c {name} -f",
    ]
    for place, following in _following(program).items():
        lines += [
            f'complete -c {name} -n "__{name}_at {_quoted(place)}" -a {word} -d {_quoted(summary)}'
            for word, summary in following.items()
        ]
    for line in (program.itself, *_places(program)):
        at = f'-n "__{name}_at {_quoted(line.words)}"'
        lines += [f"complete -c {name} {at} {_fish_option(option)}" for option in line.options]
        argument = _kind(line)
        if argument == "'file'":
            lines.append(f"complete -c {name} {at} -F")
        elif argument == "'dir'":
            lines.append(f"complete -c {name} {at} -a '(__fish_complete_directories)'")
        elif argument not in {"''", "'any'"}:
            lines.append(f"complete -c {name} {at} -a {argument}")
    return "\n".join(lines) + "\n"


def _fish_option(option: Argument) -> str:
    flags = [f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags]
    value = {"": "", "any": "-x", "file": "-r -F", "dir": "-x -a '(__fish_complete_directories)'"}
    takes = value.get(option.kind, f"-x -a {_quoted(option.kind)}")
    return " ".join(filter(None, [*flags, takes, f"-d {_quoted(option.help)}"]))


def _colonless(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _quoted(text: str) -> str:
    """Return `text` as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"
