"""Webhooks: each event is posted as JSON, in order, signed, and tried again until it arrives or is too old.

Signatures are those of Standard Webhooks 1.0 (https://www.standardwebhooks.com): HMAC-SHA256 over ``ID.TIMESTAMP.BODY``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import random
import ssl
import time
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import structlog
import trio

from dejavud import __version__
from dejavud.hooks.base import Figures, HookEnded, HookFailed, printable
from dejavud.hooks.settings import secret_bytes, shown_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dejavud.hooks.settings import HookSettings, Webhook
    from dejavud.services.events import Delivery, Event, EventHub, Subscription

log = structlog.get_logger(__name__)

FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 300.0
"""Before the second try, doubled with each that follows."""
MAX_TOLD_PAUSE_S = 3600.0
"""What a receiver may ask for by Retry-After."""
MAX_TRIES = 30
"""For one event: what is refused for itself, and not because the receiver is away, does not hold up the others for longer than an hour or two."""
MAX_ANSWER_BYTES = 4096
"""Of an answer's body, so that its connection can be used again; what says it is longer, or not how long, is not read."""
GRACE_S = 2.0
"""For the last events, when the daemon stops."""

_GONE = 410


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one try.

    status : of HTTP; None where nothing was answered.
    said : for a person.
    retry_after_s : how long the receiver asks to be left alone; None where it does not.
    """

    status: int | None
    said: str
    retry_after_s: float | None = None

    @property
    def is_taken(self) -> bool:
        """Tell whether the receiver has the event."""
        return self.status is not None and httpx.codes.is_success(self.status)


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the header ``webhook-signature`` of a message."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), signed, hashlib.sha256)).decode()


class WebhookHook:
    """One webhook: see `dejavud.hooks.base.Hook`."""

    kind = "webhook"

    def __init__(self, webhook: Webhook, hub: EventHub, settings: HookSettings) -> None:
        self.name = webhook.called
        self.target = shown_url(webhook.url)
        self.figures = Figures()
        self._webhook = webhook
        self._hub = hub
        self._settings = settings
        self._subscription: Subscription | None = None
        self._current: Delivery | None = None
        self._n_given_up = 0
        self._pause_s = FIRST_PAUSE_S
        self._not_before = -float("inf")
        self._done: int | None = None
        self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # in nobody, as http asks for none
        if urlsplit(webhook.url).scheme == "https":
            self._trust.load_default_certs()  # 50 ms: once, while the daemon starts

    @property
    def n_waiting(self) -> int:
        """Return how many events wait, the one that is being tried among them."""
        queued = 0 if self._subscription is None else self._subscription.n_queued
        return queued + (self._current is not None)

    async def run(self) -> None:
        """Post events until cancelled; raises `HookEnded` where the receiver is gone for good."""
        with self._hub.subscribe(*self._webhook.prefixes, after=self._done) as subscription:
            self._subscription = subscription
            async with self._client() as client:
                self.figures.state = "ready"
                try:
                    async for delivery in subscription:
                        self._current = delivery
                        await self._deliver(client, delivery)
                        self._current, self._done = None, delivery.event.seq
                except trio.Cancelled:
                    with trio.CancelScope(shield=True), trio.move_on_after(GRACE_S):
                        await self._say_last_words(client)
                    raise
                finally:
                    self._subscription = self._current = None

    async def test(self, sample: Event) -> str:
        """Post a sample, once; it goes before those that wait."""
        async with self._client() as client:
            started = trio.current_time()
            answer = await self._post(client, f"msg_test_{uuid.uuid4().hex}", sample.body)
            elapsed_ms = round((trio.current_time() - started) * 1000)
        if not answer.is_taken:
            raise HookFailed(answer.said)
        signed = "signed" if self._webhook.secret else "not signed: it has no secret"
        return f"{answer.said} after {elapsed_ms} ms ({signed})"

    async def _deliver(self, client: httpx.AsyncClient, delivery: Delivery) -> None:
        """Have the receiver take an event, or give it up."""
        lost = delivery.lost + self._n_given_up
        self.figures.n_lost += delivery.lost
        body = delivery.event.told(lost)
        for n_tries in itertools.count(1):
            await trio.sleep_until(self._not_before)
            answer = await self._post(client, self._message_id(delivery.event), body)
            if answer.is_taken:
                self._taken()
                return
            if answer.status == _GONE:
                raise HookEnded(answer.said)
            pause_s = self._put_off(answer)
            age_s = (datetime.now(UTC) - delivery.event.time).total_seconds()
            if n_tries >= MAX_TRIES or age_s + pause_s > self._settings.webhook_max_age_s:
                self._give_up(answer.said)
                return

    def _message_id(self, event: Event) -> str:
        """Return what tells a receiver that it has had an event before: the same with each try, and with no other event."""
        return f"msg_{self._hub.daemon}_{event.seq}"

    async def _post(self, client: httpx.AsyncClient, message_id: str, body: bytes) -> Answer:
        timestamp_s = int(time.time())
        headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp_s)}
        if self._webhook.secret:
            headers["webhook-signature"] = signature(self._webhook.secret, message_id, timestamp_s, body)
        try:
            with trio.fail_after(self._settings.webhook_timeout_s):
                async with client.stream("POST", self._webhook.url, content=body, headers=headers) as response:
                    answer = _answer(response)
                    await _finish(response)
                    return answer
        except trio.TooSlowError:
            return Answer(None, f"no answer within {self._settings.webhook_timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, printable(f"{type(error).__name__}: {_reason(error)}"))

    def _taken(self) -> None:
        self.figures.n_delivered += 1
        self.figures.state, self.figures.next_try_at = "ready", None
        self._n_given_up = 0
        self._pause_s, self._not_before = FIRST_PAUSE_S, -float("inf")

    def _put_off(self, answer: Answer) -> float:
        """Note a failure, and return in how many seconds the next try is; the receiver's word counts where it asks for longer."""
        pause_s = self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311 - so that many do not come at once
        if answer.retry_after_s is not None:
            pause_s = max(pause_s, min(answer.retry_after_s, MAX_TOLD_PAUSE_S))
        self._pause_s = min(2 * self._pause_s, MAX_PAUSE_S)
        self._not_before = trio.current_time() + pause_s
        now = datetime.now(UTC)
        if self.figures.state != "retrying":
            log.warning("webhook_failed", hook=self.name, target=self.target, reason=answer.said)
        self.figures.state, self.figures.next_try_at = "retrying", now + timedelta(seconds=pause_s)
        self.figures.last_error, self.figures.last_error_at = answer.said, now
        return pause_s

    def _give_up(self, reason: str) -> None:
        """Let the current event go; the next one tells of it in its ``lost``."""
        self.figures.n_failed += 1
        self._n_given_up += 1
        log.warning("webhook_event_given_up", hook=self.name, target=self.target, reason=reason)

    async def _say_last_words(self, client: httpx.AsyncClient) -> None:
        """Post what waits, each once, until one is not taken."""
        subscription = self._subscription
        waiting = [] if self._current is None else [self._current]
        waiting += [] if subscription is None else list(subscription.queued())
        for n_posted, delivery in enumerate(waiting):
            body = delivery.event.told(delivery.lost + self._n_given_up)
            if not (await self._post(client, self._message_id(delivery.event), body)).is_taken:
                log.warning("webhook_events_undelivered", hook=self.name, n_events=len(waiting) - n_posted)
                return
            self._taken()

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client that follows nothing and takes nothing from the environment."""
        async with httpx.AsyncClient(
            verify=self._trust,
            timeout=None,  # the deadline of a try is for all of it  # noqa: S113
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=30.0),
            headers={
                "content-type": "application/json",
                "user-agent": f"dejavud/{__version__}",
                "accept-encoding": "identity",
            },
        ) as client:
            yield client


def _reason(error: BaseException) -> str:
    """Return what the system said of a failure, where it did: the client's own words are often empty."""
    said, cause = str(error), error.__cause__ or error.__context__
    while cause is not None:
        said = (isinstance(cause, OSError) and str(cause)) or said or str(cause)
        cause = cause.__cause__ or cause.__context__
    return said


def _answer(response: httpx.Response) -> Answer:
    said = printable(f"HTTP {response.status_code} {response.reason_phrase}")
    if response.has_redirect_location:
        said += f", which leads to {_shown_location(response)}: redirects are not followed"
    return Answer(response.status_code, said, _retry_after_s(response.headers.get("retry-after", "")))


def _shown_location(response: httpx.Response) -> str:
    with suppress(ValueError):
        return printable(shown_url(str(response.url.join(response.headers["location"]))))
    return "somewhere else"


async def _finish(response: httpx.Response) -> None:
    """Read the body of an answer that says it is short; the answer stands, whatever becomes of it."""
    length = response.headers.get("content-length", "")
    if not length.isascii() or not length.isdecimal() or int(length[:10]) > MAX_ANSWER_BYTES:
        return
    with suppress(httpx.HTTPError), trio.move_on_after(1.0):
        async for _ in response.aiter_raw():
            pass


def _retry_after_s(header: str) -> float | None:
    """Return the seconds of a header ``Retry-After``, which has a number or a date; None where it says neither."""
    if header.isascii() and header.isdecimal():
        return float(header[:9])
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
