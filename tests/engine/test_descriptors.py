"""Attempts that failed leave nothing open, long before Python looks for cycles."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import faults as broken
from tests.copy.world import fresh, image
from tests.registries import embedded_registry
from tests.sync.world import Place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts what /proc shows")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No cycle is found."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _eventfds() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += "eventfd" in os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
    return found


@pytest.mark.parametrize("retries", [0, 5])
def test_failed_attempts_keep_no_descriptors(tmp_path: Path, uncollected: None, retries: int) -> None:
    """Ten images whose uploads break, each time: every pump had two descriptors, and none is left of them."""
    faults = broken.Faults()
    with embedded_registry(tmp_path) as source, embedded_registry(tmp_path, middleware=faults) as destination:
        faults.add(broken.drop_upload(100_000), method="PUT|PATCH", path="/uploads/")
        base, to = fresh("fds/a"), fresh("fds/b")
        for number in range(10):
            image(source, f"{base}/i{number}", sizes=(300_000,))
        place, before = Place(tmp_path, source, destination), _eventfds()
        ran = place.listed([f"i{n}:1" for n in range(10)], f"--retry-times={retries}", "--no-journal", base=base, to=to)
        assert ran.code == 3, ran.err
        assert _eventfds() - before <= 3
