"""The texts that come with the program: printed by it, from a checkout, a wheel and the single file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dejavud.config import parse_arguments

ROOT = Path(__file__).resolve().parents[2]


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Return what `dejavud` prints for these arguments; it stops after that."""
    with pytest.raises(SystemExit) as stop:
        parse_arguments(argv)
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_the_conf_file_of_defaults_is_printed_as_it_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    """`dejavud --print-default-config > dejavud.toml` makes a conf file to edit, comments and all."""
    text = printed(capsys, "--print-default-config")
    assert text == (ROOT / "conf" / "dejavud.toml").read_text(encoding="utf-8")
    assert "http" in tomllib.loads(text)


def test_the_unit_starts_the_program_that_printed_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was copied to /usr/local/bin prints a unit that starts it there."""
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/dejavud"])
    assert "ExecStart=/usr/local/bin/dejavud\n" in printed(capsys, "--print-unit")
    assert "WantedBy=default.target" in printed(capsys, "--print-unit", "user")


def test_the_license_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Of ourselves in a checkout; of everything bundled in the single file."""
    assert "MIT License" in printed(capsys, "--licenses")


def test_dejavud_ctl_is_the_client() -> None:
    """Where only one file was copied, it is both programs."""
    done = subprocess.run(
        [sys.executable, "-m", "dejavud", "ctl", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("dejavuctl ")
