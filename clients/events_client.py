#!/usr/bin/env python3
"""Print what happens in dejavud, one JSON object a line, until Ctrl-C.

events_client.py                        everything
events_client.py match. track.added     topics that start so
events_client.py --count 1 match.       wait for the next recognition
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import zmq

from dejavud.wire.endpoints import events_endpoint, user_runtime_dir


def main() -> int:
    """Print events; return 0 after as many as were asked for, or at Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topic", nargs="*", default=[""], help="how a topic starts; default: all")
    parser.add_argument(
        "--endpoint", default=events_endpoint(user_runtime_dir(os.environ)), help="default: %(default)s"
    )
    parser.add_argument("--count", type=int, default=0, help="end after so many events")
    arguments = parser.parse_args()
    context = zmq.Context()
    socket = context.socket(zmq.SUB)
    for topic in arguments.topic:
        socket.subscribe(topic)
    try:
        socket.connect(arguments.endpoint)
        n_events = 0
        while n_events < arguments.count or not arguments.count:
            _topic, body = socket.recv_multipart()
            print(json.dumps(json.loads(body), ensure_ascii=False), flush=True)
            n_events += 1
    except zmq.ZMQError as error:
        sys.exit(f"events_client: {arguments.endpoint}: {error.strerror}")
    except KeyboardInterrupt:
        pass
    finally:
        context.destroy(linger=0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
