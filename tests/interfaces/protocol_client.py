"""A client of dejavud made from docs/protocol.md alone: the standard library, pyzmq, and nothing of dejavud's.

Names in quotes are the page's.  It is what somebody would write in another language, and so it is written down here as plainly as it goes.
"""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

ANSWER_S = 30.0


class Refused(Exception):
    """The daemon answered with an error.  code, number: the page's two names of it."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.number = error["code"]
        self.code, self.details = error["data"]["code"], error["data"]["details"]


class Silent(Exception):
    """Nobody answers, or not to us."""


def connected(kind: int, endpoint: str, key: dict[str, str] | None) -> zmq.Socket[bytes]:
    """Return a socket of "ipc" or, by the keys of a file, of "tcp"."""
    socket = zmq.Context.instance().socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    if key is not None:
        socket.curve_serverkey = key["server_key"].encode()
        socket.curve_publickey, socket.curve_secretkey = key["public_key"].encode(), key["secret_key"].encode()
    socket.connect(endpoint)
    return socket


def read_key(path: str) -> dict[str, str]:
    """Return what `dejavuctl keys add` printed."""
    return tomllib.loads(Path(path).read_text(encoding="utf-8"))


class Control:
    """The control socket: requests by "id", replies as they come, in any order."""

    def __init__(self, endpoint: str, key: dict[str, str] | None = None, token: str | None = None) -> None:
        self._socket = connected(zmq.DEALER, endpoint, key)
        self._token = token
        self._last_id = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self.progress: dict[int, list[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, method: str, params: dict[str, Any] | None = None, audio: bytes | None = None) -> int:
        """Send a request, with audio as second frame, and return its id."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        if self._token is not None:
            request["token"] = self._token
        frames = [json.dumps(request).encode()]
        self._socket.send_multipart(frames if audio is None else [*frames, audio])
        return self._last_id

    def wait(self, request_id: int, answer_s: float = ANSWER_S) -> dict[str, Any]:
        """Return the result of a request; raises `Refused` and `Silent`."""
        deadline = time.monotonic() + answer_s
        while request_id not in self._replies:
            self._receive(deadline)
        reply = self._replies.pop(request_id)
        if "error" in reply:
            raise Refused(reply["error"])
        result: dict[str, Any] = reply["result"]
        return result

    def _receive(self, deadline: float) -> None:
        if not self._socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
            raise Silent
        (frame,) = self._socket.recv_multipart()
        message = json.loads(frame)
        if message.get("method") == "progress":
            figures = message["params"]
            self.progress.setdefault(figures.pop("id"), []).append(figures)
        else:
            self._replies[message["id"]] = message

    def wait_for_progress(self, request_id: int) -> dict[str, Any]:
        """Return the first that is told of how far a request is."""
        deadline = time.monotonic() + ANSWER_S
        while not self.progress.get(request_id):
            self._receive(deadline)
        return self.progress[request_id][0]

    def call(self, method: str, audio: bytes | None = None, **params: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
        """Return the result of a command."""
        return self.wait(self.send(method, params, audio))

    def cancel(self, request_id: int) -> bool:
        """Take a request back, and return whether it was in work."""
        return bool(self.call("cancel", id=request_id)["cancelled"])

    def upload(self, name: str, data: bytes) -> str:
        """Send audio of any length before the command that it is for, and return what that names it by."""
        opened = self.call("upload.open", name=name, size_bytes=len(data))
        for first in range(0, len(data), opened["chunk_bytes"]):
            self.call("upload.append", data[first : first + opened["chunk_bytes"]], upload=opened["upload"])
        return str(opened["upload"])

    def feed(self, listener: str, pieces: list[bytes]) -> float:
        """Send sound to a listener, a few pieces ahead of their replies, and return how much it heard."""
        feed = self.call("feed.open", listener=listener)["feed"]
        sent = []
        for piece in pieces:
            sent.append(self.send("feed.append", {"feed": feed}, piece))
            if len(sent) > 4:  # fewer than the 8 beyond which comes "busy"
                self.wait(sent.pop(0))
        for request_id in sent:
            self.wait(request_id)
        return float(self.call("feed.close", feed=feed)["heard_s"])

    def recognize_live(self, pcm: str, pieces: list[bytes]) -> dict[str, Any]:
        """Have sound recognized while it is sent; what comes after the answer is not sent."""
        feed = self.call("feed.open")["feed"]
        asked = self.send("recognize", {"feed": feed, "pcm": pcm})
        for piece in pieces:
            if not self.call("feed.append", piece, feed=feed)["wanted"]:
                break
        self.call("feed.close", feed=feed)
        return self.wait(asked)


class Events:
    """Events from a place on: those that the control socket replays, then those that come, each once and in order.

    place : "daemon" and "seq" of the last one that is known.
    lost : how many were dropped, as far as the daemon has told.
    """

    def __init__(
        self, control: Control, endpoint: str, topics: list[str], after: int = 0, key: dict[str, str] | None = None
    ) -> None:
        self._control, self._topics = control, topics
        self._socket = connected(zmq.SUB, endpoint, key)
        for topic in topics or [""]:
            self._socket.subscribe(topic)
        self.daemon: str | None = None
        self.seq, self.lost = after, 0

    def close(self) -> None:
        """Subscribe no more."""
        self._socket.close()

    def replayed(self) -> Iterator[dict[str, Any]]:
        """Yield what is kept after the last one known."""
        after: int | None = self.seq
        while after is not None:
            asked = {"after": after, "topics": self._topics, "limit": 2}  # pages as small as this test's daemon needs
            page = self._control.call("events.replay", **asked, **({"daemon": self.daemon} if self.daemon else {}))
            self.lost += page["lost"]
            self.daemon = page["daemon"]
            for event in page["events"]:
                yield self._known(event)
            after = page["next"]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield events; raises `Silent` where none comes for long."""
        yield from self.replayed()
        is_first = True
        while True:
            event = self._next()
            if is_first and "seq" in event:  # "a subscription takes effect a moment after it was made": ask once more
                is_first = False
                yield from self.replayed()
            elif event.get("daemon") != self.daemon or event["seq"] > self.seq:
                yield self._known(event)

    def _next(self) -> dict[str, Any]:
        if not self._socket.poll(int(ANSWER_S * 1000)):
            raise Silent
        topic, body = self._socket.recv_multipart()
        event: dict[str, Any] = json.loads(body)
        if event["topic"] != topic.decode() or event["version"] != 1:
            raise ValueError(event)
        return event

    def _known(self, event: dict[str, Any]) -> dict[str, Any]:
        self.lost += event.get("lost", 0)
        self.daemon, self.seq = event["daemon"], event["seq"]
        return event
