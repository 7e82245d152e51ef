"""What the single file leaves out is not missed: the real commands run on a tree of links that has just what the file has."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.fft
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging" / "binary"))

import bundle  # noqa: E402 - it lies there, beside the modules that it imports
import contents  # noqa: E402

SONG = ROOT / "tests" / "golden" / "classic.wav"
DAEMON = "import sys; del sys.argv[0]; sys.modules['rich'] = None; from dejavud.__main__ import main; sys.exit(main())"
CLIENT = """
import json, sys
from dejavuctl.__main__ import main
for argv in json.load(sys.stdin):
    status = main(argv)
    if status:
        sys.exit(f"{argv} ended with {status}")
"""


def requirements() -> list[str]:
    """Return what pyproject.toml asks for, with the extras that the single file has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    hooks = Requirement(extras["hooks"][0]).extras
    return [
        *project["dependencies"],
        *(line for name in {*contents.EXTRAS, *hooks} - {"hooks"} for line in extras[name]),
    ]


def distributions(lines: list[str], extras: frozenset[str] = frozenset()) -> dict[str, importlib.metadata.Distribution]:
    """Return what is installed of the distributions that are asked for and of those that they ask for, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for wanted in map(Requirement, lines):
        marker = wanted.marker
        if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            continue
        try:
            found[wanted.name.lower()] = distribution = importlib.metadata.distribution(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            assert wanted.name == "pyaudio", f"{wanted} is not installed"
        else:
            found |= distributions(distribution.requires or [], frozenset(wanted.extras))
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out by links what the single file would have, made of this environment."""
    site = {f"dejavud/{path}": ROOT / "dejavud" / path for path in bundle.files_of(ROOT / "dejavud")}
    site |= {
        f"dejavuctl/{path}": ROOT / "clients/dejavuctl" / path for path in bundle.files_of(ROOT / "clients/dejavuctl")
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for source, target in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items():
        if (ROOT / source).is_file():
            site[target] = ROOT / source
    for distribution in distributions(requirements()).values():
        for file in distribution.files or ():
            if ".." not in file.parts and file.suffix not in {".pth", ".pyc"}:
                site.setdefault(file.as_posix(), Path(str(distribution.locate_file(file))))
    folder = tmp_path_factory.mktemp("tree")
    for target, source in bundle.plan(site, Path(sysconfig.get_path("stdlib"))).items():
        link(source, folder / target)
        if source.suffix == ".py":
            cached = Path(importlib.util.cache_from_source(str(source)))
            if cached.exists():
                link(cached, folder / target.rpartition("/")[0] / "__pycache__" / cached.name)
    return folder


def link(source: Path, target: Path) -> None:
    """Make `target` lead to `source`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


def started(tree: Path, parts: tuple[str, ...], code: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that the launcher would start `code` with."""
    modules = ":".join(str(tree / part / "site") for part in parts)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        "PYTHONHOME": str(tree / "client"),
        "PYTHONPATH": modules,
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return [str(Path(sys.executable).resolve()), "-S", "-c", code, *arguments], environment


def run(tree: Path, parts: tuple[str, ...], code: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run `code` on these parts of the tree."""
    command, environment = started(tree, parts, code)
    return subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)


@pytest.fixture
def daemon(tree: Path) -> Iterator[str]:
    """Run the daemon on the tree and return its control socket."""
    with tempfile.TemporaryDirectory(prefix="single") as folder:
        control = f"ipc://{folder}/control.sock"
        command, environment = started(
            tree, ("client", "daemon"), DAEMON, "dejavud", "--data-dir", folder, "--http", "127.0.0.1:0",
            "--ws", "127.0.0.1:0", "--control", control, "--events", f"ipc://{folder}/events.sock", "--log-format", "json",
        )  # fmt: skip
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            log = []
            for line in process.stderr:
                log.append(line)
                if "daemon_ready" in line:
                    break
            else:
                pytest.fail(f"the daemon did not start: {''.join(log)}")
            yield control
            process.terminate()
            process.stderr.read()
        assert process.returncode == 0


def test_the_commands_run_without_what_is_left_out(tree: Path, daemon: str, tmp_path: Path) -> None:
    """Adding, asking, listing, checking, exporting: none misses a module, in the client, the daemon or its workers."""
    commands = [
        ["status"],
        ["fingerprint", str(SONG)],
        ["recognize", "file", str(SONG)],
        ["scan", str(SONG)],
        ["tracks", "ls"],
        ["tracks", "show", "1"],
        ["history"],
        ["history", "summary"],
        ["history", "export"],
        ["hooks", "ls"],
        ["listen", "ls"],
        ["listen", "add", "file", str(SONG)],
        ["check"],
        ["compact"],
        ["export", str(tmp_path / "library")],
        ["backup", str(tmp_path / "backup")],
    ]
    done = run(tree, ("client",), CLIENT, json.dumps([[*argv, "--control", daemon] for argv in commands]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 track added" in done.stdout + done.stderr


def test_every_module_that_we_import_anywhere_is_there(tree: Path) -> None:
    """Libraries that a function imports for itself, when it is called, as well; only what evaluates recognition stays out."""
    names = set()
    for folder in (ROOT / "dejavud", ROOT / "clients" / "dejavuctl"):
        for path in folder.rglob("*.py"):
            if "evaluation" not in path.parts:
                names |= imported(ast.parse(path.read_text(encoding="utf-8")))
    if importlib.util.find_spec("pyaudio") is None:
        names.discard("pyaudio")
    drivers = ["psycopg2", "pymysql", "sqlalchemy.dialects.postgresql.psycopg2", "sqlalchemy.dialects.mysql.pymysql"]
    names |= {*drivers, "sqlalchemy.dialects.sqlite.pysqlite", "cryptography.hazmat.primitives.asymmetric.rsa"}
    code = (
        "import importlib, json, sys\n"
        "for name in json.load(sys.stdin):\n"
        "    try: importlib.import_module(name)\n"
        "    except ImportError as error: print(name, error)\n"
    )
    done = run(tree, ("client", "daemon"), code, json.dumps(sorted(names)))
    assert (done.stdout, done.returncode) == ("", 0), done.stdout + done.stderr
    assert len(names) > 150


def imported(node: ast.AST) -> set[str]:
    """Return the modules that a syntax tree imports, but for the checker of types only."""
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return set()
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {node.module} if node.module and not node.level else set()
    return {name for child in ast.iter_child_nodes(node) for name in imported(child)}


def test_the_transform_in_the_file_is_scipys_bit_for_bit(tree: Path) -> None:
    """Leaving the rest of SciPy out changes no fingerprint: an index made by either is the same."""
    code = (
        "import sys; import numpy as np, scipy.fft\n"
        "frames = np.random.default_rng(1).standard_normal((9, 1024)).astype(np.float32)\n"
        "sys.stdout.write(scipy.fft.rfft(frames, axis=1).tobytes().hex())\n"
    )
    frames = np.random.default_rng(1).standard_normal((9, 1024)).astype(np.float32)
    assert run(tree, ("client", "daemon"), code).stdout == scipy.fft.rfft(frames, axis=1).tobytes().hex()


def test_the_client_finds_no_numpy_in_its_part(tree: Path) -> None:
    """What measures and draws is not in the file: the command for it says so, and where to get it."""
    done = run(tree, ("client",), "from dejavuctl.__main__ import main; raise SystemExit(main(['evaluate', '/tmp']))")
    assert done.returncode == 2, done.stderr
    assert "not in the single file" in done.stderr
