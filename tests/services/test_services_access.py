"""What a client may ask for, counted, and who is let in: without a daemon, on a clock of the test's own."""

from __future__ import annotations

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavud.errors import Forbidden, InvalidConfig, InvalidRequest, RateLimited, Unauthorized
from dejavud.services.access import Access, address_name
from dejavud.services.client_limits import Buckets, ClientLimits
from dejavud.services.clients import EVERYTHING, LOCAL, NOBODY, SCOPES, Client, Scope, check_client_name, scope_of
from dejavud.services.commands import Call, Command, CommandTable, NoParameters
from dejavud.services.tokens import MAX_TOKENS, Token, digest_of, new_token, read_tokens

DAY = "2026-01-01T00:00:00+00:00"


class Clock:
    """Time that goes by when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=200))
def test_nobody_gets_more_than_his_rate_allows(pauses: list[float]) -> None:
    """However a client times it, in any stretch of time it gets at most the burst and the rate for that long."""
    clock, taken = Clock(), list[float]()
    buckets = Buckets(2.0, 5.0, clock)
    for pause in pauses:
        clock.now += pause
        if buckets.wait_s("one") == 0.0:
            buckets.take("one")
            taken.append(clock.now)
    for first, begin in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= 5.0 + 2.0 * (taken[last] - begin) + 1e-6


def test_who_is_told_to_wait_has_to_wait_that_long_and_no_longer() -> None:
    """After what a refusal says there is room again."""
    clock = Clock()
    limits, one = ClientLimits(0, 2.0, clock), Client("one", frozenset())
    for _ in range(20):
        limits.count(one)
    with pytest.raises(RateLimited) as refused:
        limits.count(one)
    assert 0.4 <= refused.value.retry_after_s <= 0.51
    limits.count(Client("other", frozenset()))
    clock.now += refused.value.retry_after_s
    limits.count(one)
    for _ in range(1000):
        limits.count(LOCAL)


@pytest.mark.parametrize("rate", [0.01, 0.1, 3.0, 1000.0])
def test_every_rate_lets_something_through(rate: float) -> None:
    """Less than one in ten seconds, too: one thing at first, and one after each wait."""
    clock = Clock()
    limits, one = ClientLimits(0, rate, clock), Client("one", frozenset())
    limits.count(one)
    for _ in range(20_000):
        try:
            limits.count(one)
        except RateLimited as error:
            clock.now += error.retry_after_s
            limits.count(one)
            return
    pytest.fail("no limit")


def test_a_crowd_of_names_costs_little() -> None:
    """Of a hundred thousand addresses a few thousand are kept: those that were heard of last."""
    buckets = Buckets(1.0, 1.0, Clock())
    for number in range(100_000):
        buckets.take(f"2001:db8::{number:x}")
    assert len(buckets) == 4096
    assert buckets.wait_s("2001:db8::1869f") > 0


def test_what_is_in_work_is_counted_whatever_becomes_of_it() -> None:
    """A request that fails gives its place back; at the end nothing is remembered."""
    limits, one = ClientLimits(1), Client("one", frozenset())
    for _ in range(3):
        with pytest.raises(KeyError), limits.admitted(one):
            raise KeyError
    with limits.admitted(one), pytest.raises(RateLimited), limits.admitted(one):
        pass
    with limits.admitted(LOCAL), limits.admitted(LOCAL):
        pass
    assert not limits._running


def test_of_an_ipv6_network_one_machine_has_all_addresses() -> None:
    """So it is one client; IPv4 in IPv6's clothes is IPv4."""
    assert address_name("2001:db8:1:2:3::4") == address_name("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert address_name("fe80::1%eth0") == "fe80::/64"
    assert address_name("::ffff:192.0.2.7") == address_name("192.0.2.7") == "192.0.2.7"
    assert address_name("::1") == "::1"


def test_each_command_of_the_daemon_needs_one_scope() -> None:
    """The scope admin gives them all, write gives read, and nobody has any."""
    everyone = Client("all", frozenset({Scope.ADMIN}))
    writer = Client("writer", frozenset({Scope.WRITE}))
    for scope in Scope:
        everyone.check("it", scope)
        with pytest.raises(Forbidden, match="none"):
            NOBODY.check("it", scope)
    assert [scope for scope in Scope if writer.may(scope)] == [Scope.READ, Scope.WRITE]
    with pytest.raises(Forbidden, match="needs the scope recognize"):
        writer.check("it", Scope.RECOGNIZE)
    assert {SCOPES[name] for name in ("export", "restore", "access.add", "keys.add")} == {Scope.ADMIN}


@pytest.mark.parametrize(
    "command",
    [
        *("migrate", "export", "import", "backup", "restore", "reload", "shutdown"),
        *("access.list", "access.add", "access.remove", "keys.add", "keys.remove"),
    ],
)
async def test_what_concerns_the_machine_is_taken_from_the_local_control_socket_only(command: str) -> None:
    """No scope replaces that: who came by a token or key, which may be lost, has no file named, lets nobody in and stops nothing."""
    n_done = 0

    async def count(_params: NoParameters, _call: Call) -> dict[str, Any]:
        nonlocal n_done
        n_done += 1
        return {}

    table = CommandTable((Command(command, NoParameters, count, scope_of(command)),))
    for params in ({}, {"unknown": 1}):
        with pytest.raises(InvalidRequest, match="local control socket only"):
            await table.call(command, params, Call(client=Client("far", EVERYTHING)))
    assert not n_done
    await table.call(command, {}, Call(client=LOCAL))
    assert n_done == 1


@pytest.mark.parametrize("scope", [*Scope, None])
def test_the_page_says_which_scope_each_command_needs(scope: Scope | None) -> None:
    """docs/protocol.md has a row for each scope, which begins with the commands that need it, and with no other."""
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text("utf-8")
    row = re.search(rf"^\| {scope or 'that of its command'} \| ((?:`[a-z._]+`(?:, )?)+)", page, re.MULTILINE)
    assert row is not None
    assert row[1].replace("`", "").split(", ") == [name for name, needed in SCOPES.items() if needed is scope]


def test_tokens_are_unlike_each_other_and_fit_everywhere() -> None:
    """256 bits of chance, in characters that a header, a subprotocol and a shell take as they are."""
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(token.startswith("djv_") and len(token) == 47 for token in tokens)
    assert all(
        set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") for token in tokens
    )


@pytest.mark.parametrize(
    "name", ["", "1st", "192.168.1.7", "::1", "local", "conf", "a b", "a/b", "a\n", "é", "a" * 65, "-a"]
)
def test_a_token_is_not_called_like_an_address_or_like_nobody(name: str) -> None:
    """Names are in the log, and limits are counted by them."""
    with pytest.raises(ValueError, match="is no name for a client"):
        check_client_name(name)


def test_where_nobody_needs_a_token_only_this_machine_is_let_in() -> None:
    """Without any token a door that others can reach lets nobody in, rather than everybody."""
    free = Access()
    assert free.admit(None, "127.0.0.1").may(Scope.ADMIN)
    for token in (None, "", "x", digest_of("")):
        with pytest.raises(Unauthorized):
            free.admit(token, "192.0.2.7", is_wide=True)


def test_what_is_kept_of_a_token_does_not_open() -> None:
    """Neither the hash itself, nor the name, nor a token cut short or made longer."""
    text = new_token()
    access = Access("correct-horse", [Token("phone", digest_of(text), frozenset({Scope.READ}), DAY)])
    assert access.admit(text, "192.0.2.7", is_wide=True).name == "phone"
    for number, wrong in enumerate(
        (digest_of(text), "phone", text[:-1], text + "x", text.upper(), f" {text}", "\ud800")
    ):
        with pytest.raises(Unauthorized):
            access.admit(wrong, f"192.0.2.{number}")
    assert text not in repr(access.tokens)


def test_the_owner_is_asked_where_conf_says_so() -> None:
    """His own socket gives him every scope; with a token in conf he has what the token gives that he shows."""
    text = new_token()
    phone = Token("phone", digest_of(text), frozenset({Scope.READ}), DAY)
    assert Access("", [phone]).admit_owner(None) == LOCAL
    access = Access("correct-horse", [phone])
    assert access.admit_owner("correct-horse") == LOCAL
    reader = access.admit_owner(text)
    assert (reader.is_local, reader.may(Scope.READ), reader.may(Scope.WRITE)) == (True, True, False)
    with pytest.raises(Unauthorized):
        access.admit_owner(None)


@pytest.mark.parametrize(
    ("peer", "told", "sender"),
    [
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("::ffff:127.0.0.1", ["192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
        ("127.0.0.1", ["192.0.2.7, 10.1.2.3"], "192.0.2.7"),
        ("127.0.0.1", ["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
        ("127.0.0.1", ["192.0.2.7, 2001:db8::1"], "2001:db8::1"),
        ("127.0.0.1", ["192.0.2.7, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["192.0.2.7, , 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["\xff"], "127.0.0.1"),
        ("192.0.2.7", ["127.0.0.1"], "192.0.2.7"),
        ("192.0.2.7", ["10.1.2.3", "198.51.100.1"], "192.0.2.7"),
        ("local", ["198.51.100.1"], "local"),
    ],
)
def test_a_trusted_proxy_is_believed_what_it_wrote_itself(peer: str, told: list[str], sender: str) -> None:
    """Read from its end up to the first address that is no proxy's: neither a client behind one nor one who comes straight can be who he likes."""
    access = Access()
    headers = [(b"host", b"10.1.2.3"), *((b"x-forwarded-for", each.encode("latin-1")) for each in told)]
    assert access.sender_of(headers, peer) == peer
    access.trusted_proxies = tuple(map(ip_network, ("127.0.0.1", "10.0.0.0/8")))
    assert access.sender_of(headers, peer) == sender


def test_wrong_tokens_are_counted_by_address_and_forgiven_in_time() -> None:
    """Ten at once, one each five seconds; others from elsewhere notice nothing, and waiting is not made longer by trying on."""
    clock = Clock()
    access = Access("correct-horse", clock=clock)
    for number in range(10):
        with pytest.raises(Unauthorized):
            access.admit(f"wrong{number}", "192.0.2.7")
    for _ in range(50):
        with pytest.raises(RateLimited):
            access.admit("correct-horse", "192.0.2.7")
    assert access.admit("correct-horse", "192.0.2.8").may(Scope.ADMIN)
    for number in range(10):
        with pytest.raises(Unauthorized):
            access.admit("wrong", f"2001:db8::{number}")
    with pytest.raises(RateLimited):  # of one machine with all the addresses of its network
        access.admit("correct-horse", "2001:db8::ffff")
    clock.now += 5.0
    assert access.admit("correct-horse", "192.0.2.7").may(Scope.ADMIN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("7", "TypeError"),
        ("[{}]", "KeyError"),
        ('[{"name": "a", "sha256": "secret", "scopes": ["read"], "created_at": "2026-01-01"}]', "64 digits"),
        ('[{"name": "a", "sha256": "' + "0" * 64 + '", "scopes": ["god"], "created_at": "2026-01-01"}]', "recognize"),
        ('[{"name": "a", "sha256": "' + "0" * 64 + '", "scopes": [], "created_at": "2026-01-01"}]', "empty"),
        ('[{"name": "a", "sha256": "' + "0" * 64 + '", "scopes": ["read"], "created_at": "soon"}]', "isoformat"),
        ('[{"name": "7", "sha256": "' + "0" * 64 + '", "scopes": ["read"], "created_at": "2026-01-01"}]', "no name"),
    ],
)
def test_a_file_of_tokens_is_right_or_refused(tmp_path: Path, text: str, reason: str) -> None:
    """The reason says what is wrong with it, and what to do."""
    (tmp_path / "tokens.json").write_text(text)
    with pytest.raises(InvalidConfig, match=reason) as refused:
        read_tokens(tmp_path)
    assert "dejavuctl tokens add" in refused.value.message


def test_a_file_of_tokens_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """Whoever can write it could let himself in."""
    assert read_tokens(tmp_path) == ()
    (tmp_path / "tokens.json").write_text("[]")
    (tmp_path / "tokens.json").chmod(0o620)
    with pytest.raises(InvalidConfig, match="chmod 600"):
        read_tokens(tmp_path)
    assert MAX_TOKENS == 256
