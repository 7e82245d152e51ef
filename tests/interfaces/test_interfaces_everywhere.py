"""One daemon, one table: every command over every transport answers in one shape, and every error is the same one everywhere."""

from __future__ import annotations

import string
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema_rs
import pytest
import trio
from daemon_process import Place, running_daemon
from everywhere_doors import open_doors
from everywhere_table import CONTROL, HTTP, TABLE, TRANSPORTS, WEBSOCKET, Over, Row
from old_databases import GENERATIONS, filled
from stations import HttpStation, Page
from synthetic import synthesize, write_wav

import dejavud.errors
from dejavud.errors import DejavudError, RateLimited
from dejavud.interfaces.control import ControlSettings, serve_control
from dejavud.interfaces.http import HttpSettings, serve_http
from dejavud.interfaces.http_table import OPERATIONS
from dejavud.interfaces.websocket import WebSocketSettings, serve_websocket
from dejavud.services.commands import Command, CommandTable, NoParameters
from dejavud.services.events import EventHub
from dejavud.wire.codes import TABLE as CODES
from dejavud.wire.messages import error_body
from dejavud.wire.results import RESULTS
from dejavud.wire.results import daemon as daemon_shapes
from dejavud.wire.schemas import Schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon_process import RunningDaemon
    from everywhere_doors import Door
    from everywhere_table import Known

    from dejavud.services.commands import Call
    from dejavud.services.uploads import UploadStore

HERE = Path(__file__).parent
N_CLIPS = 1 + 2 * len(TRANSPORTS)


def check_shape(kind: type, result: object) -> None:
    """Fail where a result is not of a shape, or has keys that are not written down."""
    schemas = Schemas("#/$defs/", is_closed=True)
    schema = schemas.of(kind)
    jsonschema_rs.validator_for({**schema, "$defs": schemas.components}).validate(result)


def test_every_command_has_a_row_and_a_shape() -> None:
    """A command that is added without either fails here: the table, the shapes and docs/protocol.md name the same ones."""
    page = (HERE.parents[1] / "docs" / "protocol.md").read_text("utf-8")
    commands = [row.command for row in TABLE]
    assert len(commands) == len(set(commands))
    assert set(commands) == set(RESULTS)
    assert [command for command in commands if f"| `{command}` |" not in page] == []


@pytest.mark.parametrize("health", [{}, {"status": "ill"}, {"status": "ok", "more": 1}])
def test_a_result_of_another_shape_is_seen(health: dict[str, object]) -> None:
    """A key that is missing, one that is not written down, and a value that cannot be."""
    check_shape(daemon_shapes.Health, {"status": "ok"})
    with pytest.raises(jsonschema_rs.ValidationError):
        check_shape(daemon_shapes.Health, health)


def test_every_operation_of_http_is_in_the_table() -> None:
    """What HTTP offers beside commands is named here, and nothing else is there."""
    asked = {(row.http.method, row.http.path) for row in TABLE if isinstance(row.http, Over)}
    offered = {(each.method, each.path.replace("{id}", "{}").replace("{name}", "{}")) for each in OPERATIONS}
    plain = {
        (method, path.replace("{id}", "{}").replace("{ids}", "{}").replace("{name}", "{}")) for method, path in asked
    }
    beside = {
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/v1/events"),
        ("GET", "/v1/matches.csv"),
        ("GET", "/v1/listeners/{}"),
        ("DELETE", "/v1/tracks/{}"),
        ("GET", "/upload"),
        ("POST", "/upload"),
    }
    assert offered - plain == beside
    assert plain <= offered


# -- every command --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return recordings, the first one of them long enough to be played."""
    folder = tmp_path_factory.mktemp("clips")
    lengths_s = [8.0, *[2.0] * (N_CLIPS - 1)]
    return [write_wav(folder / f"{n}.wav", synthesize(n, length_s, 8000), 8000) for n, length_s in enumerate(lengths_s)]


async def test_every_command_answers_alike_over_every_transport(
    tmp_path_factory: pytest.TempPathFactory, clips: list[Path]
) -> None:
    """The result is of the shape that is written down, whichever door it leaves by; what a door does not let through is refused there."""
    place = Place(tmp_path_factory.mktemp("d"))
    station = HttpStation({"/a.wav": Page((clips[0].read_bytes(),), kind="audio/wav")})
    environment = {
        "HEARD_FILE": str(clips[0]),
        "DEJAVUD_SECURITY_URL_NETWORKS": "127.0.0.0/8",
        "DEJAVUD_HOOKS_NOW_PLAYING_FILE": str(place.folder / "now"),
        "PYTHONPATH": str(HERE),
    }
    program = (sys.executable, str(HERE / "heard_daemon.py"))
    with station.on_air(), trio.fail_after(90):
        async with running_daemon(place, environment=environment, program=program) as daemon:
            endpoints = (await daemon.ask("status"))["endpoints"]
            token = (await daemon.ask("access.add", name="tests", scopes=["admin"]))["token"]["token"]
            addresses = place.control, endpoints["websocket"][0], endpoints["http"][0]
            async with open_doors(*addresses, token) as doors:
                known = await _known(daemon, clips, station.url)
                for row in TABLE:
                    for transport in TRANSPORTS:
                        await _try(row, transport, doors, daemon, known)
            assert await daemon.ended() == 0


async def _known(daemon: RunningDaemon, clips: list[Path], station: str) -> Known:
    """Fill the library, and return what the table speaks of."""
    folder = daemon.place.folder
    old = f"sqlite:///{folder}/old.db"
    filled(old, GENERATIONS["ivlovric-2018 sqlite"], [])
    tracks = [(await daemon.ask("fingerprint", path=str(clip)))["track"] for clip in clips[: 1 + len(TRANSPORTS)]]
    await daemon.ask("scan", path=str(clips[0]), limit_s=2.0)
    job = (await daemon.ask("jobs.list"))["jobs"][0]["id"]
    ids = [track["id"] for track in tracks]
    sha1s = [track["file_sha1"] for track in tracks]
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"  # of the examples of ZeroMQ's own pages
    return {
        "tracks": ids[:-1],
        "removable": ids[1:],
        "sha1s": sha1s,
        "job": job,
        "station": station,
        "folder": str(folder),
        "old": old,
        "key": key,
        "clips": clips,
    }


async def _try(row: Row, transport: str, doors: Mapping[str, Door], daemon: RunningDaemon, known: Known) -> None:
    """Ask a command over one transport, where it is to be had there, and hold its result against its shape."""
    for command, params in row.before(known, transport):
        await daemon.ask(command, **params)
    params = row.params(known, transport)
    why_not = {CONTROL: "", WEBSOCKET: row.websocket, HTTP: row.http if isinstance(row.http, str) else ""}[transport]
    if transport == HTTP and why_not:
        return
    answer = await doors[transport].ask(row, params, _audio(row, transport, known))
    where = f"{row.command} over {transport}"
    if why_not:
        assert answer.error is not None, where
        assert answer.error["code"] in {"invalid_request", "forbidden"}, where
        return
    assert answer.error is None, (where, answer.error)
    try:
        check_shape(RESULTS[row.command], answer.result)
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(where, error.message, str(error.instance_path)) from None


def _audio(row: Row, transport: str, known: Known) -> bytes | None:
    clips: list[Path] = known["clips"]
    if row.audio == "samples":
        return bytes(1600)
    if row.audio == "new":
        return clips[1 + len(TRANSPORTS) + TRANSPORTS.index(transport)].read_bytes()
    return clips[0].read_bytes() if row.audio else None


# -- every error ----------------------------------------------------------------------------------------------------


def every_error() -> list[DejavudError]:
    """Return one of each kind, with details of the kinds that details have."""
    kinds = [
        kind for kind in vars(dejavud.errors).values() if isinstance(kind, type) and issubclass(kind, DejavudError)
    ]
    made: list[DejavudError] = []
    for kind in kinds:
        if kind is DejavudError:
            continue
        names = {name for _, name, _, _ in string.Formatter().parse(kind.template) if name}
        details: dict[str, Any] = dict.fromkeys(names, "Ünïcode")
        made.append(
            RateLimited(client="c", what="w", retry_after_s=1.5)
            if kind is RateLimited
            else kind(**{**details, **_numbers(details)})
        )
    return made


def _numbers(details: Mapping[str, Any]) -> dict[str, int]:
    return dict.fromkeys((name for name in details if name.startswith("n_") or name.endswith(("_s", "_bytes"))), 7)


async def test_every_error_is_the_same_over_every_transport(uploads: UploadStore, socket_folder: Path) -> None:
    """One envelope: code, message and details are equal, and the numbers of each transport are those of the one table of codes."""
    errors = every_error()
    assert {error.code for error in errors} == set(CODES)
    failing: list[DejavudError] = []

    async def fail(_params: NoParameters, _call: Call) -> dict[str, Any]:
        raise failing[-1]

    table, hub = (
        CommandTable((Command("status", NoParameters, fail, None), Command("recognize", NoParameters, fail, None))),
        EventHub(),
    )
    row = next(row for row in TABLE if row.command == "status")
    control = ControlSettings(endpoint=f"ipc://{socket_folder}/c")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            endpoint = await nursery.start(partial(serve_control, table, uploads, settings=control))
            websocket = await nursery.start(
                partial(serve_websocket, table, uploads, hub, settings=WebSocketSettings(port=0))
            )
            http = await nursery.start(partial(serve_http, table, uploads, hub, settings=HttpSettings(port=0)))
            async with open_doors(endpoint, websocket, http) as doors:
                for error in errors:
                    failing.append(error)
                    said = {transport: await door.ask(row, {}) for transport, door in doors.items()}
                    assert all(answer.error == error_body(error) for answer in said.values()), (error.code, said)
                    numbers = CODES[error.code]
                    assert said[HTTP].status == numbers.http
                    assert (said[CONTROL].status, said[WEBSOCKET].status) == (numbers.rpc, numbers.rpc)
                async with httpx.AsyncClient(base_url=http, trust_env=False) as client:
                    old = await client.post("/upload", content=b"RIFF")
                assert old.json() == {"message": "unknown parameter 'raw_fallback'; this command takes: none"}
            nursery.cancel_scope.cancel()
