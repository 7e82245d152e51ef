from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from client_daemon import CHUNK_BYTES, Asked, FakeDaemon, recognition

from dejavud.errors import Busy, UnreadableFile, UnsupportedAudio

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from client_runs import Ran


def test_a_match_is_told_in_one_line(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """Title, artist, position, confidence and time, under the name that was typed; the daemon gets the absolute path."""
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
    typed = os.path.relpath(tmp_path / "clip.wav")
    ran = ctl("recognize", "file", typed, "--limit", "8")
    assert ran.status == 0
    assert ran.out == f"{typed}: Song 7 by Somebody, at 1:03 of 3:39, confidence 99.99 % (27 ms)\n"
    assert daemon.asked[0].params == {"path": str(tmp_path / "clip.wav"), "source": typed, "limit_s": 8.0}


def test_what_else_there_is_to_say_follows(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """A stretch that is not the whole query, its gaps, another speed and pitch, and other releases are told after the confidence."""
    (tmp_path / "mix.wav").write_bytes(b"RIFF")
    answer = recognition("mix.wav", 7, 9)
    answer["matches"][0] |= {"query_end_s": 3.4, "gaps": [{"start_s": 1.0, "end_s": 2.5}], "twins": [12, 15]}
    answer["matches"][1] |= {"speed": 1.0214, "pitch": 1.0214, "query_start_s": 2.0}
    daemon.table["recognize"] = lambda _asked: answer
    ran = ctl("recognize", tmp_path / "mix.wav")
    one, other = ran.out.partition(": ")[2].split("; ")
    assert one.endswith(
        "99.99 %, heard from 0.0 to 3.4 s, but not from 1.0 to 2.5 s, the same recording as track 12, track 15"
    )
    assert (
        other
        == "Song 9 by Somebody, at 1:03 of 3:39, confidence 99.99 %, heard from 2.0 to 5.0 s, at 1.021 times the speed (27 ms)\n"
    )


def test_what_could_not_be_asked_is_told(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """A "no match" of a part of the library says which part it did not see."""
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    daemon.table["recognize"] = lambda asked: {**recognition(asked.params["source"]), "partial": ["shard2"]}
    assert ctl("recognize", tmp_path / "clip.wav").out.endswith(": no match (27 ms, without shard2)\n")


def test_without_the_word_file_it_is_the_same(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """`recognize PATH` and `recognize file PATH` print the same."""
    (tmp_path / "clip.wav").write_bytes(b"RIFF")
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
    assert ctl("recognize", tmp_path / "clip.wav") == ctl("recognize", "file", tmp_path / "clip.wav")


def test_answers_come_in_the_order_of_the_files(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """Four requests are in flight at once, are answered backwards, and are printed forwards."""
    paths = [tmp_path / f"{number}.wav" for number in range(8)]
    for path in paths:
        path.write_bytes(b"RIFF")
    held: list[Asked] = []

    def in_fours(asked: Asked) -> None:
        held.append(asked)
        if len(held) == 4:
            for each in reversed(held):
                each.reply(recognition(each.params["source"], 7))
            held.clear()

    daemon.table["recognize"] = in_fours
    ran = ctl("--json", "recognize", "--jobs", "4", *paths)
    assert [record["query"]["source"] for record in ran.records] == list(map(str, paths))
    assert ran.status == 0


def test_a_slow_first_answer_holds_back_a_bounded_number(
    daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path
) -> None:
    """While the first file is not answered, no more than the look-ahead is asked for: memory stays bounded."""
    paths = [tmp_path / f"{number}.wav" for number in range(100)]
    for path in paths:
        path.write_bytes(b"RIFF")
    most_ahead: list[int] = []

    def first_last(asked: Asked) -> dict[str, Any] | None:
        seen = [each for each in daemon.asked if each.request.method == "recognize"]
        if asked is seen[0]:
            return None
        if len(seen) == 2 * 8:  # the whole look-ahead of two conversations
            most_ahead.append(len(seen))
            seen[0].reply(recognition(seen[0].params["source"], 7))
        return recognition(asked.params["source"], 7)

    daemon.table["recognize"] = first_last
    ran = ctl("--json", "recognize", "--jobs", "2", *paths)
    assert [record["query"]["source"] for record in ran.records] == list(map(str, paths))
    assert most_ahead == [16]


@pytest.mark.parametrize(
    ("outcomes", "status"), [("mm", 0), ("mn", 1), ("mf", 4), ("nf", 4), ("fm", 4), ("n", 1)], ids=str
)
def test_the_worst_outcome_is_the_exit_status(
    daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path, outcomes: str, status: int
) -> None:
    """0 when all matched, 1 when one did not, 4 when one failed; every file is answered in any case."""
    paths = [tmp_path / f"{number}{outcome}.wav" for number, outcome in enumerate(outcomes)]
    for path in paths:
        path.write_bytes(b"RIFF")

    def answer(asked: Asked) -> dict[str, Any]:
        outcome = asked.params["path"][-5]
        if outcome == "f":
            raise UnsupportedAudio(source=asked.params["source"], reason="no audio in it")
        return recognition(asked.params["source"], *([7] if outcome == "m" else []))

    daemon.table["recognize"] = answer
    ran = ctl("recognize", "--json", *paths)
    assert ran.status == status
    assert len(ran.records) == len(paths)
    failed = [record for record in ran.records if "error" in record]
    assert [record["error"]["code"] for record in failed] == ["unsupported_audio"] * outcomes.count("f")
    assert all(record["query"]["source"].endswith("f.wav") for record in failed)


def test_no_match_and_failure_are_told_apart(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """For a person, no match is an answer and a failure is a remark with its reason."""
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"])
    ran = ctl("recognize", tmp_path / "a.wav", tmp_path / "missing.wav")
    assert ran.out.startswith(f"{tmp_path}/a.wav: no match (27 ms)\n")

    def unreadable(asked: Asked) -> dict[str, Any]:
        raise UnreadableFile(source=asked.params["source"], reason="No such file or directory")

    daemon.table["recognize"] = unreadable
    ran = ctl("recognize", tmp_path / "missing.wav")
    assert (ran.status, ran.out) == (4, "")
    assert ran.err == f"dejavuctl: {tmp_path}/missing.wav: No such file or directory\n"


def test_bytes_are_sent_where_the_daemon_cannot_read(
    daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path
) -> None:
    """A file that only the caller may read is sent in chunks, and then recognized under the name that was typed."""
    audio = bytes(range(256)) * 10
    (tmp_path / "mine.wav").write_bytes(audio)

    def only_bytes(asked: Asked) -> dict[str, Any]:
        if "path" in asked.params:
            raise UnreadableFile(source=asked.params["source"], reason="Permission denied")
        return recognition(asked.params["source"], 7)

    daemon.table["recognize"] = only_bytes
    ran = ctl("--json", "recognize", tmp_path / "mine.wav")
    assert ran.status == 0
    assert ran.records[0]["query"]["source"] == str(tmp_path / "mine.wav")
    assert daemon.uploads == {"u0": audio}
    n_chunks = -(-len(audio) // CHUNK_BYTES)
    assert daemon.methods() == ["recognize", "upload.open", *["upload.append"] * n_chunks, "recognize"]


def test_an_upload_that_fails_is_discarded(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """When the daemon refuses the bytes, it is told to forget them."""
    (tmp_path / "mine.wav").write_bytes(b"x" * 10)

    def refuse(asked: Asked) -> dict[str, Any]:
        kind = UnreadableFile if "path" in asked.params else UnsupportedAudio
        raise kind(source=asked.params["source"], reason="no")

    daemon.table["recognize"] = refuse
    ran = ctl("--json", "recognize", tmp_path / "mine.wav")
    assert (ran.status, ran.records[0]["error"]["code"]) == (4, "unsupported_audio")
    assert daemon.discarded.get_nowait() == "u0"


def test_a_daemon_elsewhere_is_sent_bytes_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Over tcp a path would mean another machine's file, so none is sent."""
    from dejavuctl.__main__ import main  # noqa: PLC0415 - as the fixture does, for another endpoint

    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with FakeDaemon("tcp://127.0.0.1:0") as far:
        far.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
        key = str(tmp_path / "far.key")
        assert main(["keys", "new", key, "--server", far.server_key, "--control", far.endpoint]) == 0
        assert main(["--key", key, "recognize", str(tmp_path / "a.wav")]) == 0
    assert far.methods() == ["upload.open", "upload.append", "recognize"]
    assert "path" not in far.asked[-1].params
    assert "Song 7" in capsys.readouterr().out


def test_a_name_that_is_not_text_is_recognized_too(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """A file name with a byte that is no UTF-8 is sent as bytes, under a printable name."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    with open(path, "wb") as file:  # noqa: PTH123 - the name is the point
        file.write(b"RIFF")
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
    ran = ctl("--json", "recognize", path)
    assert ran.status == 0
    assert ran.records[0]["query"]["source"] == f"{tmp_path}/caf\N{REPLACEMENT CHARACTER}.wav"
    assert daemon.uploads == {"u0": b"RIFF"}


def test_standard_input_is_sent(daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]]) -> None:
    """`recognize -` sends what it reads, in chunks."""
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
    audio = "R" * (2 * CHUNK_BYTES + 1)
    process = start_ctl("recognize", "-", "--json", stdin=subprocess.PIPE)
    out, err = process.communicate(audio)
    assert (process.returncode, err) == (0, "")
    assert '"source":"-"' in out
    assert daemon.uploads == {"u0": audio.encode()}


def test_each_line_is_answered_before_the_next_is_written(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """A program that writes one path and waits for its answer before it writes the next is not left waiting."""
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
    process = start_ctl("recognize", "--files-from", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for name in ("one.wav", "two.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
        process.stdin.write(f"{tmp_path / name}\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(f"{tmp_path / name}: Song 7")
    process.stdin.close()
    assert process.wait() == 0


def test_nul_separated_names_may_hold_newlines(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """With -0 a name is everything up to the NUL, and a last name needs none."""
    names = ["two\nlines.wav", "plain.wav"]
    for name in names:
        (tmp_path / name).write_bytes(b"RIFF")
    listing = tmp_path / "list"
    listing.write_text("\0".join(str(tmp_path / name) for name in names))
    daemon.table["recognize"] = lambda asked: recognition(asked.params["source"], 7)
    ran = ctl("recognize", "--files-from", listing, "-0", "--json")
    assert [record["query"]["source"] for record in ran.records] == [str(tmp_path / name) for name in names]
    assert ran.status == 0


def test_a_busy_daemon_is_asked_again(daemon: FakeDaemon, ctl: Callable[..., Ran], tmp_path: Path) -> None:
    """`busy` is not an answer: the request is repeated until it is taken."""
    (tmp_path / "a.wav").write_bytes(b"RIFF")

    def third_time(asked: Asked) -> dict[str, Any]:
        if len(daemon.asked) < 3:
            raise Busy(what="2 queries")
        return recognition(asked.params["source"], 7)

    daemon.table["recognize"] = third_time
    assert ctl("recognize", tmp_path / "a.wav").status == 0
    assert len(daemon.asked) == 3


def test_the_microphone_is_asked_for(daemon: FakeDaemon, ctl: Callable[..., Ran]) -> None:
    """Seconds and device reach the daemon; a device of digits is a number; nothing heard is exit 1."""
    daemon.table["recognize_microphone"] = lambda _: recognition("microphone")
    ran = ctl("recognize", "mic", "2.5", "--device", "3")
    assert (ran.status, ran.out) == (1, "no match (27 ms)\n")
    assert daemon.asked[-1].params == {"duration_s": 2.5, "device": 3}
    ctl("recognize", "mic")
    assert daemon.asked[-1].params == {"duration_s": 10.0, "device": None}


def test_ctrl_c_cancels_in_the_daemon(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """What is in flight is cancelled by its ids, an upload begun is discarded, and the exit status is 130."""
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"RIFF")
    stuck: list[Any] = []

    def never(asked: Asked) -> dict[str, Any] | None:
        if asked.params.get("path", "").endswith("b.wav"):
            raise UnreadableFile(source="b.wav", reason="Permission denied")
        stuck.append(asked.request.id)
        if len(stuck) == 2:
            process.send_signal(signal.SIGINT)

    daemon.table["recognize"] = never
    process = start_ctl("recognize", "--jobs", "2", tmp_path / "a.wav", tmp_path / "b.wav")
    _, err = process.communicate()
    assert process.returncode == 130
    assert err == "interrupted: 0 files answered, 0 matched, 0 without a match, 0 failed\n"
    assert set(stuck) <= set(daemon.cancelled.queue)  # the client waited for the confirmations: they have arrived
    assert list(daemon.discarded.queue) == ["u0"]


def test_a_reader_that_leaves_is_no_error(
    daemon: FakeDaemon, start_ctl: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """`| head -1` ends the client quietly, and what it had in flight is cancelled."""
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        path.write_bytes(b"RIFF")

    def second_when_the_reader_left(asked: Asked) -> dict[str, Any] | None:
        if asked.params["path"].endswith("2.wav"):
            return None
        if asked.params["path"].endswith("1.wav"):
            assert process.stdout is not None
            process.stdout.close()
        return recognition(asked.params["source"], 7)

    daemon.table["recognize"] = second_when_the_reader_left
    process = start_ctl("recognize", "--jobs", "3", *paths)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait() == 141
