"""Runs against registries that count requests: nothing fails, the rate is used, little is wasted."""

from __future__ import annotations

from pathlib import Path

from tests.copy.world import image
from tests.pacing.limited import Limited
from tests.registries import Registry, embedded_registry
from tests.sync.world import Place


def _sync(tmp_path: Path, limit: Limited, source: Registry, count: int) -> dict[str, object]:
    with embedded_registry(tmp_path, middleware=limit) as destination:
        place = Place(tmp_path, source, destination)
        for number in range(count):
            image(source, f"paced/i{number}", layers=[f"paced {number}".encode() * 50])
        report = str(tmp_path / "report.json")
        lines = [f"i{number}:1" for number in range(count)]
        ran = place.listed(lines, "--report", report, base="paced", to="x")
        assert ran.code == 0, ran.err
        return dict(place.report())


def test_a_limited_destination_is_filled_without_failure_and_with_few_refusals(
    tmp_path: Path, docker_plain: Registry
) -> None:
    """20 requests per second: every image arrives, a tenth of the requests at most is refused, the report says so."""
    limit = Limited(rate=20, burst=20)
    report = _sync(tmp_path, limit, docker_plain, 20)
    assert report["counts"] == {"copied": 20}
    assert limit.refused <= 10 + limit.served / 10
    assert report["requests_refused"] == limit.refused


def test_a_limit_that_is_announced_is_not_hit(tmp_path: Path, docker_plain: Registry) -> None:
    """RateLimit fields with every answer: once the first has been read, nothing is refused any more."""

    def said(left: int, reset: float) -> list[tuple[str, str]]:
        return [("RateLimit", f"limit=60, remaining={left}, reset={int(reset) + 1}")]

    limit = Limited(burst=60, period=2.0, headers=said)
    report = _sync(tmp_path, limit, docker_plain, 20)
    assert report["counts"] == {"copied": 20}
    assert limit.served > 120, "several periods were needed"
    assert limit.refused == 0


def test_what_is_not_moved_in_vain_is_not_in_the_summary(tmp_path: Path, docker_plain: Registry) -> None:
    """A run without faults has no extra bytes to tell of."""
    limit = Limited(on=False)
    report = _sync(tmp_path, limit, docker_plain, 3)
    assert report["extra"] == {}
