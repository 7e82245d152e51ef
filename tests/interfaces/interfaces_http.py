"""An HTTP server of the tests' own table, and a client of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import trio

from dejavud.interfaces.http import HttpSettings, serve_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from interfaces_table import Stage

    from dejavud.services.uploads import UploadStore


@asynccontextmanager
async def serving(
    stage: Stage, uploads: UploadStore, settings: HttpSettings | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, trio.CancelScope]]:
    """Give a client of a running server, and the scope whose cancellation ends that server."""
    settings = settings or HttpSettings(port=0)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def serve(*, task_status: trio.TaskStatus[str]) -> None:
                with scope:
                    await serve_http(stage.table(), uploads, stage.hub, settings=settings, task_status=task_status)

            url = await nursery.start(serve)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
                yield client, scope
            scope.cancel()
