"""The one command table: all transports enter here, so that a command is the same wherever it comes from.

A command is a name, a frozen dataclass of parameters (its annotations are the schema) and an async handler that returns a
JSON object.  A transport calls `CommandTable.call` with what it received and translates the result or the `DejavudError`.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from structlog.contextvars import bind_contextvars

from dejavud.errors import InvalidRequest, ShuttingDown, UnknownCommand
from dejavud.services.client_limits import ClientLimits
from dejavud.services.clients import LOCAL_ONLY, NOBODY, Client, Scope
from dejavud.services.requests import Requests
from dejavud.wire.schemas import alternatives, is_required

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from contextlib import AsyncExitStack

    from dejavud.services.job_book import JobBook
    from dejavud.services.uploads import Upload

    Handler = Callable[[Any, "Call"], Awaitable[dict[str, Any]]]


class Progress(Protocol):
    """Tells the caller how far a command is."""

    async def __call__(self, *, must_arrive: bool = False, **figures: object) -> None:
        """Send figures (``done_s=…, total_s=…``); may wait while the caller is slow, never raises for one that left.

        Figures may be skipped where others were sent a moment ago; with `must_arrive`, for news that the next ones do not repeat, never.
        """
        ...


async def no_progress(*, must_arrive: bool = False, **figures: object) -> None:
    """Tell nobody."""


class AudioStream(Protocol):
    """Bytes that the caller is still sending, in order, in pieces as they came.

    Iterating ends where the caller says that all was sent.  What is not taken holds the caller up: nothing is kept meanwhile, and nothing lost.
    A caller that leaves cancels the command.  One consumer, once; what a command leaves is thrown away as it comes.
    """

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the pieces, none of them empty."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """What comes with the parameters of one call.

    client : who asks; a transport that does not say so calls for nobody, who may do nothing.
    audio : the bytes that came along, already received into a file.
    stream : bytes that are still coming, for a command that hears while they come (WebSocket: ``"audio": "stream"``).
    """

    audio: Upload | None = None
    stream: AudioStream | None = None
    progress: Progress = no_progress
    client: Client = NOBODY

    @property
    def may_read_paths(self) -> bool:
        """Whether the caller may name files of the daemon's machine: over the control socket's ipc, and nobody else."""
        return self.client.is_local


@dataclass(frozen=True, slots=True)
class NoParameters:
    """What a command takes that takes none."""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table.  scope : what a client needs who asks for it; None where the command looks at that itself."""

    name: str
    params: type
    handler: Handler
    scope: Scope | None = Scope.ADMIN


class CommandTable:
    """Every command of the daemon by name.

    requests : where each leaves its line and its figures; a transport opens a request there before it calls.
    limits : what one client may ask for; a transport counts there what it is asked before it does anything for it.
    jobs : has those that take long in its book; None tells nobody.
    """

    def __init__(
        self,
        commands: tuple[Command, ...],
        requests: Requests | None = None,
        jobs: JobBook | None = None,
        limits: ClientLimits | None = None,
    ) -> None:
        self._commands = {command.name: command for command in commands}
        self.jobs = jobs
        self.requests = requests or Requests()
        self.limits = limits or ClientLimits()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the commands' names, in the order they were given."""
        return tuple(self._commands)

    async def call(self, name: str, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """Run a command and return its JSON object.

        Raises `UnknownCommand`, `Forbidden` for a client without the command's scope, `InvalidRequest` for one who has to come by the local control
        socket and for unknown, missing or mistyped parameters, `InternalError` for a bug, and whatever `DejavudError` the command itself ends with.  Cancellation cancels the command.
        """
        return await self.requests.run(name, partial(self._run, self._command(name), params, call))

    def params_of(self, name: str) -> type:
        """Return the dataclass of a command's parameters; raises `UnknownCommand`."""
        return self._command(name).params

    def may_go_on(self, name: str) -> bool:
        """Tell whether a command may be begun as a job that goes on when its caller is gone."""
        return self.jobs is not None and self.jobs.may_take_long(name)

    def begin(self, name: str, params: Mapping[str, Any], call: Call, kept: AsyncExitStack) -> dict[str, Any]:
        """Begin a command that `may_go_on` as a job, and return that job as ``jobs.get`` would.

        kept : what the command needs until it has ended, such as its audio; it is the job's from here on, unless this raises: what `call` raises
        before a command begins, `Busy` and `ShuttingDown`.
        """
        command = self._command(name)
        if self.jobs is None:
            raise ShuttingDown
        self._check(command, call.client)
        work = partial(command.handler, parse_params(command.params, params))
        return {"job": self.jobs.begin(name, call, work, requests=self.requests, kept=kept).whole_view()}

    def check(self, name: str, client: Client) -> None:
        """Raise what `call` does for a command that is none, or not this client's: before anything is received for it."""
        self._check(self._command(name), client)

    def _command(self, name: str) -> Command:
        command = self._commands.get(name)
        if command is None:
            raise UnknownCommand(command=name, known=", ".join(self._commands))
        return command

    @staticmethod
    def _check(command: Command, client: Client) -> None:
        if command.scope is not None:
            client.check(f"the command {command.name!r}", command.scope)
        if command.name in LOCAL_ONLY:
            client.check_local(repr(command.name))

    async def _run(self, command: Command, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
        bind_contextvars(client=call.client.name)
        self._check(command, call.client)
        given = parse_params(command.params, params)
        if self.jobs is None or not self.jobs.may_take_long(command.name):
            return await command.handler(given, call)
        return await self.jobs.run(command.name, call, partial(command.handler, given))


def check_values(kind: type, given: Mapping[str, Any]) -> None:
    """Raise `InvalidRequest` unless those of the values that are parameters of `kind` may be, each for itself."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for name, value in given.items():
        if name in hints:
            try:
                _checked(name, hints[name], value)
            except ValueError as error:
                raise InvalidRequest(reason=str(error)) from None


def parse_params(kind: type, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - an instance of `kind`
    """Return an instance of the dataclass `kind` from JSON values; raises `InvalidRequest` that names the culprit."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind, include_extras=True)
    unknown = sorted(set(given) - set(fields))
    if unknown:
        known = ", ".join(fields) or "none"
        raise InvalidRequest(reason=f"unknown parameter {unknown[0]!r}; this command takes: {known}")
    for name, field in fields.items():
        if name not in given and is_required(field):
            raise InvalidRequest(reason=f"the parameter {name!r} is missing")
    try:
        return kind(**{name: _checked(name, hints[name], value) for name, value in given.items()})
    except (
        ValueError
    ) as error:  # of a rule, or the dataclass's own __post_init__: a value of the right type and the wrong range
        raise InvalidRequest(reason=str(error)) from None


_JSON_NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", type(None): "null"}


def _checked(name: str, hint: Any, value: Any) -> Any:  # noqa: ANN401 - any JSON value in, a value of type `hint` out
    """Return `value` as `hint` wants it: int, float, str, bool, a list of one of them as a tuple, or None where allowed.

    Raises ValueError where a rule of the hint does not hold, `InvalidRequest` where it is of another type.
    """
    options = alternatives(hint)
    for option, rules in options:
        if not _is_of(option, value):
            continue
        if isinstance(value, list):
            value = tuple(_checked(name, typing.get_args(option)[0], item) for item in value)
        elif option is float and isinstance(value, int):
            value = _as_float(name, value)
        for rule in rules if value is not None else ():
            rule.check(name, value)
        return value
    wanted = " or ".join(_JSON_NAMES.get(option, "a list") for option, _ in options)
    raise InvalidRequest(reason=f"the parameter {name!r} must be {wanted}, not {str(value)[:80]!r}")


def _is_of(option: Any, value: object) -> bool:  # noqa: ANN401 - one type of an annotation
    """Tell whether a JSON value is of a type: true and false are no numbers, whole numbers are numbers."""
    if isinstance(value, bool) or option is bool:
        return option is bool and isinstance(value, bool)
    if typing.get_origin(option) is tuple:
        return isinstance(value, list)
    return isinstance(value, int | float if option is float else option)


def _as_float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        msg = f"the parameter {name!r} is larger than any number that is taken"
        raise ValueError(msg) from None
