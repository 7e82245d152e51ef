"""Damaged and strange audio is decoded as far as it goes; what is no audio is refused with a sentence that helps."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from audio_files import RATE_HZ, decode, encode, expected, likeness
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import synthesize, write_wav

from dejavud.audio.container import _open_stream
from dejavud.audio.decode import decode_audio, open_audio
from dejavud.audio.ogg import find_links
from dejavud.audio.source import Window
from dejavud.errors import UnreadableFile, UnsupportedAudio

ROOT = Path(__file__).parents[2]
MUSIC = synthesize(21, 6)
ORIGINAL = expected(MUSIC, 44100)


def refused(path: Path, error: type[Exception] = UnsupportedAudio) -> str:
    """Return the message with which the file at `path` is refused; fails when that takes long or it is not."""
    started = time.monotonic()
    with pytest.raises(error) as caught:
        decode(path)
    assert time.monotonic() - started < 5
    message = str(caught.value)
    assert message.startswith(f"{path.name}: ")
    return message


# -- damaged --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.ogg", "vorbis")]
)
def test_a_truncated_file_is_decoded_as_far_as_it_goes(tmp_path: Path, name: str, codec: str) -> None:
    """A download that broke off in the middle gives the first half, at the right times."""
    path = encode(tmp_path / name, MUSIC, 44100, codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    heard, _ = decode(path)
    assert 2 * RATE_HZ < len(heard) < 4 * RATE_HZ
    assert likeness(heard, ORIGINAL[: len(heard)]) > 0.95


def test_an_mp4_without_its_index_is_refused(tmp_path: Path) -> None:
    """An m4a that lost its end, where its index is, cannot be decoded and says so."""
    path = encode(tmp_path / "a.m4a", MUSIC, 44100, "aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "not audio that can be decoded" in refused(path)


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.mka", "aac")])
def test_a_damaged_stretch_is_skipped_counted_and_keeps_the_time(tmp_path: Path, name: str, codec: str) -> None:
    """Noise written over the middle costs the middle: what follows is decoded, about where it was."""
    path = encode(tmp_path / name, MUSIC, 44100, codec, bit_rate=128_000)
    data = bytearray(path.read_bytes())
    middle, width = len(data) // 2, len(data) // 60
    data[middle : middle + width] = np.random.default_rng(3).bytes(width)
    path.write_bytes(data)
    heard, reader = decode(path)
    assert reader.n_damaged_packets > 0
    assert abs(len(heard) - len(ORIGINAL)) < 0.3 * RATE_HZ
    assert likeness(heard[: 2 * RATE_HZ], ORIGINAL[: 2 * RATE_HZ]) > 0.9
    end = ORIGINAL[-RATE_HZ:]
    assert max(likeness(heard[-RATE_HZ - shift :], end) for shift in (0, 500, 1000, 1500)) > 0.9


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp3", "libmp3lame"),
        ("a.flac", "flac"),
        ("a.ogg", "vorbis"),
        ("a.opus", "libopus"),
        ("a.m4a", "aac"),
        ("a.mka", "aac"),
        ("a.wma", "wmav2"),
        ("a.wav", "adpcm_ms"),
        ("a.aiff", "pcm_s16be"),
        ("a.avi", "mp2"),
    ],
)
def test_any_damage_gives_audio_or_a_refusal(tmp_path: Path, name: str, codec: str) -> None:
    """Bytes changed, cut out or repeated anywhere end in blocks of finite samples or in UnsupportedAudio."""
    path = encode(tmp_path / name, MUSIC[:96000], 48000, codec, bit_rate=64_000)
    whole = path.read_bytes()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        data = bytearray(whole)
        for at in rng.integers(0, len(data) if seed % 2 else 600, 10):
            data[at] = rng.integers(256)
        start, stop = np.sort(rng.integers(0, len(data), 2))
        path.write_bytes(data if seed % 3 else data[:stop] + data[start:])
        with suppress(UnsupportedAudio):
            heard, _ = decode(path, limit_s=60)
            assert np.isfinite(heard).all()


def test_audio_of_nothing_but_damage_is_refused(tmp_path: Path) -> None:
    """Where not one packet can be decoded the error says that it is damage."""
    path = encode(tmp_path / "a.mka", MUSIC, 44100, "flac")
    with av.open(str(path)) as whole:
        sizes = [(p.pos, p.size) for p in whole.demux(audio=0) if p.size]
    data = bytearray(path.read_bytes())
    for position, size in sizes:
        at = data.index(b"\xff\xf8", position)
        data[at : at + size] = b"\x55" * size
    path.write_bytes(data)
    assert "damaged" in refused(path)


@pytest.mark.parametrize("claimed", [0, 1, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_wav_may_lie_about_its_length(tmp_path: Path, claimed: int) -> None:
    """A wav that claims 0 bytes or 4 GB, as recorders that were cut off write it, gives what is there."""
    path = write_wav(tmp_path / "a.wav", MUSIC, 44100)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = struct.pack("<I", claimed)
    path.write_bytes(data)
    if claimed == 1:
        refused(path)
    else:
        assert np.array_equal(decode(path)[0], decode(write_wav(tmp_path / "b.wav", MUSIC, 44100))[0])


@pytest.mark.parametrize("rate_hz", [0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_an_absurd_rate_is_refused(tmp_path: Path, rate_hz: int) -> None:
    """No rate at all, a negative or an enormous one is a damaged header, not something to resample from."""
    path = write_wav(tmp_path / "a.wav", MUSIC[:8000], 44100)
    data = bytearray(path.read_bytes())
    data[24:28] = struct.pack("<I", rate_hz)
    path.write_bytes(data)
    refused(path)


@pytest.mark.parametrize("n_channels", [0, 9, 64, 65535])
def test_absurd_channels_are_refused(tmp_path: Path, n_channels: int) -> None:
    """None or more than eight channels are refused."""
    path = write_wav(tmp_path / "a.wav", MUSIC[:88200], 44100)
    data = bytearray(path.read_bytes())
    data[22:24] = struct.pack("<H", n_channels)
    data[32:34] = struct.pack("<H", (2 * n_channels) & 0xFFFF)
    path.write_bytes(data)
    refused(path)


def test_tags_that_are_not_unicode_do_not_matter(tmp_path: Path) -> None:
    """A Latin-1 title where UTF-8 is promised makes a plain open of the decoder fail; not this one."""
    path = encode(tmp_path / "a.flac", MUSIC, 44100, "flac", metadata={"title": "cafXX"})
    path.write_bytes(path.read_bytes().replace(b"cafXX", b"caf\xe9\xff"))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert len(decode(path)[0]) == len(ORIGINAL)


def test_album_art_is_not_looked_at(tmp_path: Path) -> None:
    """A picture in front of the music, even a broken one, does not get in the way."""
    path = encode(tmp_path / "a.mp3", MUSIC, 44100, "libmp3lame")
    for picture in (_png(), b"\x89PNG broken"):
        frame = b"\0image/png\0\x03\0" + picture
        frame = b"APIC" + struct.pack(">I", len(frame)) + b"\0\0" + frame
        size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
        (tmp_path / "b.mp3").write_bytes(b"ID3\x03\0\0" + size + frame + path.read_bytes())
        assert likeness(decode(tmp_path / "b.mp3")[0], ORIGINAL) > 0.95


def test_the_audio_of_a_video_is_taken(tmp_path: Path) -> None:
    """A video gives its sound track."""
    path = _video(tmp_path / "a.mp4", with_audio=True)
    heard, reader = decode(path)
    assert reader.info.codec == "aac"
    assert likeness(heard, ORIGINAL) > 0.9


def test_a_video_without_audio_is_refused(tmp_path: Path) -> None:
    """A silent film is refused as one, with what is in it."""
    assert "no audio in it, only video" in refused(_video(tmp_path / "a.mp4", with_audio=False))


@pytest.mark.parametrize("rates_hz", [(44100, 44100), (44100, 22050), (16000, 48000)])
def test_chained_streams_are_one_recording(tmp_path: Path, rates_hz: tuple[int, int]) -> None:
    """Ogg files one behind the other, of one rate or of several, are played through, each at its own rate."""
    parts = [synthesize(seed, 3, rate_hz) for seed, rate_hz in enumerate(rates_hz)]
    paths = [encode(tmp_path / f"{i}.ogg", part, rates_hz[i], "vorbis") for i, part in enumerate(parts)]
    (tmp_path / "chain.ogg").write_bytes(b"".join(path.read_bytes() for path in paths))
    heard, _ = decode(tmp_path / "chain.ogg")
    assert abs(len(heard) - 6 * RATE_HZ) < 0.1 * RATE_HZ
    assert likeness(heard[: 3 * RATE_HZ], expected(parts[0], rates_hz[0])) > 0.9
    assert likeness(heard[-3 * RATE_HZ - 200 :], expected(parts[1], rates_hz[1])) > 0.9


@pytest.mark.parametrize(("suffix", "codec"), [("opus", "libopus"), ("oga", "flac"), ("ogg", "vorbis")])
def test_links_of_a_chain_may_differ_in_channels(tmp_path: Path, suffix: str, codec: str) -> None:
    """Mono, then stereo, then mono again, with something else in between, in every codec that Ogg carries."""
    parts = [np.stack([synthesize(seed, 2, 48000)] * n, axis=1) for seed, n in enumerate((1, 2, 1))]
    links = [encode(tmp_path / f"{i}.{suffix}", part, 48000, codec).read_bytes() for i, part in enumerate(parts)]
    path = tmp_path / f"chain.{suffix}"
    path.write_bytes(links[0] + b"\0" * 300_000 + links[1] + b"junk" + links[2])
    heard, _ = decode(path)
    assert abs(len(heard) - 6 * RATE_HZ) < 0.15 * RATE_HZ
    assert likeness(heard[-2 * RATE_HZ - 200 :], expected(parts[2], 48000)) > 0.9


def test_a_broken_link_does_not_end_the_chain(tmp_path: Path) -> None:
    """A link that cannot be decoded is counted, and the next one is played."""
    links = [
        encode(tmp_path / f"{i}.ogg", synthesize(i, 2, r), r, "vorbis").read_bytes()
        for i, r in enumerate((8000, 16000, 8000))
    ]
    links[1] = links[1].replace(b"vorbis", b"sibrov")
    (tmp_path / "chain.ogg").write_bytes(b"".join(links))
    heard, reader = decode(tmp_path / "chain.ogg")
    assert len(heard) == pytest.approx(4 * RATE_HZ, abs=800)
    assert reader.n_damaged_packets > 0


def test_a_chain_is_found_where_there_is_one(tmp_path: Path) -> None:
    """One Ogg stream, cut off or not, is no chain; two are, and each link's bytes are a file of their own."""
    first = encode(tmp_path / "0.ogg", synthesize(0, 2, 8000), 8000, "vorbis").read_bytes()
    second = encode(tmp_path / "1.ogg", synthesize(1, 9, 16000), 16000, "vorbis").read_bytes()
    for content, links in (
        (first, []),
        (second[: len(second) // 2], []),
        (b"OggS", []),
        (b"RIFF" + second, []),
        (first + second, [(0, len(first)), (len(first), len(first) + len(second))]),
    ):
        (tmp_path / "a.ogg").write_bytes(content)
        with io.FileIO(tmp_path / "a.ogg") as file:
            assert find_links(file) == links
            for (start, stop), original in zip(links, (first, second), strict=False):
                link = Window(file, start, stop)
                assert link.read() == original
                assert link.read(1) == b""
                assert link.seek(-5, os.SEEK_END) == len(original) - 5
                assert link.read(100) == original[-5:]
                assert link.seek(2**70) == 2**70
                assert link.read(1) == b""


@given(st.binary(max_size=400).map(lambda tail: b"OggS" + tail))
@settings(deadline=None)
def test_any_bytes_after_the_mark_of_ogg_are_bounded_work(content: bytes) -> None:
    """Looking for a chain ends and raises nothing, whatever follows."""
    with tempfile.NamedTemporaryFile() as named:
        named.write(content * 3)
        named.flush()
        with io.FileIO(named.name) as file:
            links = find_links(file)
            assert all(0 <= start < stop <= 3 * len(content) for start, stop in links)


def test_channels_may_change_in_the_middle(tmp_path: Path) -> None:
    """An mp3 that turns from stereo to mono and back, as radio recordings do, is played through."""
    parts = [
        encode(tmp_path / f"{i}.mp3", np.stack([MUSIC] * n_channels, axis=1), 44100, "libmp3lame").read_bytes()
        for i, n_channels in enumerate((2, 1, 2))
    ]
    (tmp_path / "a.mp3").write_bytes(b"".join(parts))
    heard, _ = decode(tmp_path / "a.mp3")
    assert abs(len(heard) - 3 * len(ORIGINAL)) < 0.6 * RATE_HZ
    third = len(heard) // 3
    for i in range(3):
        assert likeness(heard[i * third + 4000 : (i + 1) * third - 4000], ORIGINAL[4000:-4000]) > 0.5


# -- not audio ------------------------------------------------------------------------------------------------------


def test_an_empty_file_is_refused_even_as_raw_samples(tmp_path: Path) -> None:
    """Zero bytes are an error in every mode."""
    (tmp_path / "a.mp3").touch()
    assert "empty (0 bytes)" in refused(tmp_path / "a.mp3")
    with pytest.raises(UnsupportedAudio, match="empty"):
        decode_audio(tmp_path / "a.mp3", name="a.mp3", rate_hz=RATE_HZ, raw_fallback=True)


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.ogg", "vorbis")])
def test_audio_of_no_length_is_refused(tmp_path: Path, name: str, codec: str) -> None:
    """A valid file without a sample is refused as such."""
    path = tmp_path / name
    message = refused(write_wav(path, np.zeros(0)) if codec == "pcm_s16le" else encode(path, np.zeros(0), 44100, codec))
    assert "not one sample" in message or "cannot be decoded" in message or "not audio that can" in message


@pytest.mark.parametrize("name", ["a.txt", "a.mp3", "a.wav", "a", "a.mod"])
@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_are_refused(tmp_path: Path, name: str, seed: int) -> None:
    """Noise is not taken for music, whatever it is called."""
    (tmp_path / name).write_bytes(np.random.default_rng(seed).bytes(200_000))
    refused(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"All work and no play.\n" * 5000, b"<html><body>not found</body></html>", b"{}", b"\0" * 100_000],
)
@pytest.mark.parametrize("name", ["a.txt", "a.mp3", "a.wav", "a.ogg"])
def test_text_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """A text, an error page saved as mp3, or zeros are refused."""
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name)


def test_a_picture_is_refused(tmp_path: Path) -> None:
    """A PNG is refused as what it is."""
    (tmp_path / "cover.png").write_bytes(_png())
    assert "no audio in it, only video (png)" in refused(tmp_path / "cover.png")


def test_bytes_that_nothing_decodes_can_be_raw_samples(tmp_path: Path) -> None:
    """With `raw_fallback` unknown bytes are 16-bit little-endian mono at 8 kHz; known audio still is what it is."""
    pcm = np.round(ORIGINAL * 32767).astype("<i2")
    (tmp_path / "a.raw").write_bytes(pcm.tobytes() + b"\x7f")
    heard, reader = decode(tmp_path / "a.raw", raw_fallback=True)
    assert np.array_equal(heard, pcm / np.float32(32768))
    assert reader.info.codec == "pcm_s16le"
    faster = decode_audio(tmp_path / "a.raw", name="a.raw", rate_hz=16000, raw_fallback=True)
    assert abs(len(faster) - 2 * len(pcm)) <= 2
    path = write_wav(tmp_path / "b.wav", MUSIC, 44100)
    assert np.array_equal(decode(path, raw_fallback=True)[0], decode(path)[0])


# -- not files ------------------------------------------------------------------------------------------------------


def test_what_is_not_a_file_is_unreadable(tmp_path: Path) -> None:
    """A directory, a missing file, a path through a file, a name with a null, a device: each says what it is."""
    (tmp_path / "file").write_bytes(b"x")
    assert "a directory" in refused(tmp_path, UnreadableFile)
    assert "no such file" in refused(tmp_path / "missing.mp3", UnreadableFile)
    assert "cannot be opened" in refused(tmp_path / "file" / "a.mp3", UnreadableFile)
    assert "cannot be opened" in refused(tmp_path / ("x" * 300), UnreadableFile)
    for path, reason in (("/dev/zero", "a device"), (f"{tmp_path}/a\0b", "null")):
        with pytest.raises(UnreadableFile, match=reason):
            decode_audio(path, name="a", rate_hz=RATE_HZ)


def test_a_file_that_may_not_be_read_is_unreadable(tmp_path: Path) -> None:
    """Without permission the error says whose permission is missing; root, who has it always, first becomes nobody."""
    path = write_wav(tmp_path / "a.wav", MUSIC[:8000], 44100)
    path.chmod(0)
    code = (
        "import os, sys\n"
        "from dejavud.audio.source import open_regular\n"
        "from dejavud.errors import UnreadableFile\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: open_regular(sys.argv[1], 'a.wav').__enter__()\n"
        "except UnreadableFile as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("a.wav: the daemon may not read it (permission denied)")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    """A FIFO that nobody writes to is refused at once."""
    os.mkfifo(tmp_path / "pipe")
    assert "a pipe" in refused(tmp_path / "pipe", UnreadableFile)


def test_a_link_in_a_loop_is_unreadable(tmp_path: Path) -> None:
    """A symbolic link to itself leads nowhere."""
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert "cannot be opened" in refused(tmp_path / "loop.wav", UnreadableFile)


# -- files that point elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.m3u8", "a.mp3", "a.ffconcat", "a.sdp", "a.mpd", "a.txt"])
def test_a_file_never_opens_another(tmp_path: Path, name: str) -> None:
    """Content that lists other files or addresses, in any of the ways FFmpeg knows, opens none of them."""
    secret = write_wav(tmp_path / "secret.wav", MUSIC, 44100)
    aac = encode(tmp_path / "secret.ts", MUSIC, 44100, "aac", container="mpegts")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        port = server.getsockname()[1]
        url = f"http://127.0.0.1:{port}/x.ts"
        for i, content in enumerate(_pointers(str(secret), str(aac), url, port)):
            path = tmp_path / f"{i}{name}"
            path.write_text(content)
            refused(path)
        with pytest.raises(TimeoutError):
            server.accept()


def test_ffmpeg_may_open_nothing_but_the_file(tmp_path: Path) -> None:
    """Even a playlist that reaches FFmpeg under a playlist's name is not followed."""
    segment = encode(tmp_path / "secret.ts", MUSIC, 44100, "aac", container="mpegts")
    path = tmp_path / "a.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{segment}\n#EXT-X-ENDLIST\n")
    with io.FileIO(path) as file, av.open(file) as followed:  # what the test is about: by default it is
        assert next(followed.decode(audio=0)).samples
    with io.FileIO(path) as file, pytest.raises(UnsupportedAudio), _open_stream(file, "a.m3u8"):
        pass


def test_a_playlist_is_refused_as_one(tmp_path: Path) -> None:
    """The error for a playlist says what to give instead."""
    (tmp_path / "a.m3u").write_text("#EXTM3U\nsong.mp3\n")
    assert "playlist" in refused(tmp_path / "a.m3u")


def _pointers(secret: str, segment: str, url: str, port: int) -> list[str]:
    hls = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{}\n#EXT-X-ENDLIST\n"
    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT6S">'
        '<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    return [
        *(hls.format(target) for target in (segment, f"file:{segment}", url, f"concat:{segment}|{segment}")),
        *("\n" + hls.format(target) for target in (segment, url)),
        *(f"ffconcat version 1.0\nfile '{target}'\n" for target in (secret, url)),
        *(f" \nffconcat version 1.0\nfile '{target}'\n" for target in (secret, url)),
        *(mpd.format(target) for target in (segment, url)),
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
        f"[playlist]\nFile1={url}\nNumberOfEntries=1\n",
        f"<asx version='3.0'><entry><ref href='{url}'/></entry></asx>",
        f"[Reference]\nRef1={url}\n",
        f"RTSPtext\n{url}\n",
    ]


def test_a_slow_device_is_interruptible_between_blocks(tmp_path: Path) -> None:
    """Decoding happens block by block in the caller's thread: no thread of its own stays behind."""
    path = encode(tmp_path / "a.flac", MUSIC, 44100, "flac")
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        _interrupt_after_first_block(path)
    assert threading.active_count() == before
    path.unlink()


def _interrupt_after_first_block(path: Path) -> None:
    with open_audio(path, name="a.flac", rate_hz=RATE_HZ) as reader:
        for _ in reader:
            raise KeyboardInterrupt


def _png() -> bytes:
    """Return a picture of 8 by 8 grey points."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + bytes(range(8)) for _ in range(8)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows)
        + chunk(b"IEND", b"")
    )


def _video(path: Path, *, with_audio: bool) -> Path:
    """Write a film of grey pictures, 10 a second, and music."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("aac", rate=44100, layout="mono") if with_audio else None
        for i in range(60):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * i, np.uint8), format="rgb24")
            out.mux(video.encode(picture))
            if audio:
                part = MUSIC[i * 4410 : (i + 1) * 4410].reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 44100, i * 4410
                out.mux(audio.encode(frame))
        for stream in (video, audio):
            if stream:
                out.mux(stream.encode(None))
    return path
