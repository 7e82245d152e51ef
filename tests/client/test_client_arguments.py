from __future__ import annotations

import pytest

from dejavuctl.__main__ import main
from dejavuctl.arguments import COMMANDS, parse


@pytest.mark.parametrize(
    ("line", "form", "paths"),
    [
        ("recognize a.wav", "file", ["a.wav"]),
        ("recognize file a.wav b.wav", "file", ["a.wav", "b.wav"]),
        ("recognize file mic", "file", ["mic"]),
        ("recognize file file", "file", ["file"]),
        ("recognize a.wav --limit 5 b.wav --json", "file", ["a.wav", "b.wav"]),
        ("recognize --jobs 3 file a.wav", "file", ["a.wav"]),
        ("recognize -", "-", []),
        ("recognize file -- -a.wav", "file", ["-a.wav"]),
        ("recognize --files-from list", "file", []),
        ("recognize file --files-from - -0", "file", []),
    ],
)
def test_recognize_understands_its_forms(line: str, form: str, paths: list[str]) -> None:
    """The word `file` may be left out, options may stand anywhere, and -- ends them."""
    options, _ = parse(line.split())
    assert (options.form, options.paths) == (form, paths)


@pytest.mark.parametrize(("line", "seconds"), [("recognize mic", 10.0), ("recognize mic 2.5", 2.5)])
def test_the_microphone_takes_seconds(line: str, seconds: float) -> None:
    """Ten by default."""
    options, _ = parse(line.split())
    assert (options.form, options.seconds) == ("mic", seconds)


@pytest.mark.parametrize("line", ["--json status", "status --json", "--json status --json"])
def test_common_options_stand_before_or_after(line: str) -> None:
    """--json and the daemon's options mean the same on either side of the command."""
    options, _ = parse(line.split())
    assert options.json is True


def test_an_option_before_the_command_is_kept() -> None:
    """What was said before the command is not forgotten when the command's own options are read."""
    options, _ = parse(["--control", "ipc:///a", "--token", "t", "status"])
    assert (options.control, options.token, options.json) == ("ipc:///a", "t", False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "commands:"),
        ("statsu", "did you mean 'status'?"),
        ("xyzzy", "dejavuctl --help lists the commands"),
        ("tracks", "dejavuctl tracks ls"),
        ("tracks lst", "dejavuctl tracks ls"),
        ("recognize", "name the files"),
        ("recognize a.wav --files-from list", "one of the two"),
        ("recognize - a.wav", "takes standard input and nothing else"),
        ("recognize live 5", "recognize file live"),
        ("recognize a.wav --pcm s16le:8000:1", "--pcm is for `recognize live`"),
        ("recognize mic ten", "recognize mic SECONDS"),
        ("recognize mic 0", "one number above 0"),
        ("recognize mic 5 --files-from x", "recognize file mic"),
        ("recognize a.wav -0", "-0"),
        ("recognize a.wav --device 1", "--device is for"),
        ("recognize a.wav --limit 0", "not a number above 0"),
        ("recognize a.wav --limit nan", "not a number above 0"),
        ("recognize a.wav --jobs 0", "not a whole number above 0"),
        ("fingerprint", "PATH"),
        ("fingerprint x --ext ,", "an extension is empty"),
        ("tracks show seven", "invalid int"),
        ("tracks rm", "ID"),
        ("status --frobnicate", "--frobnicate"),
    ],
)
def test_a_wrong_command_line_is_exit_2_and_explained(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong, the exit status is 2, nothing goes to standard output, and the message says what would be right."""
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out) == (2, "")
    assert said in captured.err


@pytest.mark.parametrize("words", ["", "tracks", *(command.words for command in COMMANDS)])
def test_help_teaches(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At every level -h and --help print the same page, with examples where a command takes something, and exit 0."""
    pages = []
    for flag in ("-h", "--help"):
        with pytest.raises(SystemExit) as ended:
            main([*words.split(), flag])
        assert ended.value.code == 0
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1]
    assert "examples:" in pages[0] or words == "tracks"
    assert "dejavuctl" in pages[0]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version names the program and its version."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, "dejavuctl 0.1.0\n")
