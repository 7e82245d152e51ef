"""An async client of dejavud over HTTP, for trio and for asyncio.  It needs httpx (and anyio, which comes with it); copy the folder, or install dejavud[client].

import trio  # or asyncio
from dejavud_client import Dejavud

async def main():
    async with Dejavud() as daemon:
        answer = await daemon.recognize(Path("clip.mp3"))
        print(answer.best.track.title if answer.best else "no match")
        async with daemon.events("match.") as events:
            async for event in events:
                print(event.topic, event.data)

trio.run(main)  # or asyncio.run(main())
"""

from dejavud_client.answers import Added, Error, Event, Gap, Job, Listener, Match, Play, Recognition, Track
from dejavud_client.client import Dejavud

__all__ = [
    "Added",
    "Dejavud",
    "Error",
    "Event",
    "Gap",
    "Job",
    "Listener",
    "Match",
    "Play",
    "Recognition",
    "Track",
]
