"""What those who watch over the daemon see: its figures, whether it is alive and ready, and its log, of a real daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
from daemon_process import Place, RunningDaemon, running_daemon, until_gone
from prometheus_client.parser import text_string_to_metric_families
from synthetic import synthesize, write_wav
from trio_websocket import open_websocket_url

from dejavuctl.failures import Failed
from dejavud.services.figures import Counter, Histogram, Page
from dejavud.services.loop_meter import LoopMeter
from dejavud.services.requests import Requests, sane_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

RATE_HZ = 8000
PAGE = (Path(__file__).parents[1] / "docs" / "operations.md").read_text("utf-8")
OF_LOOKING = re.compile(r"process_|dejavud_event_loop|.*\"(metrics|status)\"")
"""What moves by itself, or by being looked at."""


@asynccontextmanager
async def watched(place: Place, *arguments: str) -> AsyncIterator[tuple[RunningDaemon, httpx.AsyncClient]]:
    """Give a daemon and an HTTP client of it."""
    async with running_daemon(place, *arguments) as daemon:
        url = (await daemon.ask("status"))["endpoints"]["http"][0]
        async with httpx.AsyncClient(base_url=url) as client:
            yield daemon, client


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a place for a daemon whose socket paths are short enough."""
    return Place(tmp_path_factory.mktemp("w"))


def figures_of(text: str) -> dict[str, float]:
    """Return each sample of a page by its name and labels, as the official parser reads it."""
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {f"{one.name}{json.dumps(one.labels, sort_keys=True)}": one.value for one in samples}


def moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return by how much each counter moved that is not of the looking itself, and of each histogram how many it has counted."""
    counted = (key for key in after if re.search(r"_(total|count)\{", key) and not OF_LOOKING.match(key))
    return {key: after[key] - before.get(key, 0.0) for key in counted if after[key] != before.get(key, 0.0)}


async def scraped(client: httpx.AsyncClient) -> dict[str, float]:
    """Return the daemon's figures."""
    answer = await client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return figures_of(answer.text)


async def test_a_query_moves_exactly_its_own_figures(place: Place) -> None:
    """Matched over HTTP, unmatched and failed over the control socket: each counts where it belongs, and nothing else moves."""
    other = write_wav(place.folder / "other.wav", synthesize(2, 5.0, RATE_HZ), RATE_HZ)
    rubbish = place.folder / "rubbish.mp3"
    rubbish.write_bytes(b"no sound" * 100)
    piece = write_wav(place.folder / "piece.wav", synthesize(1, 12.0, RATE_HZ), RATE_HZ)
    async with watched(place) as (daemon, client):
        await daemon.ask("fingerprint", path=str(piece))
        first = await scraped(client)
        assert (await client.post("/v1/recognize", content=piece.read_bytes())).json()["matches"]
        second = await scraped(client)
        assert not (await daemon.ask("recognize", path=str(other)))["matches"]
        with pytest.raises(Exception, match="audio"):
            await daemon.ask("recognize", path=str(rubbish))
        third = await scraped(client)
    stages = {
        f'dejavud_query_stage_seconds_count{{"stage": "{s}"}}': 1
        for s in ("decode", "fingerprint", "lookup", "match", "total")
    }
    assert moved(first, second) == {
        'dejavud_queries_total{"outcome": "matched", "transport": "http"}': 1,
        'dejavud_requests_total{"command": "recognize", "outcome": "ok", "transport": "http"}': 1,
        'dejavud_request_seconds_count{"command": "recognize"}': 1,
        'dejavud_events_total{"topic": "match.recognized"}': 1,
        **stages,
    }
    assert moved(second, third) == {
        'dejavud_queries_total{"outcome": "unmatched", "transport": "control"}': 1,
        'dejavud_queries_total{"outcome": "failed", "transport": "control"}': 1,
        'dejavud_requests_total{"command": "recognize", "outcome": "ok", "transport": "control"}': 1,
        'dejavud_requests_total{"command": "recognize", "outcome": "unsupported_audio", "transport": "control"}': 1,
        'dejavud_request_seconds_count{"command": "recognize"}': 2,
        **stages,
    }
    assert third["dejavud_index_tracks" + '{"state": "enabled"}'] == 1
    assert third["dejavud_index_up{}"] == third["dejavud_build_info" + _build_of(third)] == 1


def _build_of(figures: Mapping[str, float]) -> str:
    return next(key.removeprefix("dejavud_build_info") for key in figures if key.startswith("dejavud_build_info"))


async def test_every_figure_is_documented_and_named_as_prometheus_wants(place: Place) -> None:
    """Each family on the page is in docs/operations.md, counters end in _total and nothing else does."""
    async with watched(place) as (_, client):
        text = (await client.get("/metrics")).text
    families = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len(families) == len(dict(families)) > 40
    for name, kind in families:
        assert f"`{name}`" in PAGE, name
        assert name.endswith("_total") == (kind == "counter"), name
    documented = set(re.findall(r"`((?:dejavud|process)_[a-z_]+)`", PAGE))
    assert documented == set(dict(families))


async def test_with_a_token_only_the_probes_are_open(place: Place) -> None:
    """/healthz, /readyz and ``ready`` need no token and tell nothing but codes; /metrics is read like everything else."""
    conf = place.folder / "token.toml"
    conf.write_text('[security]\ntoken = "hush-hush"\n')
    async with running_daemon(place, "--config", str(conf)) as daemon:
        ready = json.loads(daemon.log.splitlines()[-1])
        async with httpx.AsyncClient(base_url=ready["http"][0]) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}
            assert (await client.get("/readyz")).json() == {"ready": True, "checks": {"index": "ok", "workers": "ok"}}
            assert (await client.get("/metrics")).status_code == 401
            assert (await daemon.ask("ready"))["ready"]
            with pytest.raises(Failed, match="token"):
                await daemon.ask("status")
            allowed = await client.get("/metrics", headers={"Authorization": "Bearer hush-hush"})
            assert allowed.status_code == 200
            await client.get("/v1/tracks/hush-hush", headers={"Authorization": "Bearer hush-hush"})
        assert "hush-hush" not in daemon.log


async def test_readiness_brings_dead_workers_back(place: Place) -> None:
    """With every worker process killed the daemon is alive, and ready again as soon as it was asked whether it is."""
    async with watched(place) as (daemon, client):
        dead = daemon.workers()
        assert dead
        for pid in dead:
            os.kill(pid, signal.SIGKILL)
        await until_gone(dead)
        assert (await client.get("/healthz")).status_code == 200
        with trio.fail_after(20):
            while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - it is in another process
                await trio.sleep(0.1)
        assert daemon.workers()


async def test_each_request_leaves_one_line_and_rubbish_only_a_few(place: Place) -> None:
    """A sane X-Request-Id is taken over, another replaced; a client that sends rubbish fills no log; polls are not told."""
    async with watched(place) as (daemon, client):
        named = await client.get("/v1/tracks/99", headers={"X-Request-Id": "ada-17"})
        forged = await client.get("/v1/tracks/98", headers={"X-Request-Id": 'x" evil'})
        assert named.headers["x-request-id"] == "ada-17"
        assert re.fullmatch("[0-9a-f]{16}", forged.headers["x-request-id"])
        for _ in range(30):
            await client.get("/nowhere")
        await client.get("/v1/status")
        lines = [json.loads(line) for line in daemon.log.splitlines()]
        await daemon.ask("shutdown")
        await daemon.ended()
        told = [json.loads(line) for line in daemon.log.splitlines()]
    of_ada = [line for line in lines if line.get("request_id") == "ada-17"]
    assert [(one["command"], one["outcome"], one["status"], one["transport"]) for one in of_ada] == [
        ("tracks.get", "track_not_found", 404, "http")
    ]
    assert len([line for line in lines if line.get("path") == "/nowhere"]) == 10
    assert not [line for line in lines if line.get("command") == "status"]
    assert [line["n"] for line in told if line["event"] == "more_like_it"] == [20]


async def test_every_door_leaves_the_same_line(place: Place) -> None:
    """Over WebSocket, new and old, and the control socket a request is told as over HTTP: door, command, outcome, id and sizes; once."""
    piece = write_wav(place.folder / "piece.wav", synthesize(1, 3.0, RATE_HZ), RATE_HZ)
    async with watched(place) as (daemon, _):
        url = (await daemon.ask("status"))["endpoints"]["websocket"][0]
        async with open_websocket_url(url, subprotocols=["dejavud.v1"]) as socket:
            for message in ({"id": "q\n1", "method": "shutdown"}, {"id": 7, "method": "no.such"}, {"nonsense": 1}):
                await socket.send_message(json.dumps(message))
                await socket.get_message()
        async with open_websocket_url(url) as socket:
            await socket.send_message(piece.read_bytes())
            await socket.get_message()
        with pytest.raises(Exception, match="no track"):
            await daemon.ask("tracks.get", id=3)
        await daemon.ask("status")  # a line is written once its answer has left: before the next question is answered
        lines = [json.loads(line) for line in daemon.log.splitlines()]
    told = [line for line in lines if line["event"] in {"command_answered", "request_answered"}]
    assert [(one["transport"], one.get("command"), one["outcome"]) for one in told] == [
        ("websocket", "shutdown", "invalid_request"),
        ("websocket", None, "unknown_command"),
        ("websocket", None, "invalid_request"),
        ("websocket", "recognize", "ok"),
        ("control", "tracks.get", "track_not_found"),
    ]
    assert re.fullmatch("[0-9a-f]{16}", told[0]["request_id"]), "an id that could forge a line is not taken over"
    assert told[1]["request_id"].endswith("/7")
    assert told[3]["received_bytes"] == told[3]["audio_bytes"] == piece.stat().st_size
    assert all(one["elapsed_ms"] >= 0 for one in told)


async def test_the_loop_meter_sees_a_loop_that_is_held_up() -> None:
    """A task that blocks is seen in full, whenever it does; a loop that has nothing to do is not."""
    meter = LoopMeter()
    async with meter.measuring():
        await trio.sleep(0.4)
        assert (meter.n_stalls, meter.longest_s < 0.2) == (0, True)
        time.sleep(0.3)  # noqa: ASYNC251 - this is what is to be seen
        await trio.sleep(0.01)
    assert meter.n_stalls == 1
    assert 0.3 <= meter.longest_s < 2
    assert meter.busy_s >= 0.3


async def test_a_timer_that_is_late_counts_as_a_held_up_loop() -> None:
    """Between the moment a timer is due and the moment it is served somebody waits, though no task was running."""
    meter = LoopMeter()
    meter.before_io_wait(0.0)
    time.sleep(0.3)  # noqa: ASYNC251 - the interpreter was held by a thread
    meter.after_io_wait(0.0)
    meter.before_io_wait(1.0)
    assert meter.n_stalls == 1


def test_a_page_survives_any_label() -> None:
    """Quotes, backslashes and line ends in a label come back as they were; buckets are cumulative and end at infinity."""
    hostile = 'a"b\\c\nd'
    counter, histogram, page = (
        Counter("n_total", "Text.", "who"),
        Histogram("t_seconds", "Text.", (0.1, 1.0), "of"),
        Page(),
    )
    counter.add(hostile)
    for value in (0.1, 0.5, 7.0):
        histogram.observe(value, "x")
    counter.show(page)
    histogram.show(page)
    samples = [s for family in text_string_to_metric_families(page.text()) for s in family.samples]
    assert samples[0].labels == {"who": hostile}
    assert [s.value for s in samples if s.name == "t_seconds_bucket"] == [1, 2, 3]
    assert samples[3].labels == {"of": "x", "le": "+Inf"}


@pytest.mark.parametrize(
    ("given", "sane"), [("a-1", True), ("../x", False), ("", False), ("a" * 129, False), ("a\nb", False)]
)
def test_ids_that_clients_give_are_judged(given: str, *, sane: bool) -> None:
    """What could forge a line, or fill one, is no id."""
    assert (sane_id(given) == given) is sane


async def test_commands_of_one_request_share_its_line_and_count_each() -> None:
    """An export asks many times: its request is one line, its commands are counted one by one."""
    requests = Requests()

    async def work() -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return {}

    with requests.opened("http") as request:
        for _ in range(3):
            await requests.run("history.list", work)
    assert (request.command, request.n_commands, request.outcome) == ("history.list", 3, "ok")
    page = Page()
    requests.show(page)
    assert (
        figures_of(page.text())[
            'dejavud_requests_total{"command": "history.list", "outcome": "ok", "transport": "http"}'
        ]
        == 3
    )
