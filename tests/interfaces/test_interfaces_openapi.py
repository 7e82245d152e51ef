"""The OpenAPI document holds: schemathesis asks a real daemon whatever it allows and whatever it does not, with every check there is."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from daemon_process import Place, running_daemon
from interfaces_http import serving
from stations import HttpStation, Page
from synthetic import synthesize, write_wav

from dejavud.interfaces.http_table import OPERATIONS

if TYPE_CHECKING:
    from daemon_process import RunningDaemon
    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore

HERE = Path(__file__).parent
MAX_S = 150
"""On a machine with nothing else to do it takes a fifth of that."""


@pytest.mark.timeout(240)
async def test_schemathesis_finds_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All phases, all checks, no operation left out, the same requests at every run: no failure and no error."""
    place = Place(tmp_path_factory.mktemp("d"))
    clips = place.folder / "clips"
    clips.mkdir()
    heard = write_wav(place.folder / "heard.wav", synthesize(1, 12.0, 8000), 8000)
    for seed, length_s in enumerate((2.0, 2.5)):
        write_wav(clips / f"{seed}.wav", synthesize(seed, length_s, 8000), 8000)
    pages = {"/a.wav": heard, "/b.wav": clips / "1.wav"}
    station = HttpStation({path: Page((file.read_bytes(),), kind="audio/wav") for path, file in pages.items()})
    environment = {
        "HEARD_FILE": str(heard),
        "DEJAVUD_SECURITY_URL_NETWORKS": "127.0.0.0/8",
        "DEJAVUD_SECURITY_PATHS": str(clips),
        "DEJAVUD_HOOKS_NOW_PLAYING_FILE": str(place.folder / "now"),
        "DEJAVUD_LIMITS_CLIENT_RATE": "0",
        "PYTHONPATH": str(HERE),
    }
    program = (sys.executable, str(HERE / "heard_daemon.py"))
    with station.on_air(), trio.fail_after(MAX_S + 60):
        async with running_daemon(place, environment=environment, program=program) as daemon:
            await daemon.ask("fingerprint", path=str(heard))
            told = await _tried_out(daemon, clips, station.url)
            assert told.returncode == 0, told.stdout.decode()
            assert (await daemon.ask("status"))["troubles"]["n_errors"] == 0, daemon.log


async def _tried_out(daemon: RunningDaemon, clips: Path, station: str) -> subprocess.CompletedProcess[bytes]:
    """Return what schemathesis says of the daemon."""
    url = (await daemon.ask("status"))["endpoints"]["http"][0]
    token = (await daemon.ask("access.add", name="tests", scopes=["admin"]))["token"]["token"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(HERE),
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "SCHEMATHESIS_CLIPS": str(clips),
        "SCHEMATHESIS_STATION": station,
    }
    options = [
        "--checks",
        "all",
        "--seed",
        "1",
        "--max-examples",
        "3",
        "--continue-on-failure",
        "--request-timeout",
        "30",
    ]
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{url}/openapi.json", *options]
    return await trio.run_process(
        [*map(str, command), "--header", f"Authorization: Bearer {token}"],
        env=environment,
        cwd=daemon.place.folder,
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )


async def test_the_document_has_every_operation_and_no_other_address(stage: Stage, uploads: UploadStore) -> None:
    """It is there without a token, names what the daemon's own table of commands has, and says whether a token is wanted."""
    async with serving(stage, uploads) as (client, _):
        document = (await client.get("/openapi.json")).json()
    known = stage.table().names
    wanted = {(each.method.lower(), each.path) for each in OPERATIONS if not each.command or each.command in known}
    assert {(method, path) for path, methods in document["paths"].items() for method in methods} == wanted
    assert "securitySchemes" not in document["components"]
    names = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))
    assert _references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


async def test_the_docs_are_one_page_that_needs_nothing_else(stage: Stage, uploads: UploadStore) -> None:
    """Every operation is on it, its links lead somewhere on it, and its policy lets nothing but its own style in."""
    async with serving(stage, uploads) as (client, _):
        page, document = await client.get("/docs"), (await client.get("/openapi.json")).json()
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.text
    style = base64.b64encode(
        hashlib.sha256(text.partition("<style>")[2].partition("</style>")[0].encode()).digest()
    ).decode()
    assert page.headers["content-security-policy"].startswith(f"default-src 'none'; style-src 'sha256-{style}';")
    assert not re.search(r"<script|<link|<img|https?://(?!radio\.example)|style=", text)
    targets, links = set(re.findall(r'id="([^"]+)"', text)), set(re.findall(r'href="#([^"]+)"', text))
    assert links <= targets
    names = {each["operationId"] for methods in document["paths"].values() for each in methods.values()}
    assert names | {f"shape-{name}" for name in document["components"]["schemas"]} <= targets


def _references(value: Any) -> set[str]:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {value["$ref"]} if "$ref" in value else set[str]().union(*map(_references, value.values()))
    return set[str]().union(*map(_references, value)) if isinstance(value, list) else set()


async def test_a_long_request_goes_on_without_its_client(stage: Stage, uploads: UploadStore) -> None:
    """`Prefer: respond-async` answers 202 with the place of the job, which is done though nobody waits; what is quick is answered as ever."""
    prefers = {"prefer": "wait=10, respond-async"}
    async with serving(stage, uploads) as (client, _):
        begun = await client.post("/v1/scan?name=show.mp3", content=b"RIFF music", headers=prefers)
        assert (begun.status_code, begun.headers["preference-applied"]) == (202, "respond-async")
        job = begun.json()["job"]
        assert begun.headers["location"] == f"/v1/jobs/{job['id']}"
        assert job["asked_by"] == {
            "client": "127.0.0.1",
            "transport": "http",
            "request_id": begun.headers["x-request-id"],
        }
        while (job := (await client.get(begun.headers["location"])).json()["job"])["state"] == "running":
            await trio.lowlevel.checkpoint()
        assert (job["state"], job["result"]["recording"]["source"]) == ("done", "show.mp3")
        listed = (await client.get("/v1/jobs?state=done")).json()["jobs"]
        assert [each["id"] for each in listed] == [job["id"]]
        assert (await client.delete(begun.headers["location"])).json()["cancelled"] is False
        assert (await client.get(begun.headers["location"])).status_code == 404
        quick = await client.get("/v1/status", headers=prefers)
        assert (quick.status_code, "preference-applied" in quick.headers) == (200, False)
        refused = await client.post("/v1/scan", headers=prefers)
        assert refused.status_code == 400
        missing = await client.get("/v1/jobs/none")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "job_not_found")


def n_files(folder: Path) -> int:
    """Return how many files are in a folder."""
    return sum(1 for _ in folder.iterdir())


async def test_the_audio_of_a_job_is_gone_when_it_has_ended(
    stage: Stage, uploads: UploadStore, uploads_folder: Path
) -> None:
    """It is there while the job goes on, though the request is answered, and a job that is cancelled lets go of it."""
    async with serving(stage, uploads) as (client, _):
        begun = await client.post("/v1/tracks", content=b"RIFF slow", headers={"prefer": "respond-async"})
        assert begun.status_code == 202
        await stage.until(lambda: stage.working == 1)
        assert n_files(uploads_folder) == 1
        cancelled = await client.delete(begun.headers["location"])
        assert cancelled.json()["cancelled"] is True
        await stage.until(lambda: stage.abandoned == 1)
        while n_files(uploads_folder):
            await trio.lowlevel.checkpoint()
        gone = await client.get(begun.headers["location"])
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "job_not_found")
