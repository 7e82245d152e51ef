"""Receives dejavud's webhooks, checks their signatures, and prints what plays.  Standard library only.

    WEBHOOK_SECRET=whsec_... python webhook_receiver.py 8080

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), for which there are libraries in many languages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TOLERANCE_S = 300
"""Older messages may be ones that somebody recorded and sends again."""
MAX_BYTES = 1 << 20


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Tell whether whoever knows `secret` sent `body`, and lately."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = "v1," + base64.b64encode(digest).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 for what is genuine, whether it came before or not, and 401 for all else."""

    secret = os.environ.get("WEBHOOK_SECRET", "")
    seen: set[str] = set()  # noqa: RUF012 - of the whole server; a real one keeps the ids of the last minutes only

    def do_POST(self) -> None:
        """Take one event."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), MAX_BYTES))
        if not is_genuine(self.secret, {name.lower(): value for name, value in self.headers.items()}, body):
            self.send_error(401)
            return
        self.send_response(204)
        self.end_headers()
        message_id = self.headers["webhook-id"]
        if message_id not in self.seen:  # a try whose answer was lost is made again
            self.seen.add(message_id)
            tell(json.loads(body))

    def log_message(self, *_args: object) -> None:
        """Say nothing: what plays is said."""


def tell(event: dict[str, object]) -> None:
    """Print an event."""
    if event.get("lost"):
        print(f"({event['lost']} events were lost here)", flush=True)
    data = event["data"]
    track = data.get("track") if isinstance(data, dict) else None
    print(event["topic"], track["title"] if track else "", flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"receiving at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
