"""docker-daemon: - images of a Docker daemon, or of what speaks its API, by way of what docker save and load do.

A saved archive names its parts at its end, so it is spooled into an unnamed file and read there, like docker-archive:.
An archive to load is made complete first: nothing reaches the daemon that was not verified.
"""

from __future__ import annotations

from pathlib import Path

from fastcopy.codecs import PIECE
from fastcopy.errors import Unsupported
from fastcopy.http.h1 import Exchange
from fastcopy.names import ArchiveRef, DaemonRef
from fastcopy.transports._archive import ArchiveFiles
from fastcopy.transports._archive_out import ArchiveWriter
from fastcopy.transports._daemon_api import PATIENCE, Daemon
from fastcopy.transports._local import in_thread
from fastcopy.transports.docker_archive import DockerArchiveDestination, DockerArchiveSource


class DaemonFiles(ArchiveFiles):
    """The members of the archive that the daemon saves of one image."""

    def __init__(self, daemon: Daemon, name: str, tmpdir: Path | None) -> None:
        super().__init__(f"docker-daemon:{name}", tmpdir)
        self._daemon, self._name = daemon, name

    async def prepare(self) -> None:
        async with self._preparing:
            if self._index is None:
                async with self._daemon.exchange() as exchange:
                    await self._daemon.save(exchange, self._name)
                    await self._receive(exchange)
                self._index = await in_thread(self._indexed)

    async def _receive(self, exchange: Exchange) -> None:
        """Spool the body of the answer."""
        self.close()  # what an attempt before this one left
        self._fd = await in_thread(self._spool)
        data = b" "
        while data:
            room = bytearray()
            while len(room) < PIECE and (data := await exchange.read_some(PATIENCE)):
                room += data
            await in_thread(lambda piece=bytes(room): self._append(piece, self._fd))  # type: ignore[misc]


class DaemonSource(DockerArchiveSource):
    """Reads one image of a daemon."""

    transport = "docker-daemon"

    def __init__(self, ref: DaemonRef, daemon: Daemon, tmpdir: Path | None) -> None:
        name = str(ref.image_id or (ref.named.familiar if ref.named else ""))
        super().__init__(ArchiveRef("docker-archive", ""), DaemonFiles(daemon, name, tmpdir))
        self.name, self.place = str(ref), str(daemon.origin)


class DaemonDestination(DockerArchiveDestination):
    """Loads one image into a daemon."""

    def __init__(self, ref: DaemonRef, daemon: Daemon, tmpdir: Path | None) -> None:
        if ref.named is None or not ref.named.tag:
            raise Unsupported(f"Invalid destination {ref}: a destination must be a name:tag")
        name = str(ref.named)
        writer = ArchiveWriter(str(ref), tmpdir, spool=True)
        super().__init__(ArchiveRef("docker-archive", "", name), tmpdir, writer=writer)
        self.name, self.place = str(ref), str(daemon.origin)
        self._daemon = daemon

    async def commit(self) -> None:
        await super().commit()
        await self._daemon.load(self.writer.fd, self.writer.size)
