"""What Prometheus scrapes: the text format against its own parser, and counters that never go back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser

from fastcopy.engine import running
from fastcopy.events import BlobDone, CopyStarted, Retrying, SyncedImage, Waiting
from fastcopy.exposition import Family, Sample, render
from fastcopy.migrate.vitals import Vitals
from fastcopy.options import Options
from fastcopy.serve.message import Reply
from fastcopy.serve.small import answering
from fastcopy.transfer.meters import RunMeters

_LABELS = st.dictionaries(
    st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9_]{0,8}\Z"), st.text(st.characters(codec="utf-8"), max_size=20),
    max_size=3,
)  # fmt: skip


def _parsed(text: str) -> list[Any]:
    return list(parser.text_string_to_metric_families(text))


@given(
    _LABELS, st.floats(allow_nan=False), st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=30)
)
def test_every_label_and_number_survives_the_parser(labels: dict[str, str], value: float, text: str) -> None:
    """Quotes, backslashes and line ends in labels, infinities and fractions in values."""
    (family,) = _parsed(render([Family("some_metric", "gauge", text, (Sample(value, labels),))]))
    (sample,) = family.samples
    assert (sample.name, sample.labels, sample.value) == ("some_metric", labels, value)


def test_the_text_is_what_the_format_says() -> None:
    """HELP, TYPE and samples, escaped, in this order."""
    family = Family("a_total", "counter", 'back\\slash\n"', (Sample(2, {"b": 'x"y\\z\n', "a": "1"}), Sample(math.inf)))
    assert render([family, Family("empty", "gauge", "nothing")]) == (
        '# HELP a_total back\\\\slash\\n"\n# TYPE a_total counter\na_total{a="1",b="x\\"y\\\\z\\n"} 2\na_total +Inf\n'
    )


@pytest.mark.parametrize(("name", "label"), [("1a", "x"), ("a b", "x"), ("a", "__x"), ("a", "x-y")])
def test_names_that_the_format_forbids_are_refused(name: str, label: str) -> None:
    """Where they are made, not where they are scraped."""
    with pytest.raises(ValueError, match="cannot be exposed"):
        Family(name, "gauge", "", (Sample(1, {label: "v"}),))


def _values(vitals: Vitals) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in _parsed(render(vitals.families()))
        for sample in family.samples
    }


async def test_counters_go_on_over_the_rounds() -> None:
    """A new round's meters begin at zero; what is scraped does not."""
    vitals = Vitals()

    async def one(meters: RunMeters) -> None:
        vitals.event(CopyStarted("", "", meters))
        vitals.event(SyncedImage("a", "b", "copied"))
        vitals.event(BlobDone("sha256:0", 70, "mounted"))
        vitals.event(Retrying("x", "broken", 1.0, "source"))
        vitals.event(Waiting("<r.example", "429", 2.5))
        meters.answered("source", "r.example", 206)
        meters.answered("source", "r.example", 429)
        vitals.ended(4.0, well=True, now=1000.0)

    for expected in (1, 2, 3):
        await one(RunMeters())
        found = _values(vitals)
        assert found["fastcopy_images_total", "copied"] == expected
        assert found["fastcopy_blob_bytes_total", "mounted"] == 70 * expected
        assert found["fastcopy_requests_total", "2xx", "r.example", "source"] == expected
        assert found["fastcopy_requests_total", "4xx", "r.example", "source"] == expected
        assert found["fastcopy_retries_total", "source"] == expected
        assert found["fastcopy_wait_seconds_total", "r.example"] == 2.5 * expected
        assert found["fastcopy_round_seconds_sum",] == 4.0 * expected
        assert found["fastcopy_round_seconds_count",] == expected
    assert found["fastcopy_last_success_timestamp_seconds",] == 1000.0


async def test_a_runs_meters_know_each_side_of_each_registry() -> None:
    """Windows and waiting come from the schedule, bytes from the bodies."""

    async def work(engine: Any) -> Any:
        run = engine.run
        async with run.gate.slot(next(iter(run.gate.schedule.limits.start)), ("<a.example", ">b.example")):
            run.meters.took_small("a.example", "source", 100)
            return run.meters.hosts()

    hosts = await running(Options(), work, emit=lambda event: None)
    assert [(each.side, each.host, each.bytes, each.requests) for each in hosts] == [
        ("source", "a.example", 100, 1),
        ("destination", "b.example", 0, 1),
    ]


async def test_the_endpoint_answers_what_it_has_and_nothing_else() -> None:
    """404 for other paths, 405 for other methods, and the connection is kept."""
    documents = {"/healthz": lambda: Reply(200, [("Content-Type", "text/plain")], b"well")}
    async with answering(":0", documents) as host:
        assert host.startswith("127.0.0.1:"), "this machine only, unless the address says otherwise"
        stream = await trio.open_tcp_stream("127.0.0.1", int(host.rpartition(":")[2]))
        async with stream:
            statuses = []
            for method, path in (("GET", "/healthz"), ("GET", "/other"), ("POST", "/healthz")):
                await stream.send_all(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
                statuses.append((await stream.receive_some(65536)).split()[1])
    assert statuses == [b"200", b"404", b"405"]


async def test_idle_connections_do_not_use_up_descriptors() -> None:
    """However many are opened, only a few are held."""
    documents = {"/healthz": lambda: Reply(200, [], b"well")}
    async with answering("127.0.0.1:0", documents) as host:
        port = int(host.rpartition(":")[2])
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(16)]
        one_more = await trio.open_tcp_stream("127.0.0.1", port)
        await one_more.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.move_on_after(0.3) as waited:
            await one_more.receive_some(1000)
        assert waited.cancelled_caught, "it waits until another one is over"
        await streams.pop().aclose()
        with trio.fail_after(30):
            assert (await one_more.receive_some(1000)).startswith(b"HTTP/1.1 200")
        for stream in (*streams, one_more):
            await stream.aclose()
