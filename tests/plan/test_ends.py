"""How planning ends early, and the function for programs."""

from __future__ import annotations

import contextlib

import pytest
import trio

import fastcopy
from fastcopy.api import plan_async
from fastcopy.errors import Drained
from fastcopy.formats import Given, parse
from fastcopy.jobs import Rule
from fastcopy.serve.message import Body, Handler, Head, Middleware, Reply
from fastcopy.transfer.drain import Drain
from tests.cli.support import run
from tests.copy.world import Pair, fresh, image, options
from tests.sync.world import Place


def rules(place: Place, text: str, base: str, to: str) -> tuple[Rule, ...]:
    """The rules of a list."""
    ends = Given(source=f"{place.source.host}/{base}", destination=f"{place.destination.host}/{to}")
    return parse(text, "list", ends, "list").rules


def test_a_program_gets_the_plan_as_values(place: Place) -> None:
    """`fastcopy.plan`: sums, images, and steps in an order in which they can be done."""
    base, to = fresh("plan/a"), fresh("plan/b")
    made = place.images(base, 2)
    found = fastcopy.plan(rules(place, "i0:1\ni1:1\n", base, to), options(place.source, place.destination))
    assert [image.digest for image in found.plan.images] == [each.digest for each in made]
    assert found.plan.naive.bytes == sum(len(data) for each in made for data in each.blobs.values())
    kinds = [step.key[0] for step in found.plan.steps()]
    assert (kinds[0], kinds[-1]) == ("read", "tag")


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
def test_a_plan_that_was_asked_to_end_is_no_plan(place: Place, pair: Pair, path: str) -> None:
    """While it reads manifests or looks for blobs: Drained, instead of a plan that misses something."""
    base, to = fresh("plan/a"), fresh("plan/b")
    image(place.source, f"{base}/many", layers=[f"{base} {n}".encode() for n in range(300)])
    listed = rules(place, "many:1\n", base, to)
    drain = Drain()

    async def work() -> None:
        token = trio.lowlevel.current_trio_token()
        pair.at_destination.add(_asking(drain, token), path=f"/{to}/.*{path}")
        await plan_async(listed, options(place.source, place.destination), drain=drain)

    with pytest.raises(Drained):
        trio.run(work)


def _asking(drain: Drain, token: trio.lowlevel.TrioToken) -> Middleware:
    """Ask the run in the loop of *token* to end, then answer."""

    async def fault(head: Head, body: Body, proceed: Handler) -> Reply:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(drain.ask)
        await trio.sleep(0.2)
        return await proceed(head, body)

    return fault


@pytest.mark.parametrize("word", ["--watch=5m", "--health=:0", "--metrics"])
def test_what_only_a_run_can_do_is_refused(word: str) -> None:
    """Never ignored: one line, exit code 64."""
    ran = run("plan", "--list", "none.txt", "--from", "a.example/a", "--to", "b.example/b", word)
    assert (ran.code, len(ran.err.splitlines())) == (64, 1)
    assert word.partition("=")[0] in ran.err
