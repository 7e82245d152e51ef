"""All hooks that are switched on, each supervised: one that fails is logged, shown and run again, and takes nothing else with it."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import HookNotFound, InvalidConfig
from dejavud.hooks.base import HookEnded, HookFailed, printable
from dejavud.services.commands import NoParameters
from dejavud.services.events import made_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dejavud.hooks.base import Hook, ListenerViews, Thread
    from dejavud.hooks.settings import HookSettings
    from dejavud.services.commands import Call, Handler
    from dejavud.services.events import Event, EventHub

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S, GOOD_S = 1.0, 60.0, 60.0
"""Before a hook is run again; doubled with each time that follows before a good minute."""

SAMPLE = {
    "sample": True,
    "listener": "sample",
    "play": 0,
    "track": {
        "id": 0,
        "title": "A sample of dejavud's",
        "artist": "Nobody",
        "album": None,
        "path": None,
        "file_sha1": None,
        "duration_s": 180.0,
    },
    "start_s": 0.0,
    "end_s": 2.0,
    "track_start_s": 0.0,
    "track_end_s": 2.0,
    "confidence": 1.0,
    "coverage": 1.0,
    "gaps": [],
    "twins": [],
    "exact": False,
}


@dataclass(frozen=True, slots=True)
class TestHooks:
    """Parameters of ``hooks.test``: one hook, or all where there is no name."""

    name: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A hook that is to run.

    key : equal for two hooks that would do the same in the same way.
    """

    key: tuple[object, ...]
    make: Callable[[], Hook]


@dataclass(slots=True)
class _Run:
    """A hook that runs, or did."""

    hook: Hook
    plan: Plan | None
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ended: trio.Event = field(default_factory=trio.Event)


class Hooks:
    """Runs hooks, says how they are, and tries them."""

    def __init__(self, hooks: Sequence[Hook], hub: EventHub, plans: Sequence[Plan] = ()) -> None:
        self._hub = hub
        self._runs = [_Run(hook, plan) for hook, plan in zip_longest(hooks, plans)]
        self._nursery: trio.Nursery | None = None

    @property
    def _hooks(self) -> list[Hook]:
        return [run.hook for run in self._runs]

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run every hook until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for run in self._runs:
                self._nursery.start_soon(self._run, run)
            task_status.started()
            await trio.sleep_forever()

    async def change(self, plans: Sequence[Plan]) -> None:
        """Run what is planned, and nothing else: hooks whose plan stays the same are left alone.  While `serve` runs."""
        if self._nursery is None:
            msg = "hooks are changed while `serve` runs"
            raise RuntimeError(msg)
        kept = {run.plan.key: run for run in self._runs if run.plan is not None}
        gone = [run for run in self._runs if run.plan is None or run.plan.key not in {plan.key for plan in plans}]
        for run in gone:
            run.scope.cancel()
        for run in gone:
            await run.ended.wait()  # a new one of the same name may want its place at the broker, on the bus
        fresh = {plan.key: _Run(plan.make(), plan) for plan in plans if plan.key not in kept}
        self._runs = [fresh.get(plan.key) or kept[plan.key] for plan in plans]
        for run in fresh.values():
            self._nursery.start_soon(self._run, run)

    async def _run(self, run: _Run) -> None:
        try:
            with run.scope:
                await self._supervise(run.hook)
        finally:
            run.ended.set()

    async def _supervise(self, hook: Hook) -> None:
        pause_s = FIRST_PAUSE_S
        log.info("hook_started", hook=hook.name, kind=hook.kind, target=hook.target)
        while True:
            started = trio.current_time()
            try:
                await hook.run()
            except Exception as error:  # noqa: BLE001 - the border of a hook: what it is made of must not reach the daemon
                if not self._failed(hook, error):
                    return
            pause_s = FIRST_PAUSE_S if trio.current_time() - started >= GOOD_S else pause_s
            wait_s = pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - so that many do not come at once
            pause_s = min(2 * pause_s, MAX_PAUSE_S)
            hook.figures.next_try_at = datetime.now(UTC) + timedelta(seconds=wait_s)
            await trio.sleep(wait_s)

    def _failed(self, hook: Hook, error: Exception) -> bool:
        """Note why a hook ended; return whether it is to be run again."""
        figures, causes = hook.figures, list(_leaves(error))
        ended = any(isinstance(cause, HookEnded) for cause in causes)
        known = [cause for cause in causes if isinstance(cause, HookFailed | HookEnded)]
        reason = str(known[0]) if known else f"{type(causes[0]).__name__} in the daemon; its log has more"
        was_told = figures.state == "retrying" and figures.last_error == reason
        figures.state = "stopped" if ended else "retrying"
        figures.last_error, figures.last_error_at, figures.next_try_at = reason, datetime.now(UTC), None
        if not known:
            log.error("hook_crashed", hook=hook.name, exc_info=error)
        elif not was_told:
            log.warning("hook_failed", hook=hook.name, target=hook.target, state=figures.state, reason=reason)
        return not ended

    # -- what is asked of them --------------------------------------------------------------------------------------

    def view(self) -> list[dict[str, Any]]:
        """Return every hook as JSON shows it."""
        return [_view(hook) for hook in self._hooks]

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (("hooks.list", NoParameters, self.list), ("hooks.test", TestHooks, self.test))

    async def list(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return every hook."""
        return {"hooks": self.view()}

    async def test(self, params: TestHooks, _call: Call) -> dict[str, Any]:
        """Send a sample through one hook, or through each, and return what became of it."""
        chosen = [hook for hook in self._hooks if params.name in (None, hook.name)]
        if not chosen:
            known = ", ".join(hook.name for hook in self._hooks) or "none: see [hooks] in the daemon's conf"
            what = "no hook is switched on" if params.name is None else f"there is no hook {printable(params.name)!r}"
            raise HookNotFound(reason=what, known=known)
        data = {**SAMPLE, "started_at": datetime.now(UTC).isoformat()}
        sample = made_event(self._hub.daemon, "match.started", None, data)
        tests: list[dict[str, Any]] = []
        async with trio.open_nursery() as nursery:
            for hook in chosen:
                tests.append({"hook": hook.name, "kind": hook.kind, "target": hook.target})
                nursery.start_soon(_test, hook, sample, tests[-1])
        return {"tests": tests}


async def _test(hook: Hook, sample: Event, outcome: dict[str, Any]) -> None:
    try:
        outcome["said"] = await hook.test(sample)
        outcome["ok"] = True
    except HookFailed as error:
        outcome |= {"ok": False, "said": str(error)}


def _view(hook: Hook) -> dict[str, Any]:
    figures = asdict(hook.figures)
    for name in ("last_error_at", "next_try_at"):
        figures[name] = figures[name].isoformat() if figures[name] else None
    return {"hook": hook.name, "kind": hook.kind, "target": hook.target, "n_waiting": hook.n_waiting, **figures}


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def make_hooks(settings: HookSettings, hub: EventHub, listeners: ListenerViews, thread: Thread) -> Hooks:
    """Return the hooks that `settings` switch on; raises what `planned_hooks` raises."""
    plans = planned_hooks(settings, hub, listeners, thread)
    return Hooks([plan.make() for plan in plans], hub, plans)


def planned_hooks(settings: HookSettings, hub: EventHub, listeners: ListenerViews, thread: Thread) -> list[Plan]:
    """Return the hooks that `settings` switch on, none of them made yet; only what they need is imported.

    Raises `InvalidConfig`, which names the extra, where a library is not installed.
    """
    plans: list[Plan] = []
    if settings.webhooks:
        with _explained("hooks.webhooks", "webhooks"):
            from dejavud.hooks.webhook import WebhookHook  # noqa: PLC0415 - only where it is switched on
        shared = (settings.webhook_timeout_s, settings.webhook_max_age_s)
        plans += [
            Plan(("webhook", webhook, *shared), partial(WebhookHook, webhook, hub, settings))
            for webhook in settings.webhooks
        ]
    if settings.mqtt_url:
        with _explained("hooks.mqtt_url", "mqtt"):
            from dejavud.hooks.mqtt import MqttHook  # noqa: PLC0415
        key = ("mqtt", *(getattr(settings, one.name) for one in fields(settings) if one.name.startswith("mqtt_")))
        plans.append(Plan(key, partial(MqttHook, hub, listeners, settings, thread)))
    if settings.mpris:
        with _explained("hooks.mpris", "mpris"):
            from dejavud.hooks.mpris import MprisHook  # noqa: PLC0415
        plans.append(Plan(("mpris", settings.mpris_bus), partial(MprisHook, hub, listeners, settings)))
    if settings.now_playing_file:
        from dejavud.hooks.text_file import NowPlayingFile  # noqa: PLC0415

        key = ("file", settings.now_playing_file, settings.now_playing_format)
        plans.append(Plan(key, partial(NowPlayingFile, hub, listeners, settings, thread)))
    return plans


@contextmanager
def _explained(key: str, extra: str) -> Iterator[None]:
    """Say which extra a library belongs to that the block imports and that is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dejavud"):
            raise
        reason = f"it needs {error.name}, which is not installed: pip install 'dejavud[{extra}]', or switch it off"
        raise InvalidConfig(origin=key, reason=reason) from error
