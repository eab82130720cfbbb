"""Log lines: logrus's two spellings."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

from fastcopy.cli.log import Log


def _log(*, terminal: bool = False, debug: bool = False, zone: timezone = UTC) -> tuple[Log, io.StringIO]:
    stream = io.StringIO()
    moment = datetime(2026, 11, 24, 5, 32, 26, 999, zone)
    ticks = iter([100.0, 107.9, 107.9])
    return Log(stream, terminal=terminal, debug=debug, now=lambda: moment, clock=lambda: next(ticks)), stream


def test_a_line_in_a_file_is_keys_and_values() -> None:
    """Quoted where Go would quote; time in RFC 3339."""
    log, stream = _log()
    log.fatal('it "failed"\n', what="a b", bare="x/y-1.0@2")
    assert stream.getvalue() == (
        'time="2026-11-24T05:32:26Z" level=fatal msg="it \\"failed\\"\\n" bare=x/y-1.0@2 what="a b"\n'
    )


def test_a_single_word_is_not_quoted() -> None:
    """logrus leaves plain words bare, and shows the zone."""
    log, stream = _log(zone=timezone(timedelta(hours=2)))
    log.info("interrupted")
    assert stream.getvalue() == 'time="2026-11-24T05:32:26+02:00" level=info msg=interrupted\n'


def test_a_line_on_a_terminal_has_a_colour_and_the_seconds_so_far() -> None:
    """The message padded to 44 columns, then the fields."""
    log, stream = _log(terminal=True)
    log.warning("careful", host="h")
    assert stream.getvalue() == f"\x1b[33mWARN\x1b[0m[0007] {'careful':<44} \x1b[33mhost\x1b[0m=h\n"


def test_debug_lines_need_debug() -> None:
    """Nothing without --debug."""
    log, stream = _log()
    log.debug("x")
    assert stream.getvalue() == ""
    log, stream = _log(debug=True)
    log.debug("x")
    assert "level=debug msg=x" in stream.getvalue()


def test_a_live_display_gets_the_line_instead() -> None:
    """While bars are drawn, they print log lines themselves."""
    log, stream = _log()
    seen: list[str] = []
    log.paused = seen.append
    log.error("late")
    assert stream.getvalue() == ""
    assert seen == ['time="2026-11-24T05:32:26Z" level=error msg=late']
