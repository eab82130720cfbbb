"""HTTP/2 frames as bytes: grants of window may be added up without changing what they mean."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fastcopy.http import h2_frames as frames

_GRANTS = st.tuples(st.just(frames.WINDOW_UPDATE), st.sampled_from([0, 1, 3]), st.integers(1, frames.MOST))
_OTHERS = st.tuples(st.sampled_from([frames.PING, 0x4, 0x0]), st.sampled_from([0, 1]), st.integers(0, 40))


def _frame(kind: int, stream: int, value: int) -> bytes:
    if kind == frames.WINDOW_UPDATE:
        return frames.window_update(value, stream)
    return value.to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + bytes(value)


def _split(data: bytes) -> tuple[Counter[int], list[bytes]]:
    """What is granted per stream, and every other frame."""
    granted: Counter[int] = Counter()
    others, at = [], 0
    while at < len(data):
        end = at + frames.frame_length(data, at)
        if data[at + 3] == frames.WINDOW_UPDATE:
            granted[int.from_bytes(data[at + 5 : at + 9], "big")] += int.from_bytes(data[at + 9 : end], "big")
        else:
            others.append(data[at:end])
        at = end
    return granted, others


@given(st.lists(st.one_of(_GRANTS, _OTHERS), max_size=40))
def test_merged_grants_grant_as_much(made: list[tuple[int, int, int]]) -> None:
    """Per stream the same sum, in increments a frame can say; other frames unchanged and in order."""
    data = b"".join(_frame(*each) for each in made)
    merged = frames.merged(data)

    assert _split(merged) == _split(data)
    assert len(merged) <= len(data)


def test_a_grant_of_nothing_stays_an_error() -> None:
    """RFC 9113 6.9: an increment of 0 is a protocol error, which adding up must not hide."""
    nothing = frames.window_update(0, 1)

    assert frames.merged(nothing + frames.window_update(5, 1)) == nothing + frames.window_update(5, 1)
