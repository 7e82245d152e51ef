"""A daemon that speaks the real protocol on a real socket and answers from a table: the client's tests decide what it says."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import zmq

from dejavud.errors import DejavudError, UnknownCommand
from dejavud.wire.messages import Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Answer = Callable[["Asked"], dict[str, Any] | None]

CHUNK_BYTES = 1000

STATUS = {
    "version": "0.1.0",
    "uptime_s": 7384.2,
    "n_tracks": 402,
    "n_postings": 3903221,
    "duration_s": 79440.0,
    "index": {"url": "duckdb:///var/lib/dejavud/index.duckdb", "size_bytes": 17_200_000},
    "engine": {"profile": "landmark-2", "params": "3f2a9c01"},
    "workers": {"n_processes": 2, "n_busy": 1, "n_waiting": 0, "n_died": 0, "n_streams": 1},
    "microphone": {"available": False, "reason": "PyAudio is not installed"},
    "endpoints": {"control": "ipc:///run/dejavud/control.sock", "http": ["http://127.0.0.1:4141"]},
    "queries": {"n_matched": 12, "n_unmatched": 3, "n_failed": 0},
}


def track(track_id: int = 7, **changes: object) -> dict[str, Any]:
    """Return a track as the daemon shows it."""
    return {
        "id": track_id,
        "title": f"Song {track_id}",
        "artist": "Somebody",
        "album": None,
        "path": f"/music/{track_id}.ogg",
        "file_sha1": f"{track_id:040x}",
        "duration_s": 219.4,
        "n_peaks": 7000,
        "n_hashes": 20000,
        "added_at": "2026-01-02T03:04:05+00:00",
        "disabled": False,
        **changes,
    }


def recognition(source: str, *track_ids: int) -> dict[str, Any]:
    """Return a recognition as the daemon shows it."""
    return {
        "query": {"source": source, "duration_s": 5.0, "n_hashes": 812},
        "matches": [
            {
                "track": track(track_id),
                "confidence": 0.99996,
                "score": 57.0,
                "query_start_s": 0.0,
                "query_end_s": 5.0,
                "track_start_s": 63.42,
                "track_end_s": 68.42,
                "speed": 1.0,
                "pitch": 1.0,
                "coverage": 0.93,
                "gaps": [],
                "twins": [],
            }
            for track_id in track_ids
        ],
        "timings": {"decode_ms": 12.1, "fingerprint_ms": 8.0, "lookup_ms": 4.0, "match_ms": 2.0, "total_ms": 27.4},
        "engine": {"profile": "landmark-2", "params": "3f2a9c01"},
    }


@dataclass(slots=True)
class Asked:
    """One request as the daemon got it; its answer may be given at once, later, or never."""

    daemon: FakeDaemon
    peer: bytes
    request: Request
    audio: bytes | None

    @property
    def params(self) -> dict[str, Any]:
        """The request's parameters."""
        return self.request.params

    def reply(self, result: dict[str, Any]) -> None:
        """Answer."""
        self.daemon.send(self.peer, Reply(self.request.id, result))

    def fail(self, error: DejavudError) -> None:
        """Answer with an error."""
        self.daemon.send(self.peer, Reply.of_error(self.request.id, error))

    def progress(self, **figures: float) -> None:
        """Tell how far it is."""
        self.daemon.send(self.peer, Reply(self.request.id, progress=figures))


@dataclass(slots=True)
class FakeDaemon:
    """Serves in a thread from `__enter__` to `__exit__`.

    table : what answers each method: a function that returns the result, raises a `DejavudError`, or returns None to
        answer later through `Asked.reply`.
    asked : every request, in order of arrival.
    uploads : what was sent in chunks, by upload.
    server_key : over tcp, where anybody's key will do.
    """

    endpoint: str
    server_key: str = ""
    table: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    uploads: dict[str, bytes] = field(default_factory=dict)
    cancelled: queue.Queue[Any] = field(default_factory=queue.Queue)
    discarded: queue.Queue[str] = field(default_factory=queue.Queue)
    _thread: threading.Thread | None = None
    _context: zmq.Context[zmq.Socket[bytes]] = field(default_factory=zmq.Context)
    _router: zmq.Socket[bytes] | None = None
    _stop: zmq.Socket[bytes] | None = None
    _dead: bool = False

    def __enter__(self) -> Self:
        self._router = self._context.socket(zmq.ROUTER)
        if self.endpoint.startswith("tcp://"):
            public, self._router.curve_secretkey = zmq.curve_keypair()
            self._router.curve_server, self.server_key = True, public.decode()
        self._router.bind(self.endpoint)
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT)
        self._stop = self._context.socket(zmq.PAIR)
        self._stop.bind("inproc://stop")
        defaults: Mapping[str, Answer] = {
            "status": lambda _: dict(STATUS),
            "cancel": self._cancel,
            "upload.open": self._open,
            "upload.append": self._append,
            "upload.discard": self._discard,
        }
        self.table = {**defaults, **self.table}
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._stop is not None
        assert self._thread is not None
        self._stop.send(b"")
        self._thread.join()
        self._stop.close()
        self._context.destroy(linger=0)

    def methods(self) -> list[str]:
        """Return what was asked, in order, without the status that precedes a long run."""
        return [asked.request.method for asked in self.asked if asked.request.method != "status"]

    def die(self, *, linger_ms: int = 0) -> None:
        """Close the socket as a killed process would, or, with time to linger, as one that ends in order.  For answers only."""
        assert self._router is not None
        self._dead = True
        self._router.close(linger=linger_ms)

    def send(self, peer: bytes, reply: Reply) -> None:
        """Send a reply.  For answers only: they run in the thread that owns the socket."""
        self.send_raw(peer, reply.to_bytes())

    def send_raw(self, peer: bytes, frame: bytes) -> None:
        """Send any bytes."""
        assert self._router is not None
        self._router.send_multipart([peer, frame])

    def _serve(self) -> None:
        assert self._router is not None
        stop = self._context.socket(zmq.PAIR)
        stop.connect("inproc://stop")
        poller = zmq.Poller()
        poller.register(stop, zmq.POLLIN)
        poller.register(self._router, zmq.POLLIN)
        while True:
            if stop in dict(poller.poll()):
                break
            peer, frame, *audio = self._router.recv_multipart()
            asked = Asked(self, peer, Request.from_bytes(frame), audio[0] if audio else None)
            self.asked.append(asked)
            self._answer(asked)
            if self._dead:
                poller.unregister(self._router)
        stop.close()
        self._router.close(linger=0)

    def _answer(self, asked: Asked) -> None:
        answer = self.table.get(asked.request.method)
        try:
            if answer is None:
                raise UnknownCommand(command=asked.request.method, known=", ".join(self.table))
            result = answer(asked)
        except DejavudError as error:
            asked.fail(error)
        else:
            if result is not None:
                asked.reply(result)

    def _cancel(self, asked: Asked) -> dict[str, Any]:
        self.cancelled.put(asked.params["id"])
        return {"cancelled": True}

    def _open(self, _asked: Asked) -> dict[str, Any]:
        upload = f"u{len(self.uploads)}"
        self.uploads[upload] = b""
        return {"upload": upload, "chunk_bytes": CHUNK_BYTES}

    def _append(self, asked: Asked) -> dict[str, Any]:
        assert asked.audio is not None
        assert len(asked.audio) <= CHUNK_BYTES
        self.uploads[asked.params["upload"]] += asked.audio
        return {"received_bytes": len(self.uploads[asked.params["upload"]])}

    def _discard(self, asked: Asked) -> dict[str, Any]:
        self.discarded.put(asked.params["upload"])
        return {}
