"""The plan of a run, grown from answers that come in any order. Pure values: asks nobody, and knows no clock.

Four kinds of steps, each with an identity: Read (a manifest of a source), Ensure (a blob at a place), PutManifest and
Tag. Whoever says the same thing twice has said one thing; the order of answers leaves no trace.
Law 1: a digest is downloaded once in the run, uploaded once per registry, and mounted into the other repositories.
Law 2: whether a blob is there is asked of one place per registry: the first, in the order of the images, that needs it.
What it answers decides for the registry, as it does when the engine runs (`transfer.ensure`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from fastcopy.descriptor import Descriptor, Digest

#: `failed`: it could not be read, or its destination could not be used.
Action = Literal["copy", "present", "failed"]
#: `repeated`: the same place needs it for an earlier image of the run.
How = Literal["upload", "mount", "present", "repeated"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where blobs are unique: a repository of a registry, or (host "") a local place."""

    host: str
    place: str
    mounts: bool = False  #: takes blobs from other repositories of its host


@dataclass(frozen=True, slots=True)
class Part:
    """A manifest that has to be written: its blobs, and the manifests that must be there before it."""

    digest: Digest
    size: int
    blobs: tuple[Descriptor, ...] = ()
    children: tuple[Digest, ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of one image at one destination; `number` is its turn in the run.

    `group` is shared by the images that are one source read once. `digest` is what the source's name pointed to, `read`
    the manifests read of it, `parts` what has to be written, children first and last what gets the name.
    """

    number: int
    source: str
    destination: str
    origin: Spot
    spot: Spot
    action: Action
    digest: str = ""
    read: tuple[Digest, ...] = ()
    parts: tuple[Part, ...] = ()
    group: int = 0
    error: str = ""
    slug: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Question:
    """Whether a blob is at a place."""

    host: str
    place: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Ensure:
    """One blob at one place: how it comes there; `origin` is the repository it is mounted from."""

    spot: Spot
    what: Descriptor
    how: How
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do once: `key` says what, `does` in which way, `after` what has to be done before."""

    key: tuple[str, ...]
    does: str = ""
    after: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class Tally:
    """Blobs and their bytes."""

    blobs: int = 0
    bytes: int = 0

    def add(self, what: Descriptor) -> None:
        """One more; a size that nobody states counts as nothing."""
        self.blobs += 1
        self.bytes += max(what.size, 0)


class Planner:
    """Takes answers in any order; `plan` is theirs alone."""

    def __init__(self) -> None:
        self._images: dict[int, Image] = {}
        self._there: dict[Question, bool] = {}
        self._wanted: dict[Question, Descriptor] = {}

    def image(self, image: Image) -> None:
        """What is known of one image now."""
        self._images[image.number] = image

    def presence(self, question: Question, there: bool) -> None:
        """The answer of one place."""
        self._there[question] = there

    def wanted(self, question: Question) -> Descriptor:
        """The blob that *question* is about."""
        return self._wanted[question]

    def questions(self) -> list[Question]:
        """What has to be asked before the plan is complete, given the images so far."""
        self._wanted = dict(_asked(_in_order(self._images)))
        return sorted(question for question in self._wanted if question not in self._there)

    def plan(self) -> Plan:
        """The plan; raises ValueError while a question is open."""
        if self.questions():
            raise ValueError("not all that the plan depends on has been answered")
        images = tuple(_in_order(self._images))
        return Plan(images, _ensured(images, self._there))


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do: images in order, and for each what becomes of its blobs."""

    images: tuple[Image, ...]
    ensured: Mapping[int, tuple[Ensure, ...]] = field(repr=False)

    def of(self, image: Image) -> tuple[Ensure, ...]:
        """What becomes of the image's blobs."""
        return self.ensured.get(image.number, ())

    @property
    def blobs(self) -> Iterator[tuple[Image, Ensure]]:
        """Every blob of every image to copy, in order."""
        return ((image, each) for image in self.images for each in self.of(image))

    def tally(self, *how: How, host: str | None = None) -> Tally:
        """Blobs that come to be there in one of these ways, at one registry or at all."""
        total = Tally()
        for _, each in self.blobs:
            if each.how in how and host in (None, each.spot.host):
                total.add(each.what)
        return total

    @property
    def naive(self) -> Tally:
        """What copying one image after the other without any knowledge would move."""
        return self.tally("upload", "mount", "present", "repeated")

    @property
    def unique(self) -> Tally:
        """The different blobs of all images to copy."""
        return _total({each.what.digest: each.what for _, each in self.blobs}.values())

    @property
    def download(self) -> Tally:
        """The different blobs that have to be read from a source."""
        return _total({each.what.digest: each.what for _, each in self.blobs if each.how == "upload"}.values())

    @property
    def hosts(self) -> list[str]:
        """The destination registries, "" for local places."""
        return sorted({image.spot.host for image in self.images if image.action != "failed"})

    def steps(self) -> list[Step]:
        """The graph in an order in which it can be done: reads, blobs, manifests after their children, tags last."""
        found: dict[tuple[str, ...], Step] = {}
        for phase in (_reads, _blobs, _puts, _tags):
            for image in self.images:
                for step in phase(image, self.of(image)):
                    found.setdefault(step.key, step)
        return list(found.values())


def _total(blobs: Iterable[Descriptor]) -> Tally:
    total = Tally()
    for what in blobs:
        total.add(what)
    return total


def _in_order(images: Mapping[int, Image]) -> list[Image]:
    return [images[number] for number in sorted(images)]


def _needs(images: Iterable[Image]) -> Iterator[tuple[Image, Descriptor]]:
    """Every blob of every part, in order, as often as it is needed."""
    for image in images:
        if image.action == "copy":
            for part in image.parts:
                for what in part.blobs:
                    yield image, what


def _account(spot: Spot, digest: Digest) -> tuple[str, str, Digest]:
    """What one answer decides: a registry that mounts, else a place."""
    return spot.host, "" if spot.mounts else spot.place, digest


def _mountable(image: Image) -> str:
    """The source's repository, where the destination is another one of the same registry."""
    same = image.spot.mounts and image.origin.host == image.spot.host and image.origin.place != image.spot.place
    return image.origin.place if same else ""


def _asked(images: Iterable[Image]) -> Iterator[tuple[Question, Descriptor]]:
    seen: set[tuple[str, str, Digest]] = set()
    for image, what in _needs(images):
        account = _account(image.spot, what.digest)
        if account in seen:
            continue
        seen.add(account)
        if image.spot.host and not _mountable(image):
            yield Question(image.spot.host, image.spot.place, what.digest), what


def _ensured(images: Iterable[Image], there: Mapping[Question, bool]) -> dict[int, tuple[Ensure, ...]]:
    """How each blob comes to be where it is needed."""
    places: dict[tuple[str, str, Digest], dict[str, None]] = {}  # in the order they got it
    found: dict[int, list[Ensure]] = {}
    for image, what in _needs(images):
        known = places.setdefault(_account(image.spot, what.digest), {})
        found.setdefault(image.number, []).append(_one(image, what, known, there))
        known[image.spot.place] = None
    return {number: tuple(each) for number, each in found.items()}


def _one(image: Image, what: Descriptor, known: Mapping[str, None], there: Mapping[Question, bool]) -> Ensure:
    spot = image.spot
    if spot.place in known:
        return Ensure(spot, what, "repeated")
    if origin := next(iter(known), "") or _mountable(image):
        return Ensure(spot, what, "mount", origin)
    present = there.get(Question(spot.host, spot.place, what.digest), False)
    return Ensure(spot, what, "present" if present else "upload")


# -- the graph --------------------------------------------------------------------------------------------------------


def _blob_key(spot: Spot, digest: str) -> tuple[str, ...]:
    return ("ensure", spot.host, spot.place, digest)


def _put_key(spot: Spot, digest: str) -> tuple[str, ...]:
    return ("put", spot.host, spot.place, digest)


def _reads(image: Image, _: Iterable[Ensure]) -> Iterator[Step]:
    for digest in image.read if image.action == "copy" else ():
        yield Step(("read", image.origin.host, image.origin.place, digest))


def _blobs(image: Image, ensured: Iterable[Ensure]) -> Iterator[Step]:
    """A mount comes after the blob's first place, unless that is the source's, where it has always been."""
    for each in ensured:
        brought = each.how == "mount" and each.origin != _mountable(image)
        origin = [_blob_key(Spot(image.spot.host, each.origin), each.what.digest)] if brought else []
        yield Step(_blob_key(image.spot, each.what.digest), each.how, tuple(origin))


def _puts(image: Image, _: Iterable[Ensure]) -> Iterator[Step]:
    for part in image.parts if image.action == "copy" else ():
        before = [_blob_key(image.spot, what.digest) for what in part.blobs]
        children = [_put_key(image.spot, child) for child in part.children]
        yield Step(_put_key(image.spot, part.digest), "", (*before, *children))


def _tags(image: Image, _: Iterable[Ensure]) -> Iterator[Step]:
    if image.action == "copy" and image.parts:
        yield Step(("tag", image.destination), "", (_put_key(image.spot, image.parts[-1].digest),))
