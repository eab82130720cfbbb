"""Open uploads: who holds them, where they stand, when they are forgotten.

An upload outlives its connection: bytes received before a drop stay, and the offset told is the number of bytes
stored and digested. One request at a time may write to it. No sockets, no routes.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import trio

from fastcopy.serve.content import Spool
from fastcopy.serve.message import Refusal

#: How long a request waits for another one on the same upload. A client that lost its connection may be back before
#: we have noticed the loss; loopback and LAN resets arrive within milliseconds.
_PATIENCE = 10.0


@dataclass(eq=False)
class Session:
    """One open upload."""

    name: str
    spool: Spool
    touched: float
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    closed: bool = False
    lock: trio.Lock = field(default_factory=trio.Lock)

    @property
    def offset(self) -> int:
        """Bytes stored."""
        return self.spool.length

    @property
    def path(self) -> str:
        """The upload's own path, for Location."""
        return f"/v2/{self.name}/blobs/uploads/{self.id}"

    def close(self) -> None:
        """Forget the upload and its bytes."""
        self.closed = True
        self.spool.close()


class Uploads:
    """All open uploads of a server."""

    def __init__(self, make_spool: Callable[..., Spool], keep_seconds: float) -> None:
        self._make_spool = make_spool
        self._keep_seconds = keep_seconds
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def start(self, name: str, algorithm: str = "sha256") -> Session:
        """A new empty upload into a repository."""
        self._forget_old()
        session = Session(name, self._make_spool(algorithm), trio.current_time())
        self._open[session.id] = session
        return session

    @contextlib.asynccontextmanager
    async def held(self, name: str, upload_id: str) -> AsyncIterator[Session]:
        """The upload, for this request alone; raises Refusal 404 BLOB_UPLOAD_UNKNOWN, or 409 when busy for long."""
        session = self._find(name, upload_id)
        with trio.move_on_after(_PATIENCE) as scope:
            await session.lock.acquire()
        if scope.cancelled_caught:
            raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")
        try:
            self._find(name, upload_id)  # it may have ended while we waited
            session.touched = trio.current_time()
            yield session
        finally:
            session.touched = trio.current_time()
            session.lock.release()

    def end(self, session: Session) -> None:
        """Take an upload off the list and drop what its spool still owns."""
        self._open.pop(session.id, None)
        session.close()

    def close(self) -> None:
        """Forget all."""
        for session in list(self._open.values()):
            self.end(session)

    def _find(self, name: str, upload_id: str) -> Session:
        session = self._open.get(upload_id)
        if session is None or session.name != name:
            raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return session

    def _forget_old(self) -> None:
        limit = trio.current_time() - self._keep_seconds
        for session in [old for old in self._open.values() if old.touched < limit and not old.lock.locked()]:
            self.end(session)
