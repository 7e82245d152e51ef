"""The commands of tokens: what a person and a program read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dejavuctl.__main__ import main
from dejavud.errors import TokenNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from client_daemon import Asked, FakeDaemon
    from client_runs import Ran

TOKEN = "djv_" + "x" * 43
PHONE: dict[str, Any] = {
    "name": "phone",
    "scopes": ["recognize", "read"],
    "created_at": "2026-11-23T17:00:00+00:00",
    "last_used_at": "2026-11-23T18:04+00:00",
}


def added(asked: Asked) -> dict[str, Any]:
    """Make a token as the daemon does."""
    return {"token": {**PHONE, **asked.request.params, "last_used_at": None, "token": TOKEN}}


@pytest.mark.parametrize(
    ("words", "scopes"),
    [
        ((), ["recognize", "read"]),
        (("--scope", "read"), ["read"]),
        (("--scope", "recognize,write"), ["recognize", "write"]),
        (("--scope", "read", "--scope", "admin,write"), ["read", "admin", "write"]),
    ],
)
def test_a_token_is_printed_alone(
    daemon: FakeDaemon, ctl: Callable[..., Ran], words: tuple[str, ...], scopes: list[str]
) -> None:
    """Standard output holds the token and nothing else, so that a file can; whose it is and what it may do is said beside it."""
    daemon.table["access.add"] = added
    made = ctl("tokens", "add", "phone", *words)
    assert (made.status, made.out) == (0, TOKEN + "\n")
    assert f"phone ({', '.join(scopes)})" in made.err
    assert TOKEN not in made.err
    (record,) = ctl("tokens", "add", "phone", *words, "--json").records
    assert (record["token"], record["scopes"]) == (TOKEN, scopes)


@pytest.mark.parametrize("scope", ["god", "read,", "read write", "", "READ"])
def test_what_is_no_scope_is_told_before_anybody_is_asked(scope: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    with pytest.raises(SystemExit, match="2"):
        main(["tokens", "add", "phone", "--scope", scope])
    assert "is no scope; there are: recognize, read, write, admin" in capsys.readouterr().err


def test_tokens_are_listed_with_when_they_were_used(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """A line each, without the token, which nobody has; where there is none, how to make one."""
    never = {**PHONE, "name": "prometheus", "scopes": ["read"], "last_used_at": None}
    daemon.table["access.list"] = lambda _: {"tokens": [PHONE, never]}
    lines = ctl("tokens", "ls").out.splitlines()
    assert [line.split() for line in lines] == [
        ["name", "may", "made", "last", "used"],
        ["phone", "recognize,", "read", "2026-11-23", "2026-11-23", "18:04"],
        ["prometheus", "read", "2026-11-23", "never"],
    ]
    assert ctl("tokens", "ls", "--json").records == [PHONE, never]
    daemon.table["access.list"] = lambda _: {"tokens": []}
    none = ctl("tokens", "ls")
    assert (none.status, none.out, "dejavuctl tokens add NAME" in none.err) == (0, "", True)


def test_tokens_are_removed_one_after_the_other(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Up to one that is not there, which ends it with 4 and says which there are."""

    def remove(asked: Asked) -> dict[str, Any]:
        if asked.request.params["name"] != "phone":
            raise TokenNotFound(name=asked.request.params["name"], known="none")
        return {"removed": PHONE}

    daemon.table["access.remove"] = remove
    ran = ctl("tokens", "rm", "phone", "tablet")
    assert (ran.status, ran.out) == (4, "the token of phone counts no more\n")
    assert "there is no token 'tablet'; there are: none" in ran.err
