"""The program ``dejavud``: arguments, configuration, log, and then the daemon.

Imports little until it is plain that a daemon is to be started: ``--help`` is fast, and worker processes, which import
this module again, are light.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.config import load, parse_arguments
from dejavud.errors import AddressInUse, DejavudError, InvalidConfig
from dejavud.wire.codes import EXIT_FAILED, EXIT_USAGE
from dejavud.wire.findings import EXAMINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NoReturn

    from dejavud.config import Config, Loaded
    from dejavud.logs import LogBook

_EXIT_CRASHED = 1
_EXIT_INTERRUPTED = 130
_DESCRIPTORS = 8192
_SWITCH_S = 0.0005
"""For how long a thread that matches a query may keep the interpreter while the event loop wants it.  With Python's 5 ms, which the loop waits for again after every
system call, everybody at once (benchmarks/load.py) got half as many answers, and /healthz took twice as long."""


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status of what was asked for instead of a daemon; run the daemon, and end the process with its own.

    ``dejavud ctl …`` is dejavuctl, where only one name is to be had; ``dejavud examine SETTINGS`` is what `dejavuctl doctor` asks of the machine.
    """
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["ctl"]:
        from dejavuctl.__main__ import main as client  # noqa: PLC0415 - the other program

        return client(argv[1:])
    if argv[:1] == [EXAMINE]:
        from dejavud.doctor.__main__ import main as examine  # noqa: PLC0415 - not needed to start

        return examine(argv[1])
    arguments = parse_arguments(argv)
    try:
        loaded = load(arguments, os.environ, Path.cwd())
    except InvalidConfig as error:
        print(f"dejavud: {error.message}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return EXIT_USAGE
    if arguments.print_config:
        from dejavud.config.printing import as_toml  # noqa: PLC0415 - not needed to start

        sys.stdout.write(as_toml(loaded))
        return 0
    if arguments.check_config:
        print("dejavud: the configuration is right", file=sys.stderr)  # noqa: T201 - for a person
        return 0
    return _leave(_run(loaded.config, lambda: load(arguments, os.environ, Path.cwd())))


def _leave(status: int) -> NoReturn:
    """End the process without the interpreter's own end, which would unwind threads that are still inside a C library.

    A sound system that was being asked for its devices may not answer for seconds; unwound, it aborts the process.
    """
    sys.stderr.flush()
    os._exit(status)


def _run(config: Config, read: Callable[[], Loaded]) -> int:
    from dejavud.config.hidden import secrets_of  # noqa: PLC0415 - see the module's first words
    from dejavud.logs import configure_logs  # noqa: PLC0415 - see the module's first words

    def log_as(config: Config, book: LogBook | None = None) -> LogBook:
        journal, secrets = os.environ.get("JOURNAL_STREAM", ""), secrets_of(config)
        return configure_logs(config.log.level, config.log.format, secrets=secrets, journal=journal, book=book)

    book = log_as(config)
    _allow_descriptors()
    try:
        import trio  # noqa: PLC0415 - see the module's first words

        from dejavud import daemon  # noqa: PLC0415
        from dejavud.systemd import service_manager, taken_sockets  # noqa: PLC0415

        outside = daemon.Outside(
            manager=service_manager(os.environ, os.getpid()),
            sockets=taken_sockets(os.environ, os.getpid()),
            read=read,
            log_as=lambda config: log_as(config, book),
        )
        sys.setswitchinterval(_SWITCH_S)
        trio.run(daemon.main, config, book, outside)
    except KeyboardInterrupt:  # before the daemon listened to signals
        return _EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the border of the program: everything ends in the log and a status
        return _report(error)
    return 0


def _allow_descriptors() -> None:
    """Take more than the 1024 open files that a login allows for a start, as far as it may be had: subscribers each hold a connection."""
    import resource  # noqa: PLC0415 - see the module's first words

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _report(error: Exception) -> int:
    """Log why the daemon ended and return the exit status: a known reason in one line, a bug with its traceback."""
    import structlog  # noqa: PLC0415 - see the module's first words

    log = structlog.get_logger("dejavud")
    causes = list(_leaves(error))
    known = [cause for cause in causes if isinstance(cause, DejavudError)]
    if len(known) < len(causes):
        log.critical("daemon_crashed", exc_info=error)
        return _EXIT_CRASHED
    for cause in known:
        log.critical("daemon_cannot_run", code=cause.code, reason=cause.message + _way_out(cause))
    return EXIT_USAGE if isinstance(known[0], InvalidConfig) else EXIT_FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _way_out(error: DejavudError) -> str:
    if isinstance(error, AddressInUse):
        return "; stop what is listening there (another dejavud?), or choose another place: --http, --ws, --control, --events"
    return ""


if __name__ == "__main__":
    sys.exit(main())
