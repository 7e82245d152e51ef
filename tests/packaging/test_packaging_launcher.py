"""The launcher of the single file, with a small payload of shell scripts in place of Python and the daemon."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "packaging" / "binary"
sys.path.insert(0, str(BINARY))

import bundle  # noqa: E402 - it lies there, beside the modules that it imports

SAYS = '#!/bin/sh\nshift 3\necho "$@"\nls "${PYTHONPATH%%:*}/.."\necho "path $PYTHONPATH home $PYTHONHOME"\n'
"""In the interpreter's place: says what it was called with.  -S, -c and the code come first."""
WAITS = "#!/bin/sh\necho started\nread word\n"


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the launcher."""
    if shutil.which("zstd") is None or not list(Path("/usr/lib").glob("*/libzstd.a")):
        pytest.skip("zstd or its static library is not installed (apt install zstd libzstd-dev)")
    built = tmp_path_factory.mktemp("launcher") / "launcher"
    sources = [BINARY / name for name in ("launcher.c", "unpack.c", "blake2b.c")]
    subprocess.run(
        ["gcc", "-std=c11", "-O1", "-static", "-s", "-Wall", "-Wextra", "-Werror", "-o", built, *sources, "-lzstd"],
        check=True,
    )
    return built


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return where the file will unpack to."""
    return tmp_path / "home" / ".cache" / "dejavud" / "bundle"


@pytest.fixture
def make(tmp_path: Path, launcher: Path) -> Callable[..., Path]:
    """Return what makes a single file of an interpreter's text and other files."""
    (tmp_path / "home").mkdir()

    def made(program: str = SAYS, name: str = "dejavud", files: Mapping[str, bytes] = {}) -> Path:
        tree = tmp_path / f"tree of {name}"
        contents = {
            "client/bin/dejavud": program.encode(),
            "client/site/empty": b"",
            "daemon/site/large": bytes(range(256)) * 10_000,
            **files,
        }
        for path, content in contents.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(content)
        (tree / "client/bin/dejavud").chmod(0o755)
        bundle.assemble(tree, [("libc.so.6", "GLIBC_2.4")], launcher, tmp_path / name, work=tmp_path, level=1)
        return tmp_path / name

    return made


def run(program: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the single file as a user whose home is beside it."""
    environment = {"HOME": str(program.parent / "home"), "PATH": os.environ["PATH"], **more}
    return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)


def folders(cache: Path) -> list[str]:
    """Return the names in the cache without their digests, and without the lock."""
    return sorted(path.name.split("-")[0] for path in cache.iterdir() if path.name != ".lock")


def test_the_daemon_gets_its_arguments_and_where_the_modules_are(make: Callable[..., Path], cache: Path) -> None:
    """Nothing of the command line is lost, and a person's own Python settings do not reach the interpreter."""
    program = make()
    done = run(program, "--http", "a b", "", PYTHONHOME="/elsewhere", PYTHONSTARTUP="/x")
    words = done.stdout.splitlines()
    assert words[0] == f"{program} --http a b "
    client, daemon = (next(cache.glob(f"{part}-*")) for part in ("client", "daemon"))
    assert words[-1] == f"path {client}/site:{daemon}/site home "
    assert (daemon / "site" / "large").read_bytes() == bytes(range(256)) * 10_000
    assert stat.S_IMODE(client.stat().st_mode) == 0o700


def test_tls_trusts_whom_the_machine_trusts(make: Callable[..., Path], cache: Path) -> None:
    """What a person has set stands; else it is the machine's list, wherever that lies, or the one that came along."""
    program = make('#!/bin/sh\necho "$SSL_CERT_FILE"\n', files={"daemon/site/certifi/cacert.pem": b"x"})
    assert run(program, SSL_CERT_FILE="/mine.pem").stdout == "/mine.pem\n"
    chosen = Path(run(program).stdout.strip())
    assert chosen.is_file()
    assert chosen.is_relative_to("/etc") or chosen.is_relative_to(cache)


def test_an_unpacked_folder_is_started_by_links_to_it(make: Callable[..., Path], launcher: Path) -> None:
    """A package holds the folders as they are: its /usr/bin/dejavud and dejavuctl are links, and nothing is unpacked."""
    tree = make().parent / "tree of dejavud"
    shutil.copy(launcher, tree / "client/bin/python")
    (tree / "client/needs").write_text("need libc.so.6 GLIBC_2.4\n")
    for name in ("dejavud", "dejavuctl"):
        (tree / name).symlink_to("client/bin/python")
    daemon, client = (run(tree / name, "--version").stdout.splitlines() for name in ("dejavud", "dejavuctl"))
    assert daemon[0] == f"{tree}/dejavud --version"
    assert daemon[-1] == f"path {tree}/client/site:{tree}/client/../daemon/site home "
    assert client[-1] == f"path {tree}/client/site home "
    assert run(tree / "client/bin/python", "-S", "-c", "x", "worker").stdout.splitlines()[0] == "worker"
    assert not (tree / "home").exists()


@pytest.mark.parametrize("how", ["link", "ctl"])
def test_the_client_unpacks_only_its_own_part(make: Callable[..., Path], cache: Path, how: str) -> None:
    """Called dejavuctl, or with ctl, it is the client, and does not wait for what only the daemon needs."""
    program = make()
    (program.parent / "dejavuctl").symlink_to(program)
    done = run(program.parent / "dejavuctl", "status") if how == "link" else run(program, "ctl", "status")
    assert done.stdout.splitlines()[0] == f"{program} status"
    assert folders(cache) == ["client"]


def test_what_is_unpacked_is_used_again(make: Callable[..., Path], cache: Path) -> None:
    """The second start writes nothing."""
    program = make()
    run(program)
    before = {path: path.stat().st_ctime_ns for path in cache.rglob("*")}
    assert run(program).returncode == 0
    assert {path: path.stat().st_ctime_ns for path in cache.rglob("*")} == before


def test_many_first_starts_at_once_all_run_from_one_unpacking(make: Callable[..., Path], cache: Path) -> None:
    """Whoever comes while another unpacks waits for it; nobody sees half a folder."""
    program = make()
    environment = {"HOME": str(program.parent / "home"), "PATH": os.environ["PATH"]}
    starts = [subprocess.Popen([program], env=environment, stdout=subprocess.PIPE) for _ in range(8)]
    assert [start.communicate()[0] != b"" and start.returncode for start in starts] == [0] * 8
    assert folders(cache) == ["client", "daemon"]


def test_who_comes_while_another_unpacks_waits(make: Callable[..., Path], cache: Path) -> None:
    """One unpacks at a time: the file is not read twice, and nobody sweeps what another is making."""
    program = make()
    cache.mkdir(parents=True, mode=0o700)
    for folder in (cache.parent, cache.parents[1], cache):
        folder.chmod(0o700)
    environment = {"HOME": str(program.parent / "home"), "PATH": os.environ["PATH"]}
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen([program], env=environment, stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(timeout=0.5)
        assert folders(cache) == []
    assert waiting.communicate()[0] != b""
    assert folders(cache) == ["client", "daemon"]


@pytest.mark.parametrize("at", [0.5, -200])
def test_a_damaged_file_is_refused_and_leaves_nothing(make: Callable[..., Path], cache: Path, at: float) -> None:
    """One wrong byte, in what is compressed or in the digest, and nothing is run or kept."""
    program = make(files={"client/site/more": os.urandom(100_000)})
    content = bytearray(program.read_bytes())
    size = int(content.partition(b"part client ")[2].split()[1])
    start = int(content.partition(b"part client ")[2].split()[0])
    place = start + int(size * at) if at > 0 else content.index(b"part daemon") - 10
    content[place] ^= 1
    program.write_bytes(content)
    done = run(program)
    assert (done.returncode, done.stdout) == (4, "")
    assert "damaged: copy it again" in done.stderr
    assert folders(cache) == []


def test_a_file_that_was_cut_off_says_so(make: Callable[..., Path]) -> None:
    """A download that ended early is no riddle."""
    program = make()
    program.write_bytes(program.read_bytes()[:-1000])
    done = run(program)
    assert done.returncode == 4
    assert "not whole: copy it again" in done.stderr


@pytest.mark.parametrize("damage", ["gone", "shorter"])
def test_what_went_missing_from_the_cache_is_unpacked_again(
    make: Callable[..., Path], cache: Path, damage: str
) -> None:
    """A cleaner of old files, or a power cut, may take some of them."""
    program = make()
    run(program)
    large = next(cache.glob("daemon-*")) / "site" / "large"
    large.unlink() if damage == "gone" else large.write_bytes(b"half")
    assert run(program).returncode == 0
    assert large.stat().st_size == 2_560_000
    assert folders(cache) == ["client", "daemon"]


def test_what_a_killed_unpacking_left_is_never_used_and_swept(make: Callable[..., Path], cache: Path) -> None:
    """Half a folder has another name until it is whole."""
    program = make()
    (cache / ".partial-1" / "site").mkdir(parents=True)
    for folder in (cache, *cache.parents):
        if folder.name == "home":
            break
        folder.chmod(0o700)
    (cache / ".partial-1" / "site" / "half").write_text("half")
    assert run(program).returncode == 0
    assert folders(cache) == ["client", "daemon"]


def test_an_old_version_is_swept_once_nothing_runs_from_it(make: Callable[..., Path], cache: Path) -> None:
    """An upgrade takes no file from under a daemon that still runs."""
    old, new, newer = make(WAITS, "old"), make(SAYS, "new"), make(SAYS + "\n", "newer")
    environment = {"HOME": str(old.parent / "home"), "PATH": os.environ["PATH"]}
    with subprocess.Popen([old], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout.readline() == b"started\n"
        kept = next(cache.glob("client-*"))
        run(new)
        assert kept.is_dir()
        running.communicate(b"go\n")
    run(newer)
    assert not kept.exists()
    assert folders(cache) == ["client", "daemon"]


def test_a_folder_that_others_may_write_to_is_passed_over(make: Callable[..., Path], cache: Path) -> None:
    """What is run must be what was unpacked: nobody else may put a file there."""
    program = make()
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    other = program.parent / "systemd's"
    other.mkdir(mode=0o700)
    assert "dejavud-bundle-" in run(program, "ctl").stdout.splitlines()[-1]
    assert str(other) in run(program, "ctl", CACHE_DIRECTORY=f"{other}:/nowhere").stdout.splitlines()[-1]
    done = run(program, "ctl", DEJAVUD_BUNDLE_DIR=str(cache))
    assert done.returncode == 4
    assert "DEJAVUD_BUNDLE_DIR must name a folder that is this user's own" in done.stderr
    shutil.rmtree(f"/var/tmp/dejavud-bundle-{os.geteuid()}")  # noqa: S108 - what this test made


def test_where_a_library_of_the_machine_is_too_old_the_bundled_ones_are_used(
    make: Callable[..., Path], launcher: Path
) -> None:
    """The loader that lies with the interpreter is started, with its libraries, and tells the program's name."""
    says = b'#!/bin/sh\necho "$@"\n'
    program = make(files={"client/libc/dejavud": says})
    tree = program.parent / "tree of dejavud"
    (tree / "client/libc/dejavud").chmod(0o755)
    bundle.assemble(tree, [("libc.so.6", "GLIBC_9.99")], launcher, program, work=program.parent, level=1)
    words = run(program, "--version").stdout.split()
    assert words[0] == "--library-path"
    assert words[1].endswith("/libc")
    assert words[2] == "--argv0"
    assert words[3].endswith("/bin/python")
    assert words[4].endswith("/bin/dejavud")
    assert words[-1] == "--version"
