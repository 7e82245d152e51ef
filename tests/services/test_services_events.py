"""The event hub: numbers, the ring, replay, and what is said of what was lost."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
import trio

from dejavud.errors import InvalidRequest
from dejavud.services.commands import Call, parse_params
from dejavud.services.event_handlers import EventHandlers, Replay, Topics
from dejavud.services.events import EventHub
from dejavud.wire.codec import decode

if TYPE_CHECKING:
    from dejavud.services.events import Subscription


def filled(n_events: int, **keep: int) -> EventHub:
    """Return a hub that has published so many events, every third of them a match."""
    hub = EventHub(**keep)
    for number in range(1, n_events + 1):
        hub.publish("match.started" if number % 3 == 0 else "track.added", {"number": number})
    return hub


def taken(subscription: Subscription) -> list[tuple[int | None, int]]:
    """Return the numbers and losses of what is queued."""
    return [(delivery.event.seq, delivery.lost) for delivery in subscription.queued()]


async def replay(hub: EventHub, **params: object) -> dict[str, Any]:
    """Return what ``events.replay`` answers."""
    (_, kind, handler), *_ = EventHandlers(hub).rows()
    return await handler(parse_params(kind, params), Call())


def test_an_event_says_its_version_and_whose_number_it_has() -> None:
    """The JSON has the form's version, the daemon's id, topic, number, time and data; another life has another id."""
    hub = EventHub()
    event = hub.publish("track.added", {"title": "Två"})
    assert event is not None
    body = decode(event.body)
    assert list(body) == ["version", "daemon", "topic", "seq", "time", "data"]
    assert (body["version"], body["daemon"], body["seq"], body["data"]) == (1, hub.daemon, 1, {"title": "Två"})
    assert EventHub().daemon != hub.daemon


def test_a_subscription_begins_now_or_after_a_number() -> None:
    """Without a number nothing of before is delivered; with one all that came after it, and then what comes."""
    hub = filled(9)
    with hub.subscribe() as from_now, hub.subscribe(after=7) as from_then, hub.subscribe("match.", after=0) as matches:
        hub.publish("match.ended", {})
        assert taken(from_now) == [(10, 0)]
        assert taken(from_then) == [(8, 0), (9, 0), (10, 0)]
        assert taken(matches) == [(3, 0), (6, 0), (9, 0), (10, 0)]


def test_what_is_no_longer_kept_is_told_with_the_first_delivery() -> None:
    """Of a replay that begins before the ring, the first delivery counts what is gone, and the JSON says it."""
    hub = filled(30, keep=10)
    with hub.subscribe(after=5) as subscription:
        assert subscription.lost == 15
        first, *rest = subscription.queued()
    assert (first.event.seq, decode(first.body)["lost"]) == (21, 15)
    assert [delivery.event.seq for delivery in rest] == list(range(22, 31))
    assert all("lost" not in decode(delivery.body) for delivery in rest)


def test_only_wanted_events_count_as_lost() -> None:
    """A subscriber that waits for its topic loses nothing while others pass by, and one that is slow only what it asked for."""
    hub = EventHub(keep=4)
    with hub.subscribe("match.") as idle, hub.subscribe("match.") as slow, hub.subscribe() as all_of_it:
        hub.publish("match.started", {})
        assert taken(idle) == [(1, 0)]
        for _ in range(20):
            hub.publish("track.added", {})
        hub.publish("match.ended", {})
        assert taken(idle) == [(22, 0)]
        assert taken(slow) == [(22, 1)]
        assert taken(all_of_it)[0] == (19, 18)


def test_the_ring_is_bounded_in_bytes() -> None:
    """Large events push out more small ones, and one that is larger than all there may be still arrives."""
    hub = EventHub(keep_bytes=2000)
    with hub.subscribe() as subscription:
        for _ in range(30):
            hub.publish("track.added", {"ballast": "x" * 300})
        assert len(taken(subscription)) == 4
        hub.publish("track.added", {"ballast": "x" * 5000})
        assert taken(subscription) == [(31, 0)]


def test_a_number_of_another_life_is_before_all_of_this_one() -> None:
    """Another daemon's id, or a number that this one has not reached, gives all that there is."""
    hub = filled(5)
    for asked in ({"after": 3, "daemon": "0123"}, {"after": 99}):
        with hub.subscribe(**asked) as subscription:  # type: ignore[arg-type]
            assert [seq for seq, _ in taken(subscription)] == [1, 2, 3, 4, 5]
    with hub.subscribe(after=3, daemon=hub.daemon) as subscription:
        assert [seq for seq, _ in taken(subscription)] == [4, 5]


async def test_replay_and_live_meet_without_a_gap_or_a_double() -> None:
    """Subscribers that begin anywhere while events are published get each number after theirs exactly once, in order."""
    hub, n_events = filled(500), 3000
    seen: dict[int, list[int]] = {}

    async def follow(after: int) -> None:
        numbers = seen[after] = []
        with hub.subscribe(after=after) as subscription:
            async for delivery in subscription:
                assert (delivery.lost, delivery.event.seq) == (0, after + len(numbers) + 1)
                numbers.append(delivery.event.seq or 0)
                if delivery.event.seq == n_events:
                    return

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            while hub.seq < n_events:
                if hub.seq % 100 == 0:
                    nursery.start_soon(follow, hub.seq - 500)
                hub.publish("track.added", {})
                await trio.lowlevel.checkpoint()
    assert len(seen) == 25
    assert all(numbers == list(range(after + 1, n_events + 1)) for after, numbers in seen.items())


async def test_a_slow_subscriber_delays_nobody_and_is_told() -> None:
    """One that stops reading is told how many it missed; another, beside it, gets every one at once."""
    hub = EventHub(keep=50)
    with hub.subscribe() as slow, hub.subscribe() as quick:
        for number in range(1, 201):
            hub.publish("track.added", {})
            assert taken(quick) == [(number, 0)]
        assert taken(slow)[0] == (151, 150)


async def test_transient_events_go_to_those_who_ask_for_them_by_name_and_are_not_kept() -> None:
    """No number, no replay, the newest of each thing only, and no other event is lost for them."""
    hub = EventHub(keep=5)
    assert not hub.is_wanted("meter.listener")
    with hub.subscribe() as plain, hub.subscribe("m") as short, hub.subscribe("meter.", "track.") as meter:
        assert hub.is_wanted("meter.listener")
        hub.publish("track.added", {})
        for level_db in range(1000):
            hub.publish_transient("meter.listener", {"level_db": level_db}, of="radio")
            hub.publish_transient("meter.listener", {"level_db": -level_db}, of="bar")
        assert taken(plain) == [(1, 0)]
        assert taken(short) == []
        track, *levels = meter.queued()
        assert (track.event.seq, track.lost) == (1, 0)
        assert [delivery.event.data["level_db"] for delivery in levels] == [999, -999]
        assert "seq" not in decode(levels[0].body)
    with hub.subscribe("meter.", after=0) as late:
        assert taken(late) == []
    assert hub.seq == 1


async def test_transient_events_of_many_things_are_bounded() -> None:
    """A subscriber that reads nothing holds a few levels, whatever is shown to it."""
    hub = EventHub()
    with hub.subscribe("meter.") as meter:
        for number in range(10_000):
            hub.publish_transient("meter.listener", {"number": number}, of=str(number))
        assert [delivery.event.data["number"] for delivery in meter.queued()] == list(range(10_000 - 64, 10_000))


@pytest.mark.parametrize("data", [{"score": float("nan")}, {"what": object()}])
def test_an_event_that_is_no_json_costs_itself_only(data: dict[str, object]) -> None:
    """It takes no number, and the next one arrives."""
    hub = EventHub()
    with hub.subscribe() as subscription:
        assert hub.publish("track.added", data) is None
        hub.publish("track.removed", {})
        assert taken(subscription) == [(1, 0)]


def test_names_that_are_no_utf8_are_told_all_the_same() -> None:
    """Half a character, as a file's name may hold, leaves as UTF-8 that gives it back."""
    hub = EventHub()
    event = hub.publish("track.added", {"path": "/music/\udce4.mp3"})
    assert event is not None
    assert decode(event.body.decode().encode())["data"]["path"] == "/music/\udce4.mp3"


async def test_replay_pages_through_what_is_kept() -> None:
    """Pages of `limit` joined by `next` are all events of the topics, and the first says how many are gone."""
    hub = filled(100, keep=40)
    numbers, after, losses = [], 10, []
    while True:
        page = await replay(hub, after=after, topics=["match."], daemon=hub.daemon, limit=5)
        numbers += [event["seq"] for event in page["events"]]
        losses.append(page["lost"])
        if page["next"] is None:
            break
        after = page["next"]
    assert numbers == list(range(63, 100, 3))
    assert losses == [50, 0, 0]
    assert (page["daemon"], page["seq"]) == (hub.daemon, 100)


@pytest.mark.parametrize(
    "params",
    [
        {"after": -1},
        {"after": True},
        {"after": "7"},
        {"limit": 0},
        {"limit": 100_000},
        {"topics": "match."},
        {"topics": ["x"] * 33},
        {"topics": ["x" * 65]},
        {"topics": [1]},
        {"daemon": 7},
        {"since": 7},
    ],
)
async def test_what_cannot_be_asked_for_is_refused(params: dict[str, object]) -> None:
    """Numbers, topics and limits outside their range or type are `invalid_request`."""
    for kind in (Replay, Topics):
        if params.keys() <= {"after", "topics", "daemon", "since"} or kind is Replay:
            with pytest.raises(InvalidRequest):
                parse_params(kind, params)


def test_subscribers_cost_little_memory() -> None:
    """A thousand subscribers that never read hold no events of their own: one ring serves them all."""
    import tracemalloc  # noqa: PLC0415 - slows down what it watches

    hub = EventHub(keep=1000)
    subscribing = [hub.subscribe() for _ in range(1000)]
    tracemalloc.start()
    try:
        for each in subscribing:
            each.__enter__()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(1500):
            hub.publish("track.added", {"number": number})
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        for each in subscribing:
            each.__exit__(None, None, None)
    assert before < 4 << 20
    assert after - before < 2 << 20


def test_taking_part_of_what_is_queued_keeps_the_rest() -> None:
    """What a subscriber has not taken yet is still there."""
    hub = filled(10)
    with hub.subscribe(after=0) as subscription:
        assert subscription.n_queued == 10
        assert [delivery.event.seq for delivery in islice(subscription.queued(), 4)] == [1, 2, 3, 4]
        assert subscription.n_queued == 6
        assert [seq for seq, _ in taken(subscription)] == [5, 6, 7, 8, 9, 10]
