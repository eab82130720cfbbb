"""The bytes of one layer in recompression, on the worker thread: two digests in, one out, the codecs between.

Refuses to know the event loop: what is ready is handed to an outlet, or to a function that waits until it is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fastcopy import codecs
from fastcopy._native import Counters, Hasher, Pump, PumpError, Report, Why
from fastcopy.codecs import PIECE
from fastcopy.descriptor import Descriptor, Digest
from fastcopy.errors import DigestMismatch, FastcopyError, LinkLost, SizeMismatch, Stalled

if TYPE_CHECKING:
    from fastcopy._native import Inlet, Outlet, Rate

Send = Callable[[bytes], None]


class Inflow:
    """One layer: what came in, what it inflates to, what it became. One thread at a time."""

    def __init__(
        self,
        what: Descriptor,
        encoder: codecs.Encoder,
        outlet: Outlet,
        send: Send | None,
        *,
        stall: float,
        rate: Rate | None,
    ) -> None:
        self._what, self._encoder, self._send, self._stall = what, encoder, send, stall
        self._rate, self._stopped = rate, threading.Event()
        self.outlet = outlet
        self._source, self._diff, self._new = Hasher(what.digest.algorithm), Hasher(), Hasher()
        self._pump = Pump([outlet], -1, hasher=self._new, stall=stall)
        self._decoder: codecs.Decoder | None = None
        self._room = bytearray(PIECE)

    @property
    def position(self) -> int:
        """Bytes of the source that were taken."""
        return self._source.length

    @property
    def diff_id(self) -> Digest:
        """Digest of the uncompressed bytes."""
        return Digest(f"sha256:{self._diff.hexdigest()}")

    @property
    def digest(self) -> Digest:
        """Digest of the new blob."""
        return Digest(f"sha256:{self._new.hexdigest()}")

    @property
    def annotations(self) -> Mapping[str, str]:
        """What the new blob's descriptor has to say, once it is finished."""
        return self._encoder.annotations

    @property
    def size(self) -> int:
        """Bytes of the new blob."""
        return self._new.length

    def counts(self) -> Counters:
        """What the meters show; any thread."""
        moved = self._pump.counters()
        return Counters(self._source.length, moved.written, moved.wait_in_ns, moved.work_ns, moved.wait_out_ns)

    def stop(self) -> None:
        """End whoever works here within milliseconds; any thread."""
        self._stopped.set()
        self._pump.stop()

    def close(self) -> None:
        """Leave no thread behind."""
        self._encoder.close()

    def pour(self, inlet: Inlet) -> None:
        """Take all that *inlet* gives; raises LinkLost or Stalled when it breaks, what came before it is taken."""
        view = memoryview(self._room)
        while True:
            have, broken = self._fill(inlet, view)
            if have:
                self.take(bytes(view[:have]))
            if broken is not None:
                raise broken
            if have < PIECE:
                return

    def _fill(self, inlet: Inlet, view: memoryview) -> tuple[int, FastcopyError | None]:
        have = 0
        while have < PIECE:
            try:
                got = inlet.read_into(view[have:], stall=self._stall)
            except PumpError as error:
                return have, self._source_failure(error)
            if got == 0:
                break
            have += got
        return have, None

    def _source_failure(self, error: PumpError) -> FastcopyError:
        blob, at = f"reading blob {self._what.digest}", f"after {self.position} of {self._what.size} bytes"
        if error.why is Why.SOURCE_STALLED:
            return Stalled(f"{blob}: no byte for {self._stall:g} s {at}", side="source")
        return LinkLost(f"{blob}: connection lost {at}{error.detail and ': ' + error.detail}", side="source")

    def take(self, data: bytes) -> None:
        """The next bytes of the source; raises IntegrityError, and what the destination raises."""
        self._spend(len(data))
        self._source.update(data)
        if self._decoder is None:
            self._decoder = codecs.decoder(codecs.sniff(data))
        try:
            for piece in self._decoder.feed(data):
                self._diff.update(piece)
                for made in self._encoder.feed(piece):
                    self._give(made)
        except FastcopyError as error:
            raise self._named(error) from None

    def _spend(self, count: int) -> None:
        """Wait until the run's bandwidth has room for *count* bytes that were read."""
        while self._rate is not None and count > 0 and not self._stopped.is_set():
            passed, seconds = self._rate.take(count)
            count -= passed
            if not passed:
                self._stopped.wait(seconds)

    def _give(self, data: bytes) -> None:
        report = self._pump.feed(data)
        if report.why is not Why.DONE:
            raise LinkLost(
                f"writing blob {self._what.digest}: {self.outlet.detail or report.detail}", side="destination"
            )
        if self._send is not None:
            self._send(data)

    def _named(self, error: FastcopyError) -> FastcopyError:
        """Damage is the source's, and the message names the layer."""
        if not error.side:
            error.message = f"layer {self._what.digest}: {error.message}"
            error.side = "source"
        return error

    def finish(self) -> Report:
        """Nothing more comes: verify what was read, give the rest; raises IntegrityError."""
        self._verify()
        try:
            (self._decoder or codecs.decoder("none")).finish()
        except FastcopyError as error:
            raise self._named(error) from None
        for made in self._encoder.finish():
            self._give(made)
        return self._pump.finish()

    def _verify(self) -> None:
        what = self._what
        if what.size not in (-1, self.position):
            raise SizeMismatch(
                f"blob {what.digest} has {self.position} bytes, its descriptor says {what.size}", side="source"
            )
        if self._source.digest() != what.digest.raw:
            raise DigestMismatch(f"blob {what.digest}: Digest did not match the bytes that were read", side="source")
