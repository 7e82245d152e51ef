"""Manual pages and shell completion: of every command and option that `--help` tells of."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dejavuctl.arguments import COMMANDS, program
from dejavuctl.arguments import parse as parse_client
from dejavud.config import parse_arguments
from dejavud.config.sections import keys
from dejavud.pages import PLACES

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["", *(command.words for command in COMMANDS)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the pages as an installed program does."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.raises(SystemExit) as stop:
        parse_arguments(["--write-pages", str(folder)])
    assert stop.value.code == 0
    return folder


def helped(capsys: pytest.CaptureFixture[str], name: str, words: str) -> set[str]:
    """Return the options of which a page of `--help` tells."""
    with pytest.raises(SystemExit):
        (parse_client if name == "dejavuctl" else parse_arguments)([*words.split(), "--help"])
    lines = re.findall(r"^  (-.*?)(?:   *|$)", capsys.readouterr().out, re.MULTILINE)
    return {flag for line in lines for flag in re.findall(r"(?:^|, )(--?[a-z0][-a-z]*)", line)}


def completed(shell: str, pages: Path, *lines: str, cwd: Path | None = None) -> list[list[str]]:
    """Return what a real shell offers for each of the lines, whose last word is being typed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    code = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    names = ["dejavud", "dejavuctl"]
    scripts = [str(pages / PLACES[shell].format(name)) for name in names]
    flags = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *flags, "-c", code, *([shell] if shell != "fish" else []), *scripts, *lines],
        cwd=cwd,
        env={**os.environ, "HOME": str(pages), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = done.stdout.split("\0\n")[:-1]
    assert len(answers) == len(lines)
    return [sorted(answer.split("\n")[:-1]) for answer in answers]


_BASH = r"""
source "$1"; source "$2"; shift 2
compopt() { :; }  # bash takes it only while somebody types
for line; do
    read -ra COMP_WORDS <<<"$line"
    [[ $line != *' ' ]] || COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    "_${COMP_WORDS[0]}" || exit
    [[ ${#COMPREPLY[@]} -eq 0 ]] || printf '%s\n' "${COMPREPLY[@]}"
    printf '\0\n'
done
"""

_ZSH = r"""
compdef() { :; }
source $1; source $2; shift 2
_describe() { local -a of=("${(@P)argv[-1]}"); print -rl -- ${(M)${of%%:*}:#$PREFIX*}; }
_files() { print -rl -- $PREFIX*(N); }
_message() { :; }
compadd() { shift; print -rl -- ${(M)@:#$PREFIX*}; }
for line; do
    words=(${(s: :)line}); [[ $line != *' ' ]] || words+=('')
    CURRENT=$#words PREFIX=$words[-1]
    _${words[1]} | grep -v '^$'
    printf '\0\n'
done
"""

_FISH = r"""
source $argv[1]; source $argv[2]
for line in $argv[3..-1]
    complete -C $line | string replace -r '\t.*' ''
    printf '\0\n'
end
"""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_and_option_of_help_is_completed(
    shell: str, pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a shell offers after `--` is what the command's own page of help tells of, for every command; and every command is offered."""
    lines = [f"dejavuctl {words} --".replace("  ", " ") for words in WORDS]
    offered = completed(shell, pages, "dejavud --", *lines)
    for (name, words), flags in zip(
        [("dejavud", ""), *(("dejavuctl", words) for words in WORDS)], offered, strict=True
    ):
        expected = {flag for flag in helped(capsys, name, words) if flag.startswith("--")}
        assert "--help" in expected
        assert {flag for flag in flags if flag.startswith("--")} == expected, (name, words)
    firsts = {command.words.split()[0] for command in COMMANDS}
    families = sorted({command.words.split()[0] for command in COMMANDS if " " in command.words})
    first, *seconds = completed(shell, pages, "dejavuctl ", *(f"dejavuctl {family} " for family in families))
    assert set(first) == firsts
    for family, second in zip(families, seconds, strict=True):
        assert set(second) == {c.words.split()[1] for c in COMMANDS if c.words.startswith(f"{family} ")}, family


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_values_and_files_are_completed(shell: str, pages: Path, tmp_path: Path) -> None:
    """Choices where an option has them, files where it takes one, nothing where it may be anything; whatever stands before."""
    (tmp_path / "my show.wav").touch()
    (tmp_path / "status").touch()
    offered = completed(
        shell,
        pages,
        "dejavuctl scan --format ",
        "dejavuctl --json --token-file status tracks ls --sort a",
        "dejavuctl recognize my",
        "dejavuctl fingerprint --jobs ",
        "dejavuctl completion ",
        "dejavud --config my",
        "dejavuctl stat",
        cwd=tmp_path,
    )
    if shell == "fish":  # which quotes what it offers, and offers words that have the letters anywhere
        offered = [[word.replace("\\ ", " ") for word in words] for words in offered]
        offered[1] = [word for word in offered[1] if word.startswith("a")]
    assert offered == [
        ["csv", "cue", "json", "table"],
        ["added", "album", "artist"],
        ["my show.wav"],
        [],
        ["bash", "fish", "zsh"],
        ["my show.wav"],
        ["status"],
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_while_somebody_types(shell: str, pages: Path, tmp_path: Path) -> None:
    """With the shell's own completion system on a terminal: commands, their second words, options, values and files, each by one tab."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "my show.wav").touch()
    terminal, other_end = pty.openpty()
    place = (pages / PLACES[shell].format("x")).parent
    begin = {
        "bash": f"source {place}/dejavuctl; source {place}/dejavud; echo BE''GUN\n",
        "zsh": f"fpath=({place} $fpath); autoload -U compinit; compinit -D -u; bindkey '^I' complete-word; echo BE''GUN\n",
    }
    command = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    environment = {**os.environ, "HOME": str(pages), "TERM": "dumb", "LC_ALL": "C.UTF-8", "PS1": "> "}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=other_end,
        stdout=other_end,
        stderr=other_end,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            answered(terminal, begin[shell], "BEGUN")
            for typed, completed_to in (
                ("dejavuctl lis", "dejavuctl listen"),
                ("dejavuctl tracks sho", "dejavuctl tracks show"),
                ("dejavuctl scan --form", "dejavuctl scan --format"),
                ("dejavuctl scan --format ta", "dejavuctl scan --format table"),
                ("dejavuctl recognize my", "dejavuctl recognize my\\ show.wav"),
                ("dejavud --check", "dejavud --check-config"),
            ):
                answered(terminal, f"{typed}\t", completed_to)
                os.write(terminal, b"\x15")  # Ctrl-U: an empty line again
        finally:
            process.kill()
            os.close(other_end)
            os.close(terminal)


def answered(terminal: int, typed: str, expected: str) -> None:
    """Type on a terminal, and return when it shows what is expected."""
    os.write(terminal, typed.encode())
    shown = ""
    while expected not in shown:
        assert select.select([terminal], [], [], 20.0)[0], shown
        shown += os.read(terminal, 4096).decode(errors="replace")
        shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\b]", "", shown)


def test_bash_completes_what_follows_an_equals_sign(pages: Path) -> None:
    """Readline takes `--format=c` for three words."""
    assert completed("bash", pages, "dejavuctl scan --format = c", "dejavuctl scan --format =") == [
        ["csv", "cue"],
        ["csv", "cue", "json", "table"],
    ]


def test_no_program_is_started_to_complete(pages: Path) -> None:
    """The scripts of bash name no command but the shell's own: with an empty PATH they do the same."""
    script = pages / PLACES["bash"].format("dejavuctl")
    code = f"PATH=; source {script}; COMP_WORDS=(dejavuctl sta) COMP_CWORD=1; _dejavuctl; echo $COMPREPLY"
    done = subprocess.run(["bash", "--norc", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("status\n", "")


def test_dejavuctl_prints_what_is_installed(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`dejavuctl completion SHELL` needs no daemon and prints the script that the package installs."""
    from dejavuctl.__main__ import main  # noqa: PLC0415 - beside the parser that the other tests ask

    for shell, place in PLACES.items():
        assert main(["completion", shell]) == 0
        assert capsys.readouterr().out == (pages / place.format("dejavuctl")).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["man1/dejavud.1", "man1/dejavuctl.1", "man5/dejavud.toml.5"])
def test_a_manual_page_is_well_formed(page: str, pages: Path) -> None:
    """Groff with all its warnings has nothing to say, nor mandoc but that there is no date."""
    path = pages / "man" / page
    linters = {
        "groff": ["groff", "-k", "-ww", "-man", "-Tutf8", "-z", str(path)],
        "mandoc": ["mandoc", "-T", "lint", "-W", "warning", str(path)],
    }
    installed = [linter for name, linter in linters.items() if shutil.which(name)]
    for linter in installed:
        done = subprocess.run(linter, capture_output=True, text=True, check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
        assert said == []
    text = path.read_text(encoding="utf-8")
    requests = set(re.findall(r"^\.(\S+)", text, re.MULTILINE))
    assert requests <= {"TH", "SH", "SS", "TP", "TQ", "PP", "RS", "RE", "nf", "fi", "nh", "ad", "BR"}
    assert text.count("\n.nf\n") == text.count("\n.fi\n")
    assert not re.search(r"^'", text, re.MULTILINE)


def test_the_manual_pages_tell_of_every_command_and_option(pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the heading of a command stands every option that its help has and that is not said to be every command's."""
    daemon, client = (
        (pages / "man" / "man1" / f"{name}.1").read_text(encoding="utf-8") for name in ("dejavud", "dejavuctl")
    )
    assert options_of(daemon) == helped(capsys, "dejavud", "")
    own, *commands = client.split("\n.SS ")
    common = options_of(own)
    assert common == helped(capsys, "dejavuctl", "")
    for line, text in zip(program().commands, commands, strict=True):
        assert text.startswith(f"dejavuctl {line.words}")
        assert options_of(text) | common == helped(capsys, "dejavuctl", line.words) | common, line.words


def options_of(page: str) -> set[str]:
    """Return the options that have an entry of their own in a manual page."""
    lines = re.findall(r"^\.TP\n(.*)", page, re.MULTILINE)
    return {flag.replace("\\-", "-") for line in lines for flag in re.findall(r"\\fB(\\-.*?)\\fR", line)}


def test_the_page_of_the_conf_file_has_every_setting(pages: Path) -> None:
    """Each key stands in its section with its default, and what the conf file says of it."""
    text = (pages / "man" / "man5" / "dejavud.toml.5").read_text(encoding="utf-8")
    sections = {title: body for title, _, body in (part.partition("\n") for part in text.split("\n.SH ")[1:])}
    for key in keys().values():
        assert re.search(rf"^\\fB{key.name} = ", sections[f"[{key.section}]"], re.MULTILINE), key
    assert "a power of two" in sections["[engine]"]


def test_the_command_of_the_checkout_writes_the_same_bytes(pages: Path, tmp_path: Path) -> None:
    """packaging/pages, whenever it is run, on another day and in another language, writes what the program writes."""
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": "1",
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
        "COLUMNS": "40",
        "PYTHON": sys.executable,
    }
    subprocess.run([ROOT / "packaging" / "pages", tmp_path], check=True, capture_output=True, env=environment)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {path.relative_to(pages): path.read_bytes() for path in pages.rglob("*") if path.is_file()}
    assert len(written) == 9
