"""What those who watch over the daemon ask: its figures for Prometheus, and whether it can answer."""

from __future__ import annotations

import platform
import time
from collections import Counter as Tally
from typing import TYPE_CHECKING, Any

import trio

from dejavud import __version__
from dejavud.errors import DejavudError
from dejavud.services import jobs
from dejavud.services.commands import NoParameters
from dejavud.services.figures import CONTENT_TYPE, Page
from dejavud.services.vitals import child_vitals, vitals

if TYPE_CHECKING:
    from dejavud.services.commands import Call, Handler
    from dejavud.services.handlers import Services

INDEX_S = 1.0
"""How long the index may take to say how much it holds; then what it said last is told."""
WORKER_S = 5.0
"""How long a worker process may take to start where none is alive."""
READY_S = 1.0
"""How old an answer to whether the daemon is ready may be: anybody may ask, without a token and as often as they like."""
LISTENER_STATES = ("starting", "waiting", "listening", "silent", "retrying", "paused", "ended")
_HEARS = frozenset({"listening", "silent"})
_PPM = 1e-6


class Watching:
    """The commands ``metrics`` and ``ready``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._started_at = time.time()
        self._ready_at_s = float("-inf")
        self._checks: dict[str, str] = {}
        self._checking = trio.Lock()

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (("metrics", NoParameters, self.metrics), ("ready", NoParameters, self.ready))

    # -- ready ------------------------------------------------------------------------------------------------------

    async def ready(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return whether queries can be answered, and what stands in the way, by codes: as it was a second ago at most."""
        async with self._checking:
            if trio.current_time() >= self._ready_at_s + READY_S:
                self._checks = {"index": await self._index(), "workers": await self._workers()}
                self._ready_at_s = trio.current_time()
        checks = dict(self._checks)
        if self._services.daemon.stop.is_set():
            checks["daemon"] = "shutting_down"
        return {"ready": all(check == "ok" for check in checks.values()), "checks": checks}

    async def _index(self) -> str:
        try:
            statistics = await self._services.library.statistics_within(INDEX_S)
        except DejavudError as error:
            return error.code
        if statistics is None:
            return "timeout"
        return "ok" if statistics.reachable or statistics.answers_from == "view" else "index_unavailable"

    async def _workers(self) -> str:
        """Return how the worker processes are; where none is alive, one is started, as else the next query would."""
        if self._services.workers.status().n_alive:
            return "ok"
        try:
            await self._services.workers.process(jobs.no_job, what="readiness", timeout_s=WORKER_S)
        except DejavudError as error:
            return error.code
        return "ok"

    # -- metrics ----------------------------------------------------------------------------------------------------

    async def metrics(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return every figure, as Prometheus reads it."""
        page, services = Page(), self._services
        labels = {"version": __version__, "python": platform.python_version(), "profile": services.params.profile}
        page.gauge("dejavud_build_info", "Which dejavud this is; always 1.", [(labels, 1)])
        services.requests.show(page)
        await self._show_index(page)
        self._show_listeners(page)
        self._show_events(page)
        self._show_hooks(page)
        await self._show_history(page)
        self._show_workers(page)
        self._show_process(page)
        return {"content_type": CONTENT_TYPE, "text": page.text()}

    async def _show_index(self, page: Page) -> None:
        library = self._services.library
        try:
            fresh = await library.statistics_within(INDEX_S)
        except DejavudError:  # what `dejavud_index_up` tells
            fresh = None
        page.gauge("dejavud_index_up", "1 where the index answers.", int(fresh is not None and fresh.reachable))
        last = fresh or library.last_statistics
        if last is None:
            return
        states = [({"state": "enabled"}, last.n_tracks - last.n_disabled), ({"state": "disabled"}, last.n_disabled)]
        page.gauge("dejavud_index_tracks", "Tracks in the library.", states)
        page.gauge("dejavud_index_postings", "Postings in the index.", last.n_postings)
        page.gauge("dejavud_index_audio_seconds", "Length of all tracks.", last.duration_s)
        page.gauge("dejavud_index_size_bytes", "What the database takes on its disk.", last.size_bytes)
        page.gauge(
            "dejavud_index_from_view",
            "1 where the resident view answers queries, 0 where the database does.",
            int(last.answers_from == "view"),
        )

    def _show_listeners(self, page: Page) -> None:
        views = self._services.listeners.view()
        states = Tally(view["state"] for view in views)
        page.gauge(
            "dejavud_listeners", "Listeners by state.", [({"state": state}, states[state]) for state in LISTENER_STATES]
        )

        def each(key: str, scale: float | None = None) -> list[tuple[dict[str, str], float | None]]:
            return [
                ({"listener": view["listener"]}, view[key] if scale is None or view[key] is None else view[key] * scale)
                for view in views
            ]

        up = [({"listener": view["listener"]}, int(view["state"] in _HEARS)) for view in views]
        page.gauge("dejavud_listener_up", "1 where its source is heard, be it silent.", up)
        sounding = [({"listener": view["listener"]}, len(view["plays"])) for view in views]
        page.gauge("dejavud_listener_playing", "Tracks that play there now.", sounding)
        page.counter("dejavud_listener_plays_total", "Plays that were told.", each("n_plays"))
        page.counter(
            "dejavud_listener_overruns_total",
            "Times that sound was lost, as it was not taken in time.",
            each("n_overruns"),
        )
        page.counter("dejavud_listener_retries_total", "Times that its source had failed.", each("n_retries"))
        page.gauge("dejavud_listener_drift_ratio", "How much faster than ours its clock is.", each("drift_ppm", _PPM))
        page.gauge("dejavud_listener_lag_seconds", "How far behind its clock its sound is.", each("lag_s"))
        page.gauge("dejavud_listener_level_decibels", "Its level, of full scale.", each("level_db"))

    def _show_events(self, page: Page) -> None:
        hub = self._services.hub
        hub.published.show(page)
        page.gauge(
            "dejavud_event_subscribers",
            "Subscriptions to events, those of the daemon's own parts among them.",
            hub.n_subscribers,
        )
        page.gauge(
            "dejavud_event_backlog_max", "Events that the slowest subscription has before it, at most.", hub.n_behind
        )
        page.counter(
            "dejavud_events_lost_total",
            "Events that left before a subscription that wanted them had taken them.",
            hub.n_lost,
        )

    def _show_hooks(self, page: Page) -> None:
        hooks = self._services.hooks.view()

        def each(key: str) -> list[tuple[dict[str, str], float]]:
            return [({"hook": hook["hook"], "kind": hook["kind"]}, hook[key]) for hook in hooks]

        ready = [({"hook": hook["hook"], "kind": hook["kind"]}, int(hook["state"] == "ready")) for hook in hooks]
        page.gauge("dejavud_hook_up", "1 where it is ready.", ready)
        page.gauge("dejavud_hook_waiting", "What it has yet to deliver.", each("n_waiting"))
        page.counter("dejavud_hook_delivered_total", "What arrived.", each("n_delivered"))
        page.counter("dejavud_hook_failed_total", "What was given up.", each("n_failed"))
        page.counter("dejavud_hook_lost_total", "What never fitted into its queue.", each("n_lost"))

    async def _show_history(self, page: Page) -> None:
        history = await self._services.recorder.status()
        page.gauge(
            "dejavud_history_plays", "Plays that are kept, as counted in the last half minute.", history["n_plays"]
        )
        page.gauge("dejavud_history_waiting", "Plays that the database has not taken yet.", history["n_waiting"])
        page.counter("dejavud_history_dropped_total", "Plays that were lost.", history["n_dropped"])

    def _show_workers(self, page: Page) -> None:
        status = self._services.workers.status()
        page.gauge("dejavud_workers", "Jobs of one kind that may run at a time.", status.n_processes)
        page.gauge(
            "dejavud_workers_alive", "Worker processes that are there, those of listeners among them.", status.n_alive
        )
        page.gauge("dejavud_workers_busy", "Jobs that run, listeners among them.", status.n_busy)
        waiting = [
            ({"kind": "audio"}, status.n_waiting),
            ({"kind": "read"}, status.n_reads_waiting),
            ({"kind": "write"}, status.n_writes_waiting),
        ]
        page.gauge(
            "dejavud_jobs_waiting",
            "What waits for its turn: audio for a process, reads and writes for the database.",
            waiting,
        )
        page.counter("dejavud_workers_died_total", "Worker processes that ended in the middle of a job.", status.n_died)
        page.counter(
            "dejavud_workers_replaced_total",
            "Worker processes that were started for one that died or took too long.",
            status.n_replaced,
        )
        for name, text, value in child_vitals():
            page.gauge(f"dejavud_workers_{name}", text, value)

    def _show_process(self, page: Page) -> None:
        services, own = self._services, vitals()
        troubles = services.daemon.troubles()
        lines = [({"level": "warning"}, troubles["n_warnings"]), ({"level": "error"}, troubles["n_errors"])]
        page.counter(
            "dejavud_log_troubles_total", "Warnings and errors in the log, those that repeat among them.", lines
        )
        services.loop.turns.show(page)
        page.counter(
            "dejavud_event_loop_busy_seconds_total", "Time that the event loop was busy.", services.loop.busy_s
        )
        page.counter(
            "dejavud_event_loop_stalls_total", "Turns of more than a quarter of a second.", services.loop.n_stalls
        )
        page.gauge(
            "dejavud_event_loop_longest_turn_seconds", "The longest turn of the last minute.", services.loop.longest_s
        )
        page.gauge("dejavud_tasks", "Tasks of the event loop.", own["n_tasks"])
        page.gauge("process_threads", "Threads of the daemon's process.", own["n_threads"])
        page.gauge("process_open_fds", "Descriptors of the daemon's process.", own["n_descriptors"])
        page.gauge("process_max_fds", "Descriptors that it may have.", own["max_descriptors"])
        page.gauge("process_resident_memory_bytes", "Memory of the daemon's process.", own["memory_bytes"])
        page.counter("process_cpu_seconds_total", "Processor time of the daemon's process.", own["cpu_s"])
        page.gauge("process_start_time_seconds", "When it started, since 1970.", round(self._started_at, 3))
