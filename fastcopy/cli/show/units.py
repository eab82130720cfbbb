"""Sizes, rates and times for people, as skopeo's bars write them (KiB, one decimal)."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def _scaled(count: float) -> tuple[str, str]:
    power = 0
    while power < len(_UNITS) - 1 and abs(count) >= 1024:
        count /= 1024
        power += 1
    return (f"{count:.1f}" if power else f"{count:.0f}"), _UNITS[power]


def size(count: float) -> str:
    """``25.9MiB``."""
    return "".join(_scaled(count))


def rate(bytes_per_second: float) -> str:
    """``12.3 MiB/s``."""
    return " ".join(_scaled(bytes_per_second)) + "/s"


def seconds(value: float) -> str:
    """``0.4s``, ``12s``, ``3m05s``, ``2h07m``."""
    if value < 10:
        return f"{value:.1f}s"
    whole = round(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
