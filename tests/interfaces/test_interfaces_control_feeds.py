"""Raw sound over the control socket: credits, order, bounds, and who may send."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from dejavud.audio.pcm_format import PcmFormat
from dejavud.errors import Busy, InvalidRequest, ListenerNotFound, SourceStalled, TooLarge
from dejavud.interfaces.control_feeds import MAX_WAITING, ControlFeeds
from dejavud.services.feeds import Feed, Feeder, nobody_listens
from dejavud.wire.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractContextManager

ME, YOU = b"me", b"you"


class Kitchen:
    """A listener that takes sound only when a test does."""

    def __init__(self) -> None:
        self.feed = Feed("kitchen", PcmFormat("s16le", 8000, 1))
        self.feeder: Feeder | None = None

    def feeding(self, name: str) -> AbstractContextManager[Feeder]:
        """Stand for `Listeners.feeding`."""
        return self.feed.feeding() if name == "kitchen" else nobody_listens(name)

    async def take(self) -> bytes:
        """Take the next piece, as a worker would."""
        return await (await self.feed.next_feeder())._out.receive()


@asynccontextmanager
async def opened(idle_s: float = 60.0) -> AsyncIterator[tuple[ControlFeeds, Kitchen, str]]:
    """Give feeds, the listener behind them, and the id of one that is open."""
    kitchen = Kitchen()
    async with trio.open_nursery() as nursery:
        feeds = ControlFeeds(kitchen.feeding, max_of_one=2, idle_s=idle_s, holders=nursery)
        answer = await feeds.call(ME, "feed.open", {"listener": "kitchen"}, None)
        assert {key: answer[key] for key in ("encoding", "rate_hz", "n_channels", "chunk_bytes")} == {
            "encoding": "s16le",
            "rate_hz": 8000,
            "n_channels": 1,
            "chunk_bytes": CHUNK_BYTES,
        }
        yield feeds, kitchen, answer["feed"]
        nursery.cancel_scope.cancel()


async def test_the_reply_to_a_piece_is_the_credit_for_the_next(autojump_clock: trio.testing.MockClock) -> None:
    """An append is answered when the listener has taken it, not before; pieces are taken in the order they came."""
    assert autojump_clock
    answers: list[float] = []
    async with opened() as (feeds, kitchen, feed), trio.open_nursery() as nursery:

        async def append(data: bytes) -> None:
            answers.append((await feeds.call(ME, "feed.append", {"feed": feed}, data))["heard_s"])

        for n in range(3):
            nursery.start_soon(append, bytes([n]) * 16000)
            await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        assert [await kitchen.take() for _ in range(2)] == [bytes(16000), b"\1" * 16000]
        await trio.testing.wait_all_tasks_blocked()
        assert answers == [1.0, 2.0]
        await kitchen.take()
    assert answers == [1.0, 2.0, 3.0]


async def test_who_does_not_wait_for_replies_is_told_that_it_is_too_much() -> None:
    """Only so many pieces may wait; the rest is `busy`, and those that wait are still taken."""
    async with opened() as (feeds, kitchen, feed), trio.open_nursery() as nursery:
        for _ in range(MAX_WAITING + 1):
            nursery.start_soon(feeds.call, ME, "feed.append", {"feed": feed}, bytes(100))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy, match="wait for their replies"):
            await feeds.call(ME, "feed.append", {"feed": feed}, bytes(100))
        for _ in range(MAX_WAITING + 1):
            await kitchen.take()


async def test_a_feed_is_its_clients_own_and_there_is_one_at_a_time() -> None:
    """Another client's feed, one that was closed, a listener that is none, a piece that is none or too large: each is refused."""
    async with opened() as (feeds, _, feed):
        for identity, method, params, data, error in [
            (YOU, "feed.append", {"feed": feed}, bytes(2), InvalidRequest),
            (ME, "feed.append", {"feed": "another"}, bytes(2), InvalidRequest),
            (ME, "feed.append", {"feed": feed}, None, InvalidRequest),
            (ME, "feed.append", {"feed": feed}, b"", InvalidRequest),
            (ME, "feed.append", {"feed": feed}, bytes(CHUNK_BYTES + 1), TooLarge),
            (YOU, "feed.open", {"listener": "kitchen"}, None, Busy),
            (YOU, "feed.open", {"listener": "cellar"}, None, ListenerNotFound),
            (YOU, "feed.open", {"name": "kitchen"}, None, InvalidRequest),
        ]:
            with pytest.raises(error):
                await feeds.call(identity, method, params, data)  # type: ignore[arg-type]
        assert await feeds.call(ME, "feed.close", {"feed": feed}, None) == {"heard_s": 0.0}
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(InvalidRequest, match="no open feed"):
            await feeds.call(ME, "feed.append", {"feed": feed}, bytes(2))
        assert (await feeds.call(YOU, "feed.open", {"listener": "kitchen"}, None))["feed"] != feed


async def test_who_is_gone_holds_nobody_up(autojump_clock: trio.testing.MockClock) -> None:
    """A feed without a piece is over after a while; one that the listener gave up says why with the next piece, and is soon forgotten."""
    assert autojump_clock
    stalled = SourceStalled(source="kitchen", reason="nothing has come")
    async with opened(idle_s=30.0) as (feeds, kitchen, _):
        await trio.sleep(31)
        second = (await feeds.call(YOU, "feed.open", {"listener": "kitchen"}, None))["feed"]
        (await kitchen.feed.next_feeder()).refuse(stalled)
        with pytest.raises(SourceStalled):
            await feeds.call(YOU, "feed.append", {"feed": second}, bytes(2))
        await trio.testing.wait_all_tasks_blocked()
        third = (await feeds.call(ME, "feed.open", {"listener": "kitchen"}, None))["feed"]
        (await kitchen.feed.next_feeder()).refuse(stalled)
        await trio.sleep(11)
        with pytest.raises(InvalidRequest, match="no open feed"):
            await feeds.call(ME, "feed.append", {"feed": third}, bytes(2))


async def test_a_feed_without_a_listener_is_heard_by_a_command() -> None:
    """It hears the pieces in order and their end; the reply to a piece says that it was taken, and whether more is wanted."""
    async with opened() as (feeds, _, _), trio.open_nursery() as nursery:
        opening = await feeds.call(ME, "feed.open", {}, None)
        assert opening.keys() == {"feed", "chunk_bytes"}
        feed = {"feed": opening["feed"]}
        answers: list[dict[str, object]] = []

        async def append(data: bytes) -> None:
            answers.append(await feeds.call(ME, "feed.append", feed, data))

        nursery.start_soon(append, b"one")
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        heard = []
        with feeds.taken(ME, feed["feed"]) as stream:
            pieces = aiter(stream)
            heard.append(await anext(pieces))
            with pytest.raises(InvalidRequest, match="open another"), feeds.taken(ME, feed["feed"]):
                pass
            nursery.start_soon(append, b"two")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(feeds.call, ME, "feed.close", feed, None)
            heard += [piece async for piece in pieces]
        assert heard == [b"one", b"two"]
        assert answers == [{"received_bytes": n, "wanted": True} for n in (3, 6)]


async def test_what_comes_after_a_command_has_its_answer_is_thrown_away() -> None:
    """The sender is told so by each reply, and waits for nobody."""
    async with opened() as (feeds, _, _):
        feed = {"feed": (await feeds.call(ME, "feed.open", {}, None))["feed"]}
        with feeds.taken(ME, feed["feed"]):
            pass
        for _ in range(3):
            assert (await feeds.call(ME, "feed.append", feed, b"more"))["wanted"] is False
        assert (await feeds.call(ME, "feed.close", feed, None))["wanted"] is False


async def test_a_feed_that_no_command_hears_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Its sender does not wait for ever, holds no more than its own, and another client's command does not get it."""
    assert autojump_clock
    async with opened(idle_s=30.0) as (feeds, _, to_listener):
        feed = {"feed": (await feeds.call(ME, "feed.open", {}, None))["feed"]}
        await feeds.call(ME, "feed.open", {}, None)
        with pytest.raises(Busy):
            await feeds.call(ME, "feed.open", {}, None)
        for owner, one in ((YOU, feed["feed"]), (ME, to_listener), (ME, 7)):
            with pytest.raises(InvalidRequest), feeds.taken(owner, one):
                pass
        started = trio.current_time()
        assert (await feeds.call(ME, "feed.append", feed, b"one"))["wanted"] is False
        assert trio.current_time() - started == 30
        with pytest.raises(InvalidRequest, match="no open feed"):
            await feeds.call(ME, "feed.append", feed, b"two")
