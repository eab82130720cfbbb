"""What answers announce of limits, in the dialects that registries speak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcopy.http.pacing import read_allowance, tell
from fastcopy.http.wire import Headers, Response
from fastcopy.schedule import Allowance

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"RateLimit": "limit=100, remaining=50, reset=30"}, Allowance(50, 30.0, 100)),
        ({"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'}, Allowance(50, 30, 100, 60)),
        ({"RateLimit-Limit": "100", "RateLimit-Remaining": "7", "RateLimit-Reset": "12"}, Allowance(7, 12.0, 100)),
        ({"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "7"}, Allowance(7, None, 100)),
        (
            {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"},
            Allowance(76, None, 100, 21600.0),
        ),
        (
            {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "3", "X-RateLimit-Reset": str(int(NOW) + 40)},
            Allowance(3, 40.0, 60),
        ),
        ({"X-RateLimit-Remaining": "3", "X-RateLimit-Reset": str(int(NOW) - 40)}, Allowance(3, 0.0)),
        ({"X-Rate-Limit-Remaining": "3", "X-Rate-Limit-Reset": "5"}, Allowance(3, 5.0)),
        ({"x-ms-ratelimit-remaining-calls-per-second": "12.5"}, Allowance(12, 1.0)),
        ({"Content-Type": "text/plain"}, None),
        ({"RateLimit-Remaining": "many"}, None),
        ({"RateLimit-Remaining": "-1"}, None),
        ({"RateLimit": "remaining=99999999999999999999"}, None),
    ],
)
def test_each_dialect_is_understood(fields: dict[str, str], expected: Allowance | None) -> None:
    """Remaining, reset, limit and window; what is not understood is not guessed."""
    assert read_allowance(Headers(fields.items()), NOW) == expected


@given(
    st.dictionaries(st.sampled_from(["RateLimit", "RateLimit-Remaining", "X-RateLimit-Reset"]), st.text(), max_size=3)
)
def test_no_header_does_harm(fields: dict[str, str]) -> None:
    """Whatever a registry writes: an allowance with sensible numbers, or none."""
    found = read_allowance(Headers(fields.items()), NOW)
    assert found is None or (found.remaining >= 0 and (found.reset is None or found.reset >= 0))


class Heard:
    """Records what a turn is told."""

    def hear(self, refused: bool, pause: float | None, said: Allowance | None) -> None:
        self.said = (refused, pause, said)

    def over(self) -> None:
        raise AssertionError("not asked to")


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (429, {"Retry-After": "7"}, (True, 7.0, None)),
        (429, {}, (True, None, None)),
        (503, {"Retry-After": "7"}, (False, 7.0, None)),
        (200, {"Retry-After": "7", "RateLimit-Remaining": "1"}, (False, None, Allowance(1))),
    ],
)
def test_an_answer_is_told_as_refusal_pause_and_allowance(
    status: int, fields: dict[str, str], expected: tuple[bool, float | None, Allowance | None]
) -> None:
    """429 is a refusal; Retry-After counts with 429 and 503 only."""
    heard = Heard()
    tell(heard, Response(status, Headers(fields.items()), b"", None, "1.1"), NOW)
    assert heard.said == expected
