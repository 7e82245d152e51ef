"""The control socket: JSON-RPC on a ROUTER, seen from real ZeroMQ clients."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from interfaces_table import CRASH, MUSIC, RUBBISH, SLOW, Stage

from dejavud.errors import AddressInUse, InvalidConfig
from dejavud.interfaces.control import ControlSettings, serve_control
from dejavud.interfaces.zmq_trio import TrioSocket, open_socket
from dejavud.services.access import Access
from dejavud.services.uploads import UploadStore
from dejavud.wire.codec import decode, encode
from dejavud.wire.messages import CHUNK_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

TOKEN = "s3cret"  # noqa: S105 - of a server that lives for one test


class Caller:
    """A client as another language would write it: frames out, frames in."""

    def __init__(self, socket: TrioSocket) -> None:
        self.socket = socket
        self._last_id = 0

    async def send(self, method: str, params: Mapping[str, Any], *audio: bytes, **more: object) -> int:
        """Send a request and return its id."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params, **more}
        await self.socket.send([encode(message), *audio])
        return self._last_id

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        (frame,) = await self.socket.receive()
        message: dict[str, Any] = decode(frame)
        assert message.pop("jsonrpc") == "2.0"
        return message

    async def call(self, method: str, params: Mapping[str, Any], *audio: bytes, **more: object) -> Any:  # noqa: ANN401
        """Return the result of one request, or the code of its error."""
        sent = await self.send(method, params, *audio, **more)
        reply = await self.receive()
        assert reply["id"] == sent
        return reply["result"] if "result" in reply else reply["error"]["data"]["code"]


@asynccontextmanager
async def serving(
    stage: Stage, uploads: UploadStore, control: ControlSettings
) -> AsyncIterator[tuple[str, trio.CancelScope]]:
    """Give the endpoint of a running server, and the scope whose cancellation ends it."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with scope:
                    await serve_control(stage.table(), uploads, settings=control, task_status=task_status)

            yield await nursery.start(serve), scope
            scope.cancel()


@asynccontextmanager
async def calling(endpoint: str, kind: int = zmq.DEALER) -> AsyncIterator[Caller]:
    """Give a client of `endpoint`."""
    async with open_socket(kind, lambda raw: raw.connect(endpoint)) as socket:
        yield Caller(socket)


@pytest.fixture
def ipc(socket_folder: Path) -> ControlSettings:
    """Return settings of a local control socket."""
    return ControlSettings(endpoint=f"ipc://{socket_folder}/control.sock")


def is_filled(folder: Path) -> bool:
    """Tell whether anything is in `folder`."""
    return any(folder.iterdir())


# -- requests -------------------------------------------------------------------------------------------------------


async def test_commands_answer_with_their_result(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """A request gets exactly one reply, under its own id."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        assert await caller.call("status", {}) == {"version": "0"}
        await caller.socket.send([b'{"jsonrpc":"2.0","id":"text too","method":"status"}'])
        assert await caller.receive() == {"id": "text too", "result": {"version": "0"}}


async def test_audio_comes_in_the_second_frame(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings
) -> None:
    """A short clip needs no upload: it comes with the request, under the name that the request gives it."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        found = await caller.call("recognize", {"source": "clip.wav"}, MUSIC)
        assert found["query"]["source"] == "clip.wav"
        assert await caller.call("recognize", {}, MUSIC.ljust(CHUNK_BYTES)) != "too_large"
        assert await caller.call("recognize", {}, MUSIC.ljust(CHUNK_BYTES + 1)) == "too_large"
        assert not is_filled(uploads_folder)


async def test_paths_are_looked_for(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """Over ipc a path is looked for; an endpoint of tcp, where others could come by, is none."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        assert await caller.call("recognize", {"path": "/nowhere.wav"}) == "unreadable_file"
    with pytest.RaisesGroup(InvalidConfig, flatten_subgroups=True):
        async with serving(stage, uploads, ControlSettings(endpoint="tcp://127.0.0.1:0")):
            pass


async def test_a_plain_req_socket_is_served(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """A REQ client gets its replies in step, and no progress to fall out of it."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint, zmq.REQ) as caller:
        assert await caller.call("count", {"to": 3}) == {"counted": 3}
        assert await caller.call("status", {}) == {"version": "0"}


ERRORS: dict[str, tuple[str, dict[str, Any], tuple[bytes, ...], str]] = {
    "unknown command": ("dance", {}, (), "unknown_command"),
    "unknown parameter": ("status", {"loud": True}, (), "invalid_request"),
    "undecodable": ("recognize", {}, (RUBBISH,), "unsupported_audio"),
    "bug": ("recognize", {}, (CRASH,), "internal_error"),
    "result that is no JSON": ("recognize", {}, (b"RIFF nan",), "internal_error"),
    "three frames": ("recognize", {}, (MUSIC, MUSIC), "invalid_request"),
    "no such upload": ("recognize", {"upload": "x"}, (), "invalid_request"),
    "upload of a wrong type": ("recognize", {"upload": [1]}, (), "invalid_request"),
    "upload and audio": ("recognize", {"upload": "x"}, (MUSIC,), "invalid_request"),
    "append without a piece": ("upload.append", {"upload": "x"}, (), "invalid_request"),
    "append to nothing": ("upload.append", {"upload": "x"}, (MUSIC,), "invalid_request"),
    "discard nothing": ("upload.discard", {"upload": "x"}, (), "invalid_request"),
    "upload without a name": ("upload.open", {}, (), "invalid_request"),
    "upload announced too large": ("upload.open", {"name": "x", "size_bytes": 5 << 20}, (), "too_large"),
    "cancel of no id": ("cancel", {}, (), "invalid_request"),
}


@pytest.mark.parametrize("row", ERRORS)
async def test_every_error_is_one_reply_with_a_stable_code(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings, row: str
) -> None:
    """Whatever is wrong, there is one reply with number, message, code and details, and the socket goes on."""
    method, params, audio, code = ERRORS[row]
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        await caller.send(method, params, *audio)
        reply = await caller.receive()
        assert set(reply["error"]) == {"code", "message", "data"}
        assert set(reply["error"]["data"]) == {"code", "message", "details"}
        assert isinstance(reply["error"]["code"], int)
        assert reply["error"]["data"]["code"] == code
        assert await caller.call("status", {}) == {"version": "0"}
        assert not is_filled(uploads_folder)


@pytest.mark.parametrize("token", [None, "wrong", 7, "", TOKEN + "x"])
async def test_a_token_is_asked_of_every_request(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings, token: object
) -> None:
    """Without the token nothing is done, be it a command, an upload or a cancellation; with it everything is."""
    guarded = ControlSettings(endpoint=ipc.endpoint, access=Access(TOKEN))
    more = {} if token is None else {"token": token}
    async with serving(stage, uploads, guarded) as (endpoint, _), calling(endpoint) as caller:
        for method, params in (("status", {}), ("upload.open", {"name": "x"}), ("cancel", {"id": 1}), ("no", {})):
            assert await caller.call(method, params, **more) == "unauthorized"
        assert await caller.call("recognize", {}, MUSIC, **more) == "unauthorized"
        assert not stage.calls
        assert await caller.call("status", {}, token=TOKEN) == {"version": "0"}


# -- work in flight -------------------------------------------------------------------------------------------------


async def test_many_requests_are_in_work_at_a_time(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """A slow command holds up neither its own client's other requests nor anybody else's."""
    async with (
        serving(stage, uploads, ipc) as (endpoint, _),
        calling(endpoint) as caller,
        calling(endpoint) as other,
    ):
        slow = await caller.send("wait", {})
        await stage.until(lambda: stage.working == 1)
        assert await caller.call("status", {}) == {"version": "0"}
        assert await other.call("status", {}) == {"version": "0"}
        stage.release.set()
        assert await caller.receive() == {"id": slow, "result": {"waited": True}}


async def test_requests_beyond_the_bounds_are_busy(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """One client may have so many requests in work, all together so many, and further ones are refused at once."""
    narrow = ControlSettings(endpoint=ipc.endpoint, max_client_requests=2, max_requests=3)
    async with (
        serving(stage, uploads, narrow) as (endpoint, _),
        calling(endpoint) as greedy,
        calling(endpoint) as other,
    ):
        for _ in range(2):
            await greedy.send("wait", {})
        await stage.until(lambda: stage.working == 2)
        assert await greedy.call("status", {}) == "busy"
        assert await other.call("status", {}) == {"version": "0"}
        await other.send("wait", {})
        await stage.until(lambda: stage.working == 3)
        assert await other.call("status", {}) == "busy"
        stage.release.set()
        assert (await other.receive())["result"] == {"waited": True}


async def test_an_id_in_work_cannot_be_used_again(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """Two requests under one id would be two replies that nobody can tell apart: the second is refused."""
    request = encode({"jsonrpc": "2.0", "id": 1, "method": "wait"})
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        await caller.socket.send([request])
        await caller.socket.send([request])
        assert (await caller.receive())["error"]["data"]["code"] == "invalid_request"
        stage.release.set()
        assert (await caller.receive())["result"] == {"waited": True}


async def test_progress_comes_before_the_reply_and_names_its_request(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings
) -> None:
    """Notifications carry the request's id and figures, are not one a step, and then the reply follows."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        sent = await caller.send("count", {"to": 1000})
        first = await caller.receive()
        assert first == {"method": "progress", "params": {"id": sent, "done": 0}}
        n_notifications = 1
        while (message := await caller.receive()).get("method") == "progress":
            n_notifications += 1
        assert message == {"id": sent, "result": {"counted": 1000}}
        assert n_notifications < 100


async def test_news_is_never_skipped(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """What must arrive does, each and in order, however fast it follows on what was told before."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        await caller.send("count", {"to": 300, "each": True})
        told = [await caller.receive() for _ in range(300)]
        assert [message["params"]["done"] for message in told] == list(range(300))
        assert (await caller.receive())["result"] == {"counted": 300}


async def test_cancel_stops_the_clients_own_request_and_no_other(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings
) -> None:
    """A cancelled request replies that it was; the same id of another client is another request."""
    async with (
        serving(stage, uploads, ipc) as (endpoint, _),
        calling(endpoint) as caller,
        calling(endpoint) as stranger,
    ):
        sent = await caller.send("wait", {})
        await stage.until(lambda: stage.working == 1)
        assert await stranger.call("cancel", {"id": sent}) == {"cancelled": False}
        cancelling = await caller.send("cancel", {"id": sent})
        replies = {reply["id"]: reply for reply in (await caller.receive(), await caller.receive())}
        assert replies[cancelling]["result"] == {"cancelled": True}
        assert replies[sent]["error"]["data"]["code"] == "cancelled"
        assert stage.abandoned == 1
        assert await caller.call("cancel", {"id": sent}) == {"cancelled": False}


async def test_client_that_leaves_is_noticed_by_its_progress(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings
) -> None:
    """Work that reports to nobody is cancelled."""
    async with serving(stage, uploads, ipc) as (endpoint, _):
        async with calling(endpoint) as caller:
            await caller.send("tell", {})
            await caller.receive()
        await stage.until(lambda: stage.abandoned == 1)
        async with calling(endpoint) as caller:
            assert await caller.call("status", {}) == {"version": "0"}


# -- uploads --------------------------------------------------------------------------------------------------------


async def test_upload_in_pieces_is_put_together_used_once_and_gone(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings
) -> None:
    """The pieces reach the command as one file under the upload's name; afterwards neither id nor file is there."""
    pieces = [MUSIC.ljust(CHUNK_BYTES, b"."), b"x" * CHUNK_BYTES, b"end"]
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        opened = await caller.call("upload.open", {"name": "long.flac", "size_bytes": 2 * CHUNK_BYTES + 3})
        assert opened["chunk_bytes"] == CHUNK_BYTES
        ids = {"upload": opened["upload"]}
        received = [(await caller.call("upload.append", ids, piece))["received_bytes"] for piece in pieces]
        assert received == [CHUNK_BYTES, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 3]
        found = await caller.call("recognize", ids)
        assert found["query"]["source"] == "long.flac"
        assert stage.heard == [b"".join(pieces)]
        assert await caller.call("recognize", ids) == "invalid_request"
        assert not is_filled(uploads_folder)


async def test_upload_belongs_to_the_client_that_opened_it(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings
) -> None:
    """Another client that knows an upload's id can neither add to it, nor use it, nor discard it."""
    async with (
        serving(stage, uploads, ipc) as (endpoint, _),
        calling(endpoint) as owner,
        calling(endpoint) as thief,
    ):
        ids = {"upload": (await owner.call("upload.open", {"name": "mine"}))["upload"]}
        assert await thief.call("upload.append", ids, b"x") == "invalid_request"
        assert await thief.call("recognize", ids) == "invalid_request"
        assert await thief.call("upload.discard", ids) == "invalid_request"
        assert await owner.call("upload.append", ids, MUSIC) == {"received_bytes": len(MUSIC)}


async def test_upload_shorter_than_announced_is_refused(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings
) -> None:
    """Half a file is not recognized as if it were the whole."""
    async with serving(stage, uploads, ipc) as (endpoint, _), calling(endpoint) as caller:
        ids = {"upload": (await caller.call("upload.open", {"name": "x", "size_bytes": 100}))["upload"]}
        await caller.call("upload.append", ids, MUSIC)
        assert await caller.call("recognize", ids) == "invalid_request"
        assert not stage.calls
        assert not is_filled(uploads_folder)


async def test_uploads_are_bounded_in_size_and_number(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings
) -> None:
    """An upload that outgrows the limit is dropped, one too many is refused, and discarding makes room."""
    narrow = ControlSettings(endpoint=ipc.endpoint, max_client_uploads=2)
    async with serving(stage, uploads, narrow) as (endpoint, _), calling(endpoint) as caller:
        ids = [{"upload": (await caller.call("upload.open", {"name": "x"}))["upload"]} for _ in range(2)]
        assert await caller.call("upload.open", {"name": "x"}) == "busy"
        assert await caller.call("upload.discard", ids[0]) == {"discarded": True}
        for _ in range(4):
            await caller.call("upload.append", ids[1], b"x" * CHUNK_BYTES)
        assert await caller.call("upload.append", ids[1], b"x") == "too_large"
        assert await caller.call("upload.append", ids[1], b"x") == "invalid_request"
        assert not is_filled(uploads_folder)
        opened = [await caller.call("upload.open", {"name": "x"}) for _ in range(2)]
        assert all("upload" in each for each in opened)


async def test_the_stores_own_bound_is_busy(stage: Stage, uploads: UploadStore, ipc: ControlSettings) -> None:
    """When the store has all the uploads it takes, whoever holds them, the next is refused as busy."""
    wide = ControlSettings(endpoint=ipc.endpoint, max_client_uploads=100)
    async with serving(stage, uploads, wide) as (endpoint, _), calling(endpoint) as caller:
        results = [await caller.call("upload.open", {"name": "x"}) for _ in range(17)]
    assert results[16] == "busy"
    assert "busy" not in results[:16]


async def test_forgotten_upload_expires(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings
) -> None:
    """An upload without a piece for `upload_idle_s` is given up with its bytes."""
    brief = ControlSettings(endpoint=ipc.endpoint, upload_idle_s=0.1)
    async with serving(stage, uploads, brief) as (endpoint, _), calling(endpoint) as caller:
        ids = {"upload": (await caller.call("upload.open", {"name": "x"}))["upload"]}
        await caller.call("upload.append", ids, b"x")
        while is_filled(uploads_folder):
            await caller.call("status", {})
        assert await caller.call("upload.append", ids, b"x") == "invalid_request"


# -- broken clients -------------------------------------------------------------------------------------------------

JUNK = st.binary(max_size=64) | st.sampled_from(
    [
        b"null",
        b"[]",
        b"1e999",
        b'{"jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","id":true,"method":"status"}',
        b'{"jsonrpc":"2.0","id":1,"method":7}',
        b'{"jsonrpc":"2.0","id":1,"method":"status","params":[]}',
        b'{"jsonrpc":"2.0","id":"\\ud800","method":"status"}',
        b'{"jsonrpc":"2.0","id":1,"method":"\\ud800","params":{"\\ud800":"\\ud800"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"upload.open","params":{"name":"\\ud800/../../x","size_bytes":-1}}',
        b'{"jsonrpc":"2.0","id":1,"method":"cancel","params":{"id":[]}}',
        b"[" * 100_000,
        b"9" * 5000,
        b'[{"jsonrpc":"2.0","id":1,"method":"status"}]',
    ]
)


@settings(max_examples=40, deadline=None)
@given(messages=st.lists(st.lists(JUNK, min_size=1, max_size=4), max_size=12))
def test_any_bytes_get_a_reply_and_break_nothing(messages: list[list[bytes]]) -> None:
    """Each message, whatever its frames, gets exactly one reply, and the next client is served as ever."""
    trio.run(_send_junk, messages)


async def _send_junk(messages: list[list[bytes]]) -> None:
    import tempfile  # noqa: PLC0415 - hypothesis and pytest's own fixtures do not go together
    from pathlib import Path  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="dj-") as name:
        uploads = UploadStore(Path(name), max_bytes=1 << 20)
        control = ControlSettings(endpoint=f"ipc://{name}/s", max_client_uploads=100)
        async with serving(Stage(), uploads, control) as (endpoint, _):
            async with calling(endpoint) as caller:
                for frames in messages:
                    await caller.socket.send(frames)
                for _ in messages:
                    reply = decode((await caller.socket.receive())[-1])
                    assert ("error" in reply) != ("result" in reply)
            async with calling(endpoint) as caller:
                assert await caller.call("status", {}) == {"version": "0"}


# -- the end --------------------------------------------------------------------------------------------------------


async def test_shutdown_finishes_what_is_in_work_and_refuses_the_rest(
    stage: Stage, uploads: UploadStore, uploads_folder: Path, ipc: ControlSettings
) -> None:
    """After the end a request in work is answered, a new one is told why not, and open uploads are dropped."""
    async with serving(stage, uploads, ipc) as (endpoint, scope), calling(endpoint) as caller:
        await caller.call("upload.open", {"name": "x"})
        slow = await caller.send("recognize", {}, SLOW)
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        while await caller.call("status", {}) != "shutting_down":
            pass
        stage.release.set()
        reply = await caller.receive()
        assert reply["id"] == slow
        assert "result" in reply
    assert not is_filled(uploads_folder)


async def test_shutdown_does_not_wait_longer_than_its_grace(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings
) -> None:
    """A command that does not end is cancelled when the grace period is over, and its client is told."""
    hasty = ControlSettings(endpoint=ipc.endpoint, grace_s=0.1)
    async with serving(stage, uploads, hasty) as (endpoint, scope), calling(endpoint) as caller:
        await caller.send("wait", {})
        await stage.until(lambda: stage.working == 1)
        scope.cancel()
        assert (await caller.receive())["error"]["data"]["code"] == "shutting_down"
        assert stage.abandoned == 1


async def test_socket_file_is_gone_after_the_end_and_refused_while_it_is_served(
    stage: Stage, uploads: UploadStore, ipc: ControlSettings, socket_folder: Path
) -> None:
    """A second server on the endpoint is refused without a group around its error; the file ends with the first."""
    async with serving(stage, uploads, ipc):
        with pytest.raises(AddressInUse):
            await serve_control(stage.table(), uploads, settings=ipc)
    assert not is_filled(socket_folder)
