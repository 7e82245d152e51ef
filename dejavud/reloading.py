"""Reading the configuration again while the daemon runs: all of it is right and what can change does, or nothing does and it is said why."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.composing import rules_of, sources_of
from dejavud.config.reloading import changed_keys, needs_restart, taken_over
from dejavud.errors import DejavudError, InvalidConfig, InvalidRequest
from dejavud.fingerprint.profiles import params_of
from dejavud.hooks.supervisor import planned_hooks
from dejavud.services.commands import NoParameters
from dejavud.services.profiles import profile_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    from dejavud.config import Config, Loaded
    from dejavud.entry import Entry
    from dejavud.hooks.supervisor import Hooks, Plan
    from dejavud.index.base import Index
    from dejavud.services.commands import Call, Handler
    from dejavud.services.constellations import ConstellationCache
    from dejavud.services.handlers import Services
    from dejavud.services.microphone_watch import MicrophoneWatch
    from dejavud.services.uploads import UploadStore
    from dejavud.services.workers import ProcessWorkers
    from dejavud.systemd import ServiceManager

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Changeable:
    """What a configuration that is read again reaches.

    log_as : has the log go by a configuration.
    """

    log_as: Callable[[Config], object]
    index: Index
    constellations: ConstellationCache
    services: Services
    hooks: Hooks
    uploads: UploadStore
    workers: ProcessWorkers
    microphones: MicrophoneWatch
    entry: Entry


class Reloader:
    """Reads the configuration again, one time after the other, for whoever asks: SIGHUP and the command ``reload``.

    read : reads it, from the places that it came from at the start; blocking, raises `InvalidConfig`.
    tell : what the service manager shows when it is over.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Loaded],
        parts: Changeable,
        manager: ServiceManager,
        summary: Callable[[], str],
    ) -> None:
        self._started_with = self._config = config
        self._read = read
        self._parts = parts
        self._manager = manager
        self._summary = summary
        self._turns, self._served = trio.Lock(), trio.Event()
        self.refusal = ""

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return its row of the command table."""
        return (("reload", NoParameters, self._command),)

    @property
    def status(self) -> str:
        """Return how the daemon is, and that its last reload was refused, if it was."""
        return f"reload refused: {self.refusal}" if self.refusal else self._summary()

    async def serve(self, wanted: trio.MemoryReceiveChannel[None]) -> None:
        """Reload whenever something comes on `wanted`, until cancelled; what is wrong is in the log and the unit's status."""
        self._served.set()
        async for _ in wanted:
            try:
                await self.reload()
            except InvalidConfig:
                log.debug("reload_not_done")  # said by `reload`

    async def _command(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Read the configuration again, and return what became of it."""
        return await self.reload()

    async def reload(self) -> dict[str, Any]:
        """Return the settings that changed, and those that were changed and need a restart.

        Raises `InvalidConfig` where anything in the configuration is wrong: everything is then as it was.
        """
        await self._served.wait()  # the doors open before everything is there that may be changed
        async with self._turns:
            with self._told():
                loaded = await self._parts.services.workers.thread(self._read)
                wanted = taken_over(self._config, loaded.config, loaded.origins)
                changed = changed_keys(self._config, wanted)
                plans = self._checked(wanted, loaded.origins)
                certificate = await self._parts.entry.new_certificate()
                with trio.CancelScope(shield=True):  # half a reload is none
                    await self._apply(wanted, changed, plans, certificate)
                self._config = wanted
            waiting = [key for key in changed_keys(self._started_with, loaded.config) if needs_restart(key)]
            if waiting:
                log.warning("config_needs_restart", settings=waiting)
            return {"changed": list(changed), "needs_restart": waiting}

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say that it begins, and how it ended."""
        self._manager.reloading()
        refusal = "it was cancelled"
        try:
            yield
            refusal = ""
        except DejavudError as error:
            refusal = error.message
            log.error("config_refused", reason=refusal)  # noqa: TRY400 - said whole by its message
            raise
        finally:
            self.refusal = refusal
            self._manager.ready(self.status)

    def _checked(self, wanted: Config, origins: Mapping[str, str]) -> list[Plan]:
        """Return the hooks that are to run; raises `InvalidConfig` for what only the parts themselves can find wrong."""
        services = self._parts.services
        try:
            services.listeners.check_configured(sources_of(self._config), sources_of(wanted))
        except InvalidRequest as error:
            raise InvalidConfig(origin=origins.get("listen.sources", "default"), reason=error.message) from error
        return planned_hooks(wanted.hooks, services.hub, services.listeners.view, services.workers.thread)

    async def _apply(
        self, wanted: Config, changed: tuple[str, ...], plans: list[Plan], certificate: ssl.SSLContext | None
    ) -> None:
        """Have everybody go by `wanted`: nothing here may fail."""
        parts, services = self._parts, self._parts.services
        parts.log_as(wanted)  # first: it hides the new secrets
        sections = {key.partition(".")[0] for key in changed}
        log.info("config_reloaded", changed=list(changed))
        parts.entry.change(wanted, certificate)
        services.scanner.guard.change(wanted.security.url_networks)
        services.paths.change(wanted.security.paths)
        parts.uploads.max_bytes, parts.uploads.max_open = wanted.limits.upload_bytes, wanted.limits.uploads
        parts.workers.allow_waiting(wanted.limits.waiting)
        services.maintenance.allow(wanted.limits.ingest_s)
        services.recorder.keep_for(wanted.history.keep_days)
        if sections & {"recognize", "scan", "ingest", "listen", "limits"}:
            self._change_rules(wanted)
        if "listen.sources" in changed:
            await services.listeners.configure(sources_of(self._config), sources_of(wanted))
        if "listen.microphone" in changed:
            await parts.microphones.want(wanted=wanted.listen.microphone == "auto")
        if "hooks" in sections:
            await parts.hooks.change(plans)

    def _change_rules(self, wanted: Config) -> None:
        parts, services = self._parts, self._parts.services
        rules = rules_of(wanted, profile_of(params_of(wanted.engine)), parts.index, parts.constellations)
        services.recognizer.change(rules.match, rules.quick_match, rules.recognizer)
        services.scanner.change(rules.scan_match, rules.scanner)
        services.ingest.change(rules.ingest)
        services.listeners.change(rules.library, rules.listen)
