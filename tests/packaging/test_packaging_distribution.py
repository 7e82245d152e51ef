"""The wheel and the sdist hold what they should, and the wheel asks for nothing that needs a compiler."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dejavud import shipped

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel and an sdist from the checkout, without the network."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=60,
    )
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> zipfile.ZipFile:
    """Open the wheel."""
    (path,) = dist.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """Read what the wheel says of itself to pip."""
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return HeaderParser().parsestr(wheel.read(name).decode())


def test_the_wheel_installs_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No top-level `clients`, `tests` or `conf` lands in a user's site-packages."""
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"dejavud", "dejavuctl", "dejavud_client"}


def test_the_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    """Type checkers of users look into the package."""
    assert "dejavud/py.typed" in wheel.namelist()


def test_both_console_scripts_lead_to_something_callable(wheel: zipfile.ZipFile) -> None:
    """`dejavud` and `dejavuctl` start."""
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    entries = ConfigParser()
    entries.read_string(wheel.read(name).decode())
    assert set(entries["console_scripts"]) == {"dejavud", "dejavuctl"}
    for target in entries["console_scripts"].values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_the_wheel_ships_the_conf_file_the_units_and_the_license(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Installed by pip, without conf/ and systemd/ beside it, the program prints what it prints in a checkout."""
    wheel.extractall(tmp_path)  # noqa: S202 - made by ourselves just now
    code = "from dejavud import shipped as s; print(s.default_config(), *(s.unit(kind, '/x') for kind in s.UNITS), s.licenses())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = " ".join(
        [shipped.default_config(), *(shipped.unit(kind, Path("/x")) for kind in shipped.UNITS), shipped.licenses()]
    )
    assert (tmp_path / "dejavud" / "shipped" / "systemd" / "dejavud.service").is_file()
    assert done.stdout == ours + "\n"


def test_the_wheel_holds_the_web_page_and_the_one_client_that_it_is_made_with(wheel: zipfile.ZipFile) -> None:
    """Installed by pip the page is complete: its own files, and the JavaScript client, of which the repository has one copy."""
    page = {path.name: path.read_bytes() for path in (ROOT / "dejavud" / "web").iterdir()}
    page["dejavud.js"] = (ROOT / "clients" / "dejavud.js").read_bytes()
    names = [name for name in wheel.namelist() if name.startswith("dejavud/web/")]
    assert {Path(name).name: wheel.read(name) for name in names} == page


def test_pyaudio_comes_with_the_extra_only(metadata: Message) -> None:
    """A plain install compiles nothing: PyAudio is the one dependency without wheels."""
    required = [line for line in metadata.get_all("Requires-Dist", []) if line.lower().startswith("pyaudio")]
    assert len(required) == 1
    assert "extra == 'mic'" in required[0]


def test_audioop_is_asked_for_where_python_no_longer_has_it(metadata: Message) -> None:
    """The standard library lost audioop, which pydub imports, with 3.13."""
    (line,) = (line for line in metadata.get_all("Requires-Dist", []) if line.startswith("audioop-lts"))
    assert "python_version >= '3.13'" in line


def test_the_sdist_holds_what_the_two_commands_need(dist: Path) -> None:
    """From the sdist alone, ./quickstart and ./run-tests work: executable, with what they source."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        modes = {member.name.split("/", 1)[1]: member.mode for member in sdist.getmembers() if member.isfile()}
    for script in ("quickstart", "run-tests", "tests/music", ".ci/run"):
        assert modes[script] & 0o111, f"{script} is not executable"
    assert {"packaging/setup.bash", "clients/demo.py", "README.md", "LICENSE", "pyproject.toml"} <= set(modes)
