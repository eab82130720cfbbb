"""Zstandard: one frame with a checksum, compressed by zstd's own workers."""

from __future__ import annotations

from typing import Final

import pyzstd

from fastcopy.codecs.base import PIECE, Encoder

_DEFAULT: Final = 3
#: 20 and above want windows that podman's and containerd's readers refuse by default; skopeo's best is near 11.
_BEST: Final = 19
#: Bytes of input that one worker compresses at a time. Fixed, because it decides the output; small, because each
#: worker holds it twice. Measured on 400 MiB of /usr at level 3 against zstd's own choice of 8 MiB: 2 MiB costs 0.8 %
#: in size, 4 MiB 0.2 %; CPU is the same.
_JOB: Final = 4 << 20


def parameters(level: int | None, workers: int | None) -> dict[int, int]:
    """What zstd is told; *level* outside 1 to 19 is brought inside, *workers* None: on the caller's thread."""
    parameter = pyzstd.CParameter
    options: dict[int, int] = {
        parameter.compressionLevel: min(max(_DEFAULT if level is None else level, 1), _BEST),
        parameter.checksumFlag: 1,
    }
    if workers is not None and pyzstd.zstd_support_multithread:
        options |= {parameter.nbWorkers: max(workers, 1), parameter.jobSize: _JOB}
    return options


class ZstdEncoder(Encoder):
    """One frame; *level* outside 1 to 19 is brought inside."""

    def __init__(self, level: int | None = None, workers: int = 1) -> None:
        self._inner = pyzstd.ZstdCompressor(parameters(level, workers))

    def feed(self, data: bytes) -> list[bytes]:
        return _pieces(self._inner.compress(data))

    def finish(self) -> list[bytes]:
        return _pieces(self._inner.flush())


def _pieces(data: bytes) -> list[bytes]:
    return [data[start : start + PIECE] for start in range(0, len(data), PIECE)]
