"""Small functions, files one can read."""

from __future__ import annotations

import statistics

from tests.house.sources import PACKAGE, ROOT, functions, modules, where

LINES_OF_A_FUNCTION = 60
LINES_OF_A_FILE = 450
MEDIAN = 10
#: Tests may be longer: a table of cases is read from top to bottom, not understood as a whole.
LINES_OF_A_TEST_FILE = 600


def test_no_function_is_longer_than_a_screen() -> None:
    """Sixty lines, decorators apart."""
    long = [
        f"{where(path, each.lineno)} {each.name}"
        for path in modules().values()
        for each in functions(path)
        if (each.end_lineno or 0) - each.lineno + 1 > LINES_OF_A_FUNCTION
    ]
    assert long == []


def test_the_median_function_is_shorter_than_ten_lines() -> None:
    """Most functions say one thing."""
    lengths = [(each.end_lineno or 0) - each.lineno + 1 for path in modules().values() for each in functions(path)]
    assert len(lengths) > 1000
    assert statistics.median(lengths) < MEDIAN


def test_no_file_is_too_long_to_be_read_in_one_go() -> None:
    """Python, Cython and C alike; the benchmarks too."""
    native = [*(PACKAGE / "_native").glob("*.pyx"), *(PACKAGE / "_native" / "csrc").glob("*.[ch]")]
    files = [*modules().values(), *native, *(ROOT / "benchmarks").rglob("*.py")]
    assert native
    assert _longer(files, LINES_OF_A_FILE) == []


def test_no_test_file_is_too_long() -> None:
    """A larger area is split."""
    assert _longer((ROOT / "tests").rglob("*.py"), LINES_OF_A_TEST_FILE) == []


def _longer(files: object, limit: int) -> list[str]:
    counted = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}  # type: ignore[attr-defined]
    return [f"{path.relative_to(ROOT)}: {lines}" for path, lines in counted.items() if lines > limit]
