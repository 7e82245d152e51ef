"""The commands of tokens: made, listed and removed while doors are open, and kept in a file of the data folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
import trio

from dejavud.errors import DejavudError, InvalidRequest, TokenNotFound, UnwritableFile
from dejavud.services.clients import check_client_name
from dejavud.services.commands import NoParameters
from dejavud.services.private_files import write_private
from dejavud.services.tokens import FILE, MAX_TOKENS, Token, digest_of, new_token, record_of, scopes_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dejavud.services.access import Access
    from dejavud.services.commands import Call, Handler
    from dejavud.services.workers import Workers

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_FLUSH_S = 60.0
"""Between two times that the file takes note of when tokens were last used."""


@dataclass(frozen=True, slots=True)
class AddToken:
    """Parameters of ``access.add``: what the token is called, and what who has it may do."""

    name: str
    scopes: tuple[str, ...]

    def __post_init__(self) -> None:
        check_client_name(self.name)
        scopes_of(self.scopes)


@dataclass(frozen=True, slots=True)
class RemoveToken:
    """Parameters of ``access.remove``."""

    name: str


class TokenStore:
    """Changes the tokens of `access` and the file in `folder` together: the file first, so that what counts is never forgotten."""

    def __init__(self, access: Access, folder: Path, workers: Workers) -> None:
        self._access = access
        self._path = folder / FILE
        self._workers = workers
        self._turns = trio.Lock()

    def rows(self) -> tuple[tuple[str, type, Handler], ...]:
        """Return the rows of the command table."""
        return (
            ("access.list", NoParameters, self.list),
            ("access.add", AddToken, self.add),
            ("access.remove", RemoveToken, self.remove),
        )

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have the file say when tokens were last used, now and then until cancelled, and once more then."""
        task_status.started()
        try:
            while True:
                await self._access.used.wait()
                await trio.sleep(_FLUSH_S)
                await self._flush()
        finally:
            with trio.CancelScope(shield=True):
                await self._flush()

    async def _flush(self) -> None:
        if not self._access.used.is_set():
            return
        self._access.used = trio.Event()
        async with self._turns:
            try:
                await self._write(self._access.tokens)
            except DejavudError as error:  # that a date is old harms nobody, and the next try may succeed
                log.warning("tokens_not_written", reason=error.message)

    async def _write(self, tokens: Iterable[Token]) -> None:
        """Have the file hold these; raises `UnwritableFile`."""
        try:
            with trio.CancelScope(shield=True):
                await self._workers.thread(write_private, self._path, [record_of(token) for token in tokens])
        except OSError as error:
            user, folder = os.getuid(), self._path.parent
            raise UnwritableFile(path=self._path, reason=error.strerror, user=user, folder=folder) from error

    async def list(self, _params: NoParameters, _call: Call) -> dict[str, Any]:
        """Return every token, but what it is."""
        return {"tokens": [token.view for token in self._access.tokens]}

    async def add(self, params: AddToken, _call: Call) -> dict[str, Any]:
        """Make a token and return it, this once: nobody can tell it again."""
        text = new_token()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        added = Token(params.name, digest_of(text), scopes_of(params.scopes), now)
        async with self._turns:
            tokens = self._access.tokens
            if any(token.name == params.name for token in tokens):
                reason = f"there is a token {params.name!r} already: dejavuctl tokens rm {params.name}"
                raise InvalidRequest(reason=reason)
            if len(tokens) >= MAX_TOKENS:
                raise InvalidRequest(reason=f"there are {MAX_TOKENS} tokens, which is all that there may be")
            await self._write((*tokens, added))
            self._access.add(added)
        log.info("token_added", token_name=added.name, scopes=added.view["scopes"])
        return {"token": {**added.view, "token": text}}

    async def remove(self, params: RemoveToken, _call: Call) -> dict[str, Any]:
        """Let nobody in by a token any more, and end the connections that it opened."""
        async with self._turns:
            tokens = self._access.tokens
            found = next((token for token in tokens if token.name == params.name), None)
            if found is None:
                raise TokenNotFound(name=params.name[:80], known=", ".join(token.name for token in tokens) or "none")
            await self._write(token for token in tokens if token.name != found.name)
            self._access.remove(found.name)
        log.info("token_removed", token_name=found.name)
        return {"removed": found.view}
