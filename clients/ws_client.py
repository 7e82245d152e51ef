#!/usr/bin/env python3
"""Ask dejavud over WebSocket what a file is, as dejavu's own ws_client.py did: bytes out, one text in.

ws_client.py clip.mp3
ws_client.py clip.mp3 --url ws://radio.example:4242 --token TOKEN
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, HandshakeError, open_websocket_url


async def ask(url: str, audio: bytes, token: str | None) -> str:
    """Return the daemon's answer about `audio`: a name, or why there is none."""
    headers = [(b"Authorization", b"Bearer " + token.encode())] if token else []
    async with open_websocket_url(url, extra_headers=headers) as connection:
        await connection.send_message(audio)
        return str(await connection.get_message())


def main() -> int:
    """Print the answer; return 0 when there was one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="any audio file, or a part of one")
    parser.add_argument("--url", default="ws://127.0.0.1:4242/", help="default: %(default)s")
    parser.add_argument("--token", default=os.environ.get("DEJAVUD_TOKEN"), help="default: the variable DEJAVUD_TOKEN")
    arguments = parser.parse_args()
    try:
        print(trio.run(ask, arguments.url, arguments.file.read_bytes(), arguments.token))
    except ConnectionRejected as error:
        reason = (error.body or b"").decode("utf-8", "replace")
        sys.exit(f"ws_client: refused with status {error.status_code}: {reason}")
    except ConnectionClosed as error:
        sys.exit(f"ws_client: the daemon closed the connection: {error.reason}")
    except (HandshakeError, OSError) as error:
        sys.exit(f"ws_client: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
