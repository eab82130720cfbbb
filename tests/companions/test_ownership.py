"""Which repositories may be pruned, as a decision without registries."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastcopy.errors import LinkLost
from fastcopy.jobs import Access, Job, Rule, Settings, Target, expand
from fastcopy.migrate.discover import Discovery
from fastcopy.migrate.prune import Consent, Owned, owned
from fastcopy.migrate.report import Failure, Outcome, Status
from fastcopy.tags.pattern import Glob
from fastcopy.tags.selection import Selection

STATUSES: list[Status] = ["copied", "present", "failed", "skipped"]


def _rule(number: int, to: int, *, prune: bool, immutable: str = "") -> Rule:
    settings = Settings(prune=prune, immutable=(Glob(immutable),) if immutable else ())
    targets = (Target(f"docker://b.lan/m{to}"),)
    everything = Selection(everything=True)
    return Rule(f"docker://a.lan/r{number}", everything, targets, settings=settings, where=f"f:{number}:1")


RULES = st.lists(
    st.tuples(
        st.integers(0, 2),  # which destination repository
        st.booleans(),  # consent
        st.lists(st.sampled_from("abcd"), unique=True, max_size=3),  # tags at the source
        st.sampled_from([None, *STATUSES]),  # what becomes of its images; None: the source cannot be listed
    ),
    max_size=6,
)


@given(RULES, st.sampled_from(["listed", "even-empty"]))
def test_a_repository_is_pruned_only_with_everybodys_consent_and_success(
    drawn: list[tuple[int, bool, list[str], Status | None]], consent: Consent
) -> None:
    """Of all rules that write to it; and every tag of every job is kept."""
    found, outcomes, rules = Discovery(), dict[Job, Outcome](), list[Rule]()
    writers: dict[str, list[tuple[bool, list[str], Status | None]]] = {}
    for number, (to, prune, tags, status) in enumerate(drawn):
        rule = _rule(number, to, prune=prune)
        rules.append(rule)
        writers.setdefault(f"b.lan/m{to}", []).append((prune, tags, status))
        if status is None:
            found.failures.append(Failure(rule.where, rule.source, LinkLost("gone")))
            continue
        jobs = found.add(
            (number, 0),
            [
                Job(f"{rule.source}:{tag}", f"docker://b.lan/m{to}:{number}{tag}", rule.settings, where=rule.where)
                for tag in tags
            ],
        )
        outcomes |= {job: Outcome(job, status) for job in jobs}
        if not tags:
            found.empty.append(rule)
    places, spared = owned(rules, found, outcomes, consent)
    mine = {place.name: place for place in places}
    for name, each in writers.items():
        willing = all(prune for prune, _, _ in each)
        listed = all(status is not None and (tags or consent == "even-empty") for _, tags, status in each)
        arrived = all(status in ("copied", "present") or not tags for _, tags, status in each)
        assert (name in mine) == (willing and listed and arrived)
    for job in found.jobs:
        repository, _, tag = job.destination.removeprefix("docker://").partition(":")
        assert repository not in mine or tag in mine[repository].kept
    assert {name.removeprefix("docker://") for name, _ in spared}.isdisjoint(mine)


def test_what_cannot_be_placed_protects_everything() -> None:
    """A registry that could not be listed, an entry that could not be read: they might have written anywhere."""
    rule = _rule(1, 1, prune=True)
    (job,) = expand(rule, ["1"])
    for failure in (Failure("", "", LinkLost("x")), Failure("f:9:1", "docker://c.lan", LinkLost("x"))):
        found = Discovery()
        found.add((0, 0), [job])
        found.failures.append(failure)
        places, spared = owned([rule], found, {job: Outcome(job, "copied")}, "listed")
        assert places == []
        assert [name for name, _ in spared] == ["docker://b.lan/m1"]


def test_a_repository_of_a_listed_registry_that_fails_protects_its_own_place() -> None:
    """The rule is for a registry; what failed is one of its repositories."""
    target = (Target("docker://b.lan/{repository}"),)
    everything = Selection(everything=True)
    rule = Rule(
        "docker://a.lan", everything, target, repositories=everything, settings=Settings(prune=True), where="f:1:1"
    )
    jobs = [Job(f"docker://a.lan/{name}:1", f"docker://b.lan/{name}:1", rule.settings, where="f:1:1") for name in "xy"]
    found = Discovery()
    found.add((0, 1), jobs)
    found.failures.append(Failure("f:1:1", "docker://a.lan/y", LinkLost("gone")))
    places, _ = owned([rule], found, {job: Outcome(job, "present") for job in jobs}, "listed")
    assert [place.name for place in places] == ["b.lan/x"]


def test_a_template_that_depends_on_the_tag_protects_everything_when_it_is_empty() -> None:
    """Where its images would have gone nobody knows."""
    odd = Rule("docker://a.lan/odd", Selection(everything=True), (Target("docker://b.lan/{tag}/x"),), where="f:2:1",
               settings=Settings(prune=True))  # fmt: skip
    rule = _rule(1, 1, prune=True)
    (job,) = expand(rule, ["1"])
    found = Discovery()
    found.add((0, 0), [job])
    found.empty.append(odd)
    assert owned([rule, odd], found, {job: Outcome(job, "copied")}, "even-empty")[0] == []


def test_a_dry_run_has_no_outcomes_and_misses_nothing() -> None:
    """It asks what would go if everything went well."""
    rule = _rule(1, 1, prune=True, immutable="v*")
    (job,) = expand(rule, ["1"])
    found = Discovery()
    found.add((0, 0), [job])
    assert owned([rule], found, None, "listed")[0] == [
        Owned("b.lan/m1", Access(), frozenset({"1"}), (Glob("v*"),), frozenset())
    ]
    assert owned([rule], found, {}, "listed")[0] == []
