"""Which HTTP carries bodies: decided by what happened, in simulations without a network."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from fastcopy.http.choice import ROADS, Choice, Road

MIB = 1 << 20


@dataclass
class Server:
    """A server in numbers: seconds of a round trip, bytes per second, and what it does to connections."""

    rtt: float = 0.03
    rate: float = 100e6
    keep_alive: bool = True
    h2_factor: float = 1.0  #: how much longer a body takes over HTTP/2

    def download(self, choice: Choice, sizes: list[int], now: float = 0.0, width: int = 1) -> float:
        """Read bodies of *sizes*, *width* at a time in step; when that is done."""
        kept = 0
        for start in range(0, len(sizes), width):
            now, kept = self._batch(choice, sizes[start : start + width], now, kept)
        return now

    def _batch(self, choice: Choice, sizes: list[int], now: float, kept: int) -> tuple[float, int]:
        road = choice.road
        for _ in sizes:
            choice.begin(now, road)
        carrying = self.rtt + max(sizes) / self.rate * (1.0 if road == "1.1" else self.h2_factor)
        connecting = 3 * self.rtt if road == "1.1" and kept < len(sizes) else 0.0
        after = now + connecting + carrying
        for number, size in enumerate(sizes):
            choice.end(after, road, size)
            if road == "1.1":
                choice.carried(carrying, None if number < kept else connecting, self.keep_alive)
        return after, len(sizes) if self.keep_alive else 0


def test_a_server_that_keeps_connections_is_left_on_http_1_1() -> None:
    """Eight at a time, each connects once: however long that takes, it does not come again."""
    choice = Choice()
    Server(rtt=0.3).download(choice, [MIB] * 80, width=8)

    assert choice.road == "1.1"
    assert not choice.settled


def test_keep_alive_off_and_mid_size_bodies_take_a_lane() -> None:
    """Three round trips for each body of 1 MiB: HTTP/2 after the second of them."""
    choice = Choice()
    Server(keep_alive=False).download(choice, [MIB] * 3)

    assert choice.road == "lane"


def test_keep_alive_off_and_giants_stay() -> None:
    """A handshake per gibibyte is nothing; HTTP/1.1 is the cheaper road."""
    choice = Choice()
    Server(keep_alive=False, rtt=0.005).download(choice, [1024 * MIB] * 6)

    assert choice.road == "1.1"


def test_connections_that_do_not_last_count_like_closed_ones() -> None:
    """A server that forgets idle connections makes us connect again and again without ever saying close."""
    choice = Choice()
    for number in range(4):
        choice.begin(number, "1.1")
        choice.end(number + 0.2, "1.1", MIB)
        choice.carried(0.1, 0.1, True)

    assert choice.road == "lane"


def test_http_2_that_is_slower_is_left_for_good() -> None:
    """Tried on evidence, found slower: back to HTTP/1.1, and no second try."""
    choice = Choice()
    server = Server(keep_alive=False, rtt=0.01, h2_factor=8.0)
    server.download(choice, [4 * MIB] * 40)

    assert choice.road == "1.1"
    assert choice.settled
    server.download(choice, [4 * MIB] * 10)
    assert choice.road == "1.1"


def test_http_2_that_is_as_fast_stays() -> None:
    """No slower: settled, whatever single bodies do later."""
    choice = Choice()
    Server(keep_alive=False).download(choice, [MIB] * 40)

    assert (choice.road, choice.settled) == ("lane", True)


def test_smaller_bodies_are_no_evidence_against_http_2() -> None:
    """A rate falls with the size of the bodies: only like is compared with like."""
    choice = Choice()
    server = Server(keep_alive=False)
    server.download(choice, [64 * MIB] * 3)
    server.download(choice, [MIB] * 3)
    assert choice.road == "lane"
    server.download(choice, [100_000] * 50)

    assert (choice.road, choice.settled) == ("lane", False)


def test_refused_connections_make_bodies_share_one() -> None:
    """One refusal is bad luck; two are a limit on connections."""
    choice, seen = Choice(), []
    for _ in range(2):
        choice.refused()
        seen.append(choice.road)

    assert seen == ["1.1", "shared"]


def test_refusals_by_status_need_good_answers_beside_them() -> None:
    """503 to new connections while kept ones are served is a limit on connections."""
    choice, seen = Choice(), []
    for _ in range(2):
        choice.answered(503, lambda: True)
        seen.append(choice.road)
    for _ in range(4):
        choice.answered(200, None)
        seen.append(choice.road)

    assert seen == ["1.1"] * 5 + ["shared"]


def test_a_limit_on_requests_is_no_limit_on_connections() -> None:
    """429 to kept connections too: fewer connections would not help."""
    choice = Choice()
    for _ in range(5):
        choice.answered(429, lambda: True)
        choice.answered(429, None)
        choice.answered(200, None)

    assert choice.road == "1.1"


def test_what_was_asked_for_is_obeyed() -> None:
    """`--http 1.1` never leaves, `--http 2` only shares, and nobody goes to HTTP/2 where it is not spoken."""
    one, two, plain = Choice("1.1"), Choice("2"), Choice(offers_h2=False)
    for choice in (one, two, plain):
        Server(keep_alive=False).download(choice, [MIB] * 20)
    assert [choice.road for choice in (one, two, plain)] == ["1.1", "lane", "1.1"]
    for choice in (one, two, plain):
        choice.refused()
        choice.refused()
    assert [choice.road for choice in (one, two, plain)] == ["1.1", "shared", "1.1"]


def test_a_host_that_turns_out_to_speak_no_http_2_is_remembered() -> None:
    """The lane could not be had: HTTP/1.1, settled, and told to whoever remembers."""
    told: list[Road] = []
    choice = Choice(learnt=told.append)
    choice.refused()
    choice.refused()
    choice.without_h2()

    assert (choice.road, choice.settled) == ("1.1", True)
    assert told == ["shared", "1.1"]


def test_a_remembered_road_is_taken_at_once() -> None:
    """What an earlier run learnt; nonsense and other wishes are not followed."""
    known, nonsense, asked = Choice(), Choice(), Choice("1.1")
    known.remember("lane")
    nonsense.remember("3")
    asked.remember("lane")

    assert [choice.road for choice in (known, nonsense, asked)] == ["lane", "1.1", "1.1"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("body"), st.floats(0, 5), st.integers(0, 1 << 40), st.booleans()),
            st.tuples(st.just("refused"), st.just(0.0), st.just(0), st.just(False)),
            st.tuples(st.just("status"), st.just(0.0), st.sampled_from([200, 404, 429, 503]), st.booleans()),
        ),
        max_size=60,
    )
)
def test_any_evidence_leads_somewhere_and_settled_is_settled(events: list[tuple[str, float, int, bool]]) -> None:
    """The road is always one of the three; a choice settled on HTTP/1.1 never leaves it."""
    choice, now = Choice(), 0.0
    for kind, seconds, number, flag in events:
        stays = choice.settled and choice.road == "1.1"
        if kind == "refused":
            choice.refused()
        elif kind == "status":
            choice.answered(number, (lambda: True) if flag else None)
        else:
            road = choice.road
            choice.begin(now, road)
            now += seconds
            choice.end(now, road, number)
            if road == "1.1":
                choice.carried(seconds, seconds / 2 if flag else None, flag)
        assert choice.road in ROADS
        assert not stays or choice.road == "1.1"
        assert all(record.under_way == 0 for record in choice.records.values())
