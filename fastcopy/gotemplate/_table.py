"""Go's text/tabwriter with the settings of containers/common's report package: cells end in tabs, columns align.

A column is a run of neighbouring lines that have a cell there; each is as wide as its widest cell plus padding.
"""

from __future__ import annotations

from typing import Final

_MIN_WIDTH: Final = 12
_PADDING: Final = 2


def align(text: str) -> str:
    """*text* with its tab-terminated cells made equally wide."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, widths, 0, len(lines), 0)
    return "\n".join(
        "".join(cell.ljust(width) for cell, width in zip(cells, row, strict=False)) + cells[-1]
        for cells, row in zip(lines, widths, strict=True)
    )


def _measure(lines: list[list[str]], widths: list[list[int]], first: int, last: int, column: int) -> None:
    """Set the widths of *column* for the blocks of lines in ``[first, last)`` that have one, then go right."""
    at = first
    while at < last:
        if len(lines[at]) - 1 <= column:
            at += 1
            continue
        end = at
        while end < last and len(lines[end]) - 1 > column:
            end += 1
        # A column of empty cells takes no room (tabwriter's DiscardEmptyColumns is off, so it has the minimum).
        width = max(_MIN_WIDTH, max(len(lines[row][column]) for row in range(at, end)) + _PADDING)
        for row in range(at, end):
            widths[row].append(width)
        _measure(lines, widths, at, end, column + 1)
        at = end
