"""`python -m benchmarks.micro [handover] [head] [parts]`: prints the numbers and the machine they hold for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks.machine import this_machine
from benchmarks.micro import handover, head, parts

MEASURES: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "handover": handover.measure,
    "head": head.measure,
    "parts": parts.measure,
}


def main(names: Sequence[str]) -> int:
    """Run the named measures, or all."""
    unknown = [name for name in names if name not in MEASURES]
    if unknown:
        print(f"no measure {', '.join(unknown)}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    machine = this_machine()
    print(f"{machine.cpu}, Linux {machine.kernel}, Python {sys.version.split()[0]}")
    for name in names or MEASURES:
        for label, value in MEASURES[name]():
            print(f"{label:55} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
