from __future__ import annotations

import json
import os
import pty
import signal
import socket
import sys
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio
from daemon_process import Place, RunningDaemon, ask, run_to_the_end, running_daemon
from synthetic import synthesize, write_wav

from dejavuctl.failures import Failed
from dejavud.services.headline import headline
from dejavud.services.watchdog import PROOFS, Watchdog
from dejavud.systemd import one_line, service_manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RATE_HZ = 8000
WATCHDOG_S = 4.0


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("s"))


async def until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait for what another process does, and tells no event of ours."""
    with trio.fail_after(within_s):
        while not holds():  # noqa: ASYNC110 - see above
            await trio.sleep(0.02)


def write_conf(place: Place, text: str) -> tuple[str, str]:
    """Write the conf file, and return the option that names it."""
    (place.folder / "conf.toml").write_text(text, encoding="utf-8")
    return "--config", str(place.folder / "conf.toml")


def events(daemon: RunningDaemon, name: str) -> list[dict[str, Any]]:
    """Return the lines of its log about `name`."""
    return [line for line in map(json.loads, daemon.log.splitlines()) if line["event"] == name]


# -- the watchdog ---------------------------------------------------------------------------------------------------


class Pool:
    """Workers that answer, or do not."""

    def __init__(self) -> None:
        self.answers = True

    async def prove(self, timeout_s: float) -> bool:
        """Answer, or take the time that there is."""
        await trio.sleep(0 if self.answers else timeout_s)
        return self.answers


async def test_a_pool_that_does_not_answer_feeds_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """While proofs succeed it is fed well within the period; from the first that fails it is not, until one succeeds again."""
    assert autojump_clock is not None
    pool, fed = Pool(), list[float]()
    async with trio.open_nursery() as nursery:
        await nursery.start(Watchdog(pool, lambda: fed.append(trio.current_time()), 60.0).serve)
        await trio.sleep(600)
        assert max(b - a for a, b in pairwise(fed)) <= 60.0 / PROOFS + 1
        assert fed[-1] - fed[0] > 500
        pool.answers = False
        n_fed = len(fed)
        await trio.sleep(300)
        assert len(fed) <= n_fed + 1
        pool.answers = True
        await trio.sleep(30)
        assert len(fed) > n_fed + 1
        nursery.cancel_scope.cancel()


async def test_a_loop_that_stands_still_feeds_nothing() -> None:
    """What blocks the event loop keeps the watchdog from being fed for as long."""
    fed: list[float] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(Watchdog(Pool(), lambda: fed.append(time.monotonic()), 0.2).serve)
        await until(lambda: fed)
        began = time.monotonic()
        time.sleep(0.5)  # noqa: ASYNC251 - the point
        ended = time.monotonic()
        await until(lambda: fed[-1] > ended)
        assert not [moment for moment in fed if began < moment < ended]
        nursery.cancel_scope.cancel()


def n_fed(daemon: RunningDaemon) -> int:
    """Return how often it has fed its watchdog."""
    return daemon.notified.count("WATCHDOG=1")


async def test_workers_that_hang_are_replaced_and_a_pool_that_hangs_is_told_of(place: Place) -> None:
    """Idle workers that are stopped are killed and others answer; where every new one hangs too, the watchdog of systemd is fed no longer."""
    watched = {"WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)), "DEJAVUD_WORKERS_PROCESSES": "1"}
    async with running_daemon(place, environment=watched) as daemon:
        await until(lambda: n_fed(daemon))
        [worker] = daemon.workers()
        os.kill(worker, signal.SIGSTOP)
        await until(lambda: worker not in daemon.workers())
        n_before = n_fed(daemon)
        await until(lambda: n_fed(daemon) > n_before)
        # On a busy machine the next one may take longer to start than there is patience, and be replaced as well.
        assert {line["patience_s"] for line in events(daemon, "worker_stalled")} == {WATCHDOG_S / PROOFS}
        n_told = len(events(daemon, "workers_do_not_answer"))

        async def stop_whatever_starts() -> None:
            while True:
                for pid in daemon.workers():
                    os.kill(pid, signal.SIGSTOP)
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop_whatever_starts)
            await until(lambda: len(events(daemon, "workers_do_not_answer")) > n_told)
            n_before = n_fed(daemon)
            await trio.sleep(
                2.5 * WATCHDOG_S / PROOFS
            )  # the claim is about this time: it is fed once in each part otherwise
            assert n_fed(daemon) == n_before
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "7"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_only_who_watches_is_fed(environment: dict[str, str], watchdog_s: float | None) -> None:
    """The period is WATCHDOG_USEC, and there is none where it is not set, or for another process."""
    assert service_manager({"NOTIFY_SOCKET": "/run/n", **environment}, 7).watchdog_s == watchdog_s
    assert service_manager(environment, 7).watchdog_s is None


# -- what it says ---------------------------------------------------------------------------------------------------


async def test_ready_means_ready(place: Place) -> None:
    """At READY=1 each door answers; before it systemd is asked for patience and told why, and later what there is and what changes."""
    song = write_wav(place.folder / "song.wav", synthesize(1, 12.0, RATE_HZ), RATE_HZ)
    async with running_daemon(place) as daemon:
        said = daemon.notified[: daemon.notified.index("READY=1")]
        assert "STATUS=opening the index" in said
        assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in said)
        [url] = (await daemon.ask("status"))["endpoints"]["http"]
        assert (await trio.to_thread.run_sync(partial(httpx.get, f"{url}/healthz", trust_env=False))).status_code == 200
        assert "STATUS=0 tracks" in daemon.notified
        await daemon.ask("fingerprint", path=str(song))
        await until(lambda: "STATUS=1 track" in daemon.notified)
        await daemon.ask("listen.add", name="radio", source=f"realtime:{song}")
        await until(lambda: any(line.startswith("STATUS=1 track; 1 of 1 listener hears") for line in daemon.notified))
        daemon.process.terminate()
        assert await daemon.ended() == 0
        assert daemon.notified.index("STOPPING=1") > daemon.notified.index("READY=1")


def test_one_line_says_how_it_is() -> None:
    """Tracks, listeners and what plays, latest last, each in words; what is not known is said, and nothing in it breaks the line."""
    nocturne = {"track": {"id": 1, "title": "Nocturne", "artist": "Chopin"}}
    nameless = {"track": {"id": 2, "title": None, "artist": None}}
    kitchen = {"listener": "kitchen", "state": "listening", "plays": [nocturne]}
    door = {"listener": "door", "state": "retrying", "plays": []}
    assert headline(0, []) == "0 tracks"
    assert headline(1, [kitchen, door]) == "1 track; 1 of 2 listeners hears; Nocturne by Chopin plays on kitchen"
    assert headline(None, [{**kitchen, "plays": [nocturne, nameless]}]) == (
        "the index does not answer; 1 of 1 listener hears; track 2 plays on kitchen and 1 more"
    )
    assert one_line("a\nREADY=1" + "x" * 300) == "a READY=1" + "x" * 191


async def test_waiting_for_a_database_is_told(place: Place) -> None:
    """While the database's server does not answer, systemd is told what is waited for and not to lose patience; a signal ends it in order."""
    with (
        socket.socket() as nobody,
        (place.folder / "log").open("wb") as log,
        trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
    ):
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        await notify.bind(place.environment["NOTIFY_SOCKET"])
        url = f"postgresql://ada:secret-of-hers@127.0.0.1:{port}/music"
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "dejavud", *place.arguments, "--dburl", url],
            env=place.environment,
            cwd=place.folder,
            stderr=log,
        )
        said: list[str] = []
        with trio.fail_after(30):
            while not any(line.startswith("STATUS=waiting for the database") for line in said):
                said += (await notify.recv(1000)).decode().splitlines()
            n_before = len(said)
            while not any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in said[n_before:]):
                said += (await notify.recv(1000)).decode().splitlines()
            process.terminate()
            assert await process.wait() == 0
    assert "READY=1" not in said
    assert "secret-of-hers" not in "".join(said)


# -- reload ---------------------------------------------------------------------------------------------------------


async def test_a_reload_changes_what_can_and_names_what_cannot(place: Place) -> None:
    """Listeners come, go and change without touching the others; token, limits, log and hooks change at once; an address waits, and says so."""
    song = write_wav(place.folder / "song.wav", synthesize(1, 60.0, RATE_HZ), RATE_HZ)
    first = f'[listen]\nsources = ["stays=realtime:{song}", "goes=pcm", "turns=pcm"]\n'
    async with running_daemon(place, *write_conf(place, first)) as daemon:

        async def listeners(token: str | None = None) -> dict[str, dict[str, Any]]:
            found = await trio.to_thread.run_sync(partial(ask, place.control, "listen.list", {}, token))
            return {one["listener"]: one for one in found["listeners"]}

        with trio.fail_after(20):
            while not (heard_before := (await listeners())["stays"]["heard_s"]):  # noqa: ASYNC110 - it is in another process
                await trio.sleep(0.05)
        [url] = (await daemon.ask("status"))["endpoints"]["http"]
        playing = place.folder / "playing.txt"
        write_conf(
            place,
            f'[listen]\nsources = ["stays=realtime:{song}", "comes=pcm", "turns=pcm:s16le:44100:2"]\n'
            f'[security]\ntoken = "correct-horse"\n[limits]\nuploads = 0\nupload_s = 5\n[log]\nlevel = "debug"\n'
            f'[hooks]\nnow_playing_file = "{playing}"\n[websocket]\nmessage_bytes = 2048\n',
        )
        with pytest.raises(Failed, match=r"limits.uploads must be from 1"):
            await daemon.ask("reload")
        assert set(await listeners()) == {"stays", "goes", "turns"}  # refused whole: and no token is asked for
        conf = place.folder / "conf.toml"
        conf.write_text(conf.read_text().replace("uploads = 0", "uploads = 1"))
        answer = await daemon.ask("reload")
        assert set(answer["changed"]) == {
            "listen.sources",
            "security.token",
            "limits.uploads",
            "log.level",
            "hooks.now_playing_file",
        }
        assert answer["needs_restart"] == ["websocket.message_bytes", "limits.upload_s"]
        with pytest.raises(Failed, match=r"token"):
            await daemon.ask("status")
        get = partial(httpx.get, f"{url}/v1/status", trust_env=False)
        assert (await trio.to_thread.run_sync(get)).status_code == 401
        known = partial(get, headers={"Authorization": "Bearer correct-horse"})
        assert [one["kind"] for one in (await trio.to_thread.run_sync(known)).json()["hooks"]] == ["now-playing"]
        now = await listeners("correct-horse")
        assert {name: one["source"] for name, one in now.items()} == {
            "stays": f"realtime:{song}",
            "comes": "pcm",
            "turns": "pcm:s16le:44100:2",
        }
        assert now["stays"]["heard_s"] >= heard_before
        assert now["stays"]["n_retries"] == 0
        assert "correct-horse" not in daemon.log


async def test_a_signal_reloads_and_systemd_follows_it(place: Place) -> None:
    """SIGHUP is RELOADING=1 with its moment, and READY=1 when it is over; what is wrong is in the log and the status until it is right."""
    async with running_daemon(place, *write_conf(place, "[history]\nkeep_days = 1\n")) as daemon:
        before = time.monotonic_ns() // 1000
        write_conf(place, "[history]\nkep_days = 2\n")
        os.kill(daemon.process.pid, signal.SIGHUP)
        await until(lambda: daemon.notified.count("READY=1") == 2)
        said = daemon.notified[daemon.notified.index("RELOADING=1") :]
        assert said[:1] == ["RELOADING=1"]
        assert before <= int(said[1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert any("reload refused" in line and "did you mean 'history.keep_days'?" in line for line in said)
        assert len(events(daemon, "config_refused")) == 1
        write_conf(place, "[history]\nkeep_days = 2\n")
        os.kill(daemon.process.pid, signal.SIGHUP)
        await until(lambda: daemon.notified.count("READY=1") == 3)
        await until(lambda: daemon.notified[-1] == "STATUS=0 tracks")
        assert (await daemon.ask("status"))["history"]["keep_days"] == 2


async def test_a_hundred_reloads_leave_nothing_behind(place: Place) -> None:
    """Listeners, hooks, tokens and levels that change a hundred times cost no descriptor, task, thread or worker."""

    def variant(number: int) -> str:
        return (
            f'[listen]\nsources = ["a=pcm:s16le:{8000 + number}:1", "b=pcm"]\n[log]\nlevel = "{("info", "debug")[number % 2]}"\n'
            f'[hooks]\nnow_playing_file = "{place.folder}/playing{number % 3}"\n[limits]\nuploads = {1 + number}\n'
        )

    async with running_daemon(place, *write_conf(place, variant(0))) as daemon:

        async def held() -> dict[str, Any]:
            process = (await daemon.ask("status"))["process"]
            return {name: process[name] for name in ("n_tasks", "n_descriptors")}

        async def reload(numbers: range) -> None:
            for number in numbers:
                write_conf(place, variant(number))
                answer = await daemon.ask("reload")
                assert "listen.sources" in answer["changed"]

        await reload(range(1, 11))
        before, workers = await held(), len(daemon.workers())
        await reload(range(11, 111))
        with trio.fail_after(10):
            while any(value > before[name] for name, value in (await held()).items()):  # noqa: ASYNC110 - it is in another process
                await trio.sleep(0.05)
        assert len(daemon.workers()) <= workers


async def test_a_terminal_that_is_gone_takes_its_daemon_along(place: Place) -> None:
    """SIGHUP is what a terminal that is closed sends: a daemon that was started in it stops in order, instead of reloading for nobody."""
    ours, theirs = pty.openpty()
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        await notify.bind(place.environment["NOTIFY_SOCKET"])
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "dejavud", *place.arguments], env=place.environment, cwd=place.folder, stderr=theirs
        )
        os.close(theirs)
        with trio.fail_after(30):
            while b"READY=1" not in await notify.recv(1000):
                pass
            os.close(ours)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 0


# -- sockets that are handed over -----------------------------------------------------------------------------------

_AS_SYSTEMD_DOES = """
import fcntl, os, sys
names, given = sys.argv[1], [int(word) for word in sys.argv[2].split(",")]
kept = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in given]
for place, number in enumerate(kept):
    os.dup2(number, 3 + place, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(given)), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "dejavud", *sys.argv[3:]])
"""


@contextmanager
def listening(*hosts: str) -> Iterator[list[socket.socket]]:
    """Give sockets that listen, as systemd holds them."""
    sockets = [socket.create_server((host, 0)) for host in hosts]
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


def handing(names: str, sockets: list[socket.socket]) -> tuple[str, ...]:
    """Return a program that is a daemon to which `sockets` are handed over by `names`."""
    return sys.executable, "-c", _AS_SYSTEMD_DOES, names, ",".join(str(one.fileno()) for one in sockets)


async def test_sockets_are_taken_over(place: Place) -> None:
    """HTTP and WebSocket are served on the sockets that systemd holds, one that waited before the start is answered, and no worker has them."""
    with listening("127.0.0.1", "127.0.0.1") as sockets, socket.create_connection(sockets[0].getsockname()) as early:
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        ports = [one.getsockname()[1] for one in sockets]
        program, numbers = handing("http:websocket", sockets), [one.fileno() for one in sockets]
        async with running_daemon(place, program=program, descriptors=numbers) as daemon:
            endpoints = (await daemon.ask("status"))["endpoints"]
            assert endpoints["http"] == [f"http://127.0.0.1:{ports[0]}"]
            assert endpoints["websocket"] == [f"ws://127.0.0.1:{ports[1]}"]
            early.settimeout(20)
            assert (await trio.to_thread.run_sync(early.recv, 100)).startswith(b"HTTP/1.1 200")
            inodes = {f"socket:[{os.fstat(one.fileno()).st_ino}]" for one in sockets}
            assert inodes <= open_files(daemon.process.pid)
            for worker in daemon.workers():
                assert not inodes & open_files(worker)


def open_files(pid: int) -> set[str]:
    """Return what the descriptors of a process are."""
    return {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}


@pytest.mark.parametrize(
    ("name", "host", "reason"),
    [
        ("web", "127.0.0.1", "a socket named 'web' was handed over: write FileDescriptorName=http"),
        ("http", "0.0.0.0", "which other machines can reach, and nothing asks who they are"),  # noqa: S104 - the point
    ],
)
async def test_a_socket_that_cannot_be_is_refused(place: Place, name: str, host: str, reason: str) -> None:
    """A name that says nothing, and an address that nothing guards, end the start with 2, which systemd does not try again."""
    with listening(host) as sockets:
        numbers = [one.fileno() for one in sockets]
        done = await run_to_the_end(place, program=handing(name, sockets)[1:], descriptors=numbers)
    assert done.returncode == 2
    assert reason in done.stderr
