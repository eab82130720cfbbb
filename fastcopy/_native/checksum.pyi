"""CRC-64 of ISO 3309, reflected (Go's crc64.ISO)."""

from typing_extensions import Buffer

def crc64(data: Buffer, state: int = 0) -> int:
    """Continue from *state* (0 at first) over *data*; state and result are unsigned, of 64 bits."""
