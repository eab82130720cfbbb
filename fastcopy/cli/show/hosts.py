"""One side of one registry in words: how fast it goes there, how much is in flight, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterator

from fastcopy.cli.show.progress import Progress
from fastcopy.cli.show.units import rate, seconds
from fastcopy.events import HostMeter


def host_text(host: HostMeter, progress: Progress, *, short: bool = False) -> str:
    """``from harbor-a.lan 12.3 MiB/s, 8 of 8 bodies, 24 waiting``; *short*: behind the rate only what is unusual."""
    head = f"{'from' if host.side == 'source' else 'to'} {host.host} {rate(progress.host_speed(host))}"
    usual = [] if short else list(_usual(host))
    return ", ".join([head, *usual, *_unusual(host)])


def _usual(host: HostMeter) -> Iterator[str]:
    yield f"{host.bodies} of {host.window} bodies"
    if host.requests:
        yield f"{host.requests} requests"
    if host.waiting:
        yield f"{host.waiting} waiting"


def _unusual(host: HostMeter) -> Iterator[str]:
    if host.closed >= 1:
        yield f"closed for {seconds(host.closed)}"
    if host.pace is not None:
        yield f"paced at {host.pace:.1f} requests/s"
    if host.shrunk:
        yield f"window shrunk {host.shrunk} {'time' if host.shrunk == 1 else 'times'}"
