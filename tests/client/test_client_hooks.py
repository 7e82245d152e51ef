"""The commands of hooks: what a person and a program read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from client_daemon import STATUS, FakeDaemon

from dejavud.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from client_runs import Ran


def hook(**changes: object) -> dict[str, Any]:
    """Return a hook as the daemon shows it."""
    return {
        "hook": "diary",
        "kind": "webhook",
        "target": "https://example.org/…",
        "state": "ready",
        "n_delivered": 12,
        "n_waiting": 0,
        "n_failed": 0,
        "n_lost": 0,
        "last_error": None,
        "last_error_at": None,
        "next_try_at": None,
        **changes,
    }


AWAY = hook(
    hook="mqtt",
    kind="mqtt",
    state="retrying",
    n_waiting=3,
    n_failed=1,
    n_lost=2,
    last_error="Connection\x1b refused",
    last_error_at="2026-01-02T03:04:05+00:00",
    next_try_at="2026-01-02T03:04:09+00:00",
)


def test_hooks_are_listed_with_what_is_wrong(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """A line has the name, the state, where to, and only those figures that say something; `status` has the same."""
    daemon.table["hooks.list"] = lambda _: {"hooks": [hook(), AWAY]}
    daemon.table["status"] = lambda _: {**STATUS, "hooks": [hook(), AWAY]}
    lines = ctl("hooks", "ls").out.splitlines()
    assert lines.pop(0).split() == ["hook", "kind", "state", "target", "how", "it", "went"]
    assert lines[0] == "diary  webhook  ready     https://example.org/…  12 delivered"
    assert lines[1].startswith(
        "mqtt   mqtt     retrying  https://example.org/…  12 delivered, 3 waiting, 1 given up, 2 lost"
    )
    assert "next try at 03:04:09, last error 03:04:05: Connection" in lines[1]
    assert "\x1b" not in lines[1]
    assert ctl("hooks", "ls", "--json").records == [hook(), AWAY]
    assert [line.split("  ", 1)[1].strip() for line in ctl("status").out.splitlines() if line.startswith("hook")] == [
        "diary (webhook)  ready, https://example.org/…, 12 delivered",
        lines[1].replace(
            "mqtt   mqtt     retrying  https://example.org/…  12", "mqtt  retrying, https://example.org/…, 12"
        ),
    ]


def test_where_no_hook_is_on_it_says_where_they_are_switched_on(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """The list is empty, on purpose."""
    daemon.table["hooks.list"] = lambda _: {"hooks": []}
    ran = ctl("hooks", "ls")
    assert (ran.status, ran.out) == (0, "")
    assert "[hooks] in the daemon's conf" in ran.err


def test_a_test_prints_what_happened_and_fails_where_one_did(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Exit 0 where all samples arrived, 4 where one did not; a name asks for one hook."""
    asked: list[dict[str, Any]] = []
    good = {"hook": "diary", "kind": "webhook", "target": "https://a/…", "ok": True, "said": "HTTP 200 OK after 9 ms"}
    bad = {"hook": "mqtt", "kind": "mqtt", "target": "mqtt://b", "ok": False, "said": "Connection refused"}
    outcomes = [good]

    def test(call: Any) -> dict[str, Any]:  # noqa: ANN401 - as the fake daemon hands it over
        asked.append(dict(call.params))
        return {"tests": outcomes}

    daemon.table["hooks.test"] = test
    ran = ctl("hooks", "test", "diary")
    assert (ran.status, ran.out) == (0, "diary  ok, https://a/…: HTTP 200 OK after 9 ms\n")
    outcomes.append(bad)
    ran = ctl("hooks", "test")
    assert ran.status == 4
    assert ran.out.splitlines()[1] == "mqtt  failed, mqtt://b: Connection refused"
    assert "1 hook of 2 failed" in ran.err
    assert asked == [{"name": "diary"}, {}]
    assert ctl("hooks", "test", "--json").records == outcomes


def test_a_hook_that_is_not_there_is_the_daemons_to_refuse(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Its message names those that are, and the exit status is 4."""

    def refuse(_call: object) -> dict[str, Any]:
        raise InvalidRequest(reason="there is no hook 'x'; there are: diary")

    daemon.table["hooks.test"] = refuse
    ran = ctl("hooks", "test", "x")
    assert ran.status == 4
    assert "there are: diary" in ran.err
