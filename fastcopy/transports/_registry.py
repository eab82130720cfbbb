"""The OCI distribution protocol as questions and answers.

Law 1: `ask` functions return a Request, `read` functions judge a Response; nothing here waits or knows a socket.
Law 2: Location is opaque: never rebuilt, `digest=` is appended, the newest one wins (protocol reference 0.1).

Sections in parentheses are those of the distribution specification v1.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from fastcopy import media
from fastcopy.descriptor import Descriptor, Digest, is_digest
from fastcopy.errors import BadManifest, DigestMismatch, NotThere, ProtocolBroken
from fastcopy.http.retry import error_from
from fastcopy.http.wire import Origin, Request, Response, Url

#: distribution, c/image and the specification agree on 4 MiB for a manifest (protocol reference 7.1).
MANIFEST_LIMIT = 4 << 20
#: One page of tags: distribution 2.8 answers with all of them at once, which can be megabytes.
TAGS_LIMIT = 64 << 20
#: Registries hash and move a large blob when it is closed; 20 GiB take many minutes (protocol reference 1.12).
CLOSING_PATIENCE = 15 * 60.0
OCTETS = ("content-type", "application/octet-stream")
EMPTY = ("content-length", "0")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository behind an API origin."""

    origin: Origin
    name: str

    def url(self, rest: str) -> Url:
        """``/v2/<name>/<rest>``."""
        return Url(self.origin, f"/v2/{self.name}/{rest}")

    def scopes(self, actions: str) -> tuple[str, ...]:
        """Token scopes for *actions* on this repository."""
        return (f"repository:{self.name}:{actions}",)


def check_api(origin: Origin) -> Request:
    """GET /v2/ (end-1)."""
    return Request("GET", Url(origin, "/v2/"))


def get_manifest(repo: Repository, reference: str, method: str = "GET") -> Request:
    """GET or HEAD a manifest (end-3), with every media type we understand."""
    accept = (("accept", media.ACCEPT),)
    url = repo.url(f"manifests/{reference}")
    return Request(method, url, accept, scopes=repo.scopes("pull"), limit=MANIFEST_LIMIT + 1)


def read_manifest(response: Response, repo: Repository, reference: str) -> tuple[bytes, str, Digest]:
    """Raw bytes, media type and our own digest of them; raises for anything but a verified 200."""
    if response.status != 200:
        raise error_from(response, what=f"reading manifest {reference} in {repo.name}")
    raw = response.body
    if len(raw) > MANIFEST_LIMIT:
        raise BadManifest(f"manifest {reference} in {repo.name} is larger than {MANIFEST_LIMIT} bytes")
    digest = _own_digest(raw, response, reference)
    return raw, response.headers.get("content-type").partition(";")[0].strip(), digest


def _own_digest(raw: bytes, response: Response, reference: str) -> Digest:
    claimed = response.headers.get("docker-content-digest")
    wanted = reference if is_digest(reference) else claimed if is_digest(claimed) else ""
    digest = Digest.of(raw, wanted.partition(":")[0] or "sha256")
    schema1 = response.headers.get("content-type").partition(";")[0].strip().lower() in media.SCHEMA1_TYPES
    if wanted and digest != wanted and not schema1:  # schema 1 is addressed by its payload, not by these bytes
        raise DigestMismatch(f"manifest {reference}: Digest did not match, expected {wanted}, got {digest}")
    return digest


def read_current(response: Response) -> tuple[Digest | None, str]:
    """Digest and media type a HEAD promises; (None, "") if it does not exist or does not say (never an error)."""
    claimed = response.headers.get("docker-content-digest")
    if response.status != 200 or not is_digest(claimed):
        return None, ""
    return Digest(claimed), response.headers.get("content-type").partition(";")[0].strip()


@dataclass(frozen=True, slots=True)
class PullBudget:
    """How many manifests may still be read, of how many in `window` seconds; None where that is not said."""

    left: int
    limit: int | None = None
    window: int | None = None


_BUDGET = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w=(\d{1,9}))?")


def read_pulls(response: Response) -> PullBudget | None:
    """RateLimit-Remaining and RateLimit-Limit, as ``76;w=21600`` (protocol reference 3.1)."""
    left = _BUDGET.match(response.headers.get("ratelimit-remaining"))
    if not left:
        return None
    limit = _BUDGET.match(response.headers.get("ratelimit-limit"))
    window = left[2] or (limit and limit[2])
    return PullBudget(int(left[1]), int(limit[1]) if limit else None, int(window) if window else None)


def get_blob(repo: Repository, what: Descriptor, first: int = 0, last: int | None = None) -> Request:
    """GET a blob (end-2); a closed range whenever it is not the whole (open ones break some servers)."""
    headers: tuple[tuple[str, str], ...] = ()
    if first or last is not None:
        end = last if last is not None else what.size - 1
        headers = (("range", f"bytes={first}-{end}"),)
    return Request("GET", repo.url(f"blobs/{what.digest}"), headers, scopes=repo.scopes("pull"))


_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def read_range(response: Response, what: Descriptor, first: int, last: int) -> int:
    """How many leading bytes to throw away (a 200 to a Range starts at 0); raises if it is useless."""
    if response.status == 200:
        return first
    if response.status != 206:
        raise error_from(response, what=f"reading blob {what.digest}")
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range").strip())
    if not found or (int(found[1]), int(found[2])) != (first, last) or found[3] not in ("*", str(what.size)):
        raise ProtocolBroken(f"blob {what.digest}: the answer is not the range that was asked for", status=206)
    return 0


def head_blob(repo: Repository, what: Descriptor) -> Request:
    """HEAD a blob (end-2). Redirects are followed, so that the size is the blob's."""
    return Request("HEAD", repo.url(f"blobs/{what.digest}"), scopes=repo.scopes("pull,push"))


def read_head(response: Response, what: Descriptor) -> bool:
    """Whether the blob exists, with the size the descriptor says."""
    if response.status == 404:
        return False
    if response.status != 200:
        raise error_from(response, what=f"trying to reuse blob {what.digest} at destination")
    size = response.headers.integer("content-length")
    return size is None or what.size in (-1, size)


def start_upload(repo: Repository, what: Descriptor, mount_from: str = "") -> Request:
    """POST an upload (end-4a), or a mount that becomes an upload when refused (end-11)."""
    url = repo.url("blobs/uploads/")
    scopes = repo.scopes("pull,push")
    if mount_from:
        url = Url(repo.origin, f"{url.target}?mount={quote(what.digest, safe='')}&from={quote(mount_from, safe='')}")
        scopes += (f"repository:{mount_from}:pull",)
    return Request("POST", url, (EMPTY,), b"", scopes)


def post_blob(repo: Repository, what: Descriptor, data: bytes) -> Request:
    """POST a whole blob (end-4b); 202 means that it was not taken and an upload was started instead."""
    url = repo.url("blobs/uploads/").with_query(digest=what.digest)
    return Request("POST", url, (OCTETS,), scopes=repo.scopes("pull,push")).with_body(data).once()


def read_started(response: Response, base: Url, what: str) -> Url | None:
    """The upload's Location, or None when the blob was mounted."""
    if response.status == 201:
        return None
    if response.status != 202:
        raise error_from(response, what=f"writing blob: initiating layer upload to {what}")
    return read_location(response, base)


def read_location(response: Response, base: Url) -> Url:
    """The newest Location of an upload. http is raised to https on the same host: a proxy's usual misconfiguration."""
    location = response.headers.get("location")
    if not location:
        raise ProtocolBroken(
            "the registry started an upload without saying where (no Location)", status=response.status
        )
    url = base.join(location)
    if base.origin.scheme == "https" and url.origin.scheme == "http" and url.origin.host == base.origin.host:
        return Url(base.origin, url.target)
    return url


def put_blob(location: Url, repo: Repository, digest: Digest) -> Request:
    """PUT that closes an upload, its body still to come (end-6)."""
    url = location.with_query(digest=digest)
    return Request("PUT", url, (OCTETS,), scopes=repo.scopes("pull,push"), patience=CLOSING_PATIENCE)


def patch_blob(location: Url, repo: Repository, first: int | None = None, last: int = -1) -> Request:
    """PATCH with a body to come: streamed (no range) or one chunk (end-5)."""
    chunk = () if first is None else (("content-range", f"{first}-{last}"),)
    return Request("PATCH", location, (OCTETS, *chunk), scopes=repo.scopes("pull,push"), patience=CLOSING_PATIENCE)


def read_patched(response: Response, base: Url) -> Url:
    """The Location after a PATCH (202; ECR says 201)."""
    if response.status not in (201, 202, 204):
        raise error_from(response, what="writing blob: uploading layer chunked")
    return read_location(response, base) if "location" in response.headers else base


def probe_upload(location: Url, repo: Repository) -> Request:
    """PATCH no byte, as a part that does not begin where the fresh upload at *location* stands (end-5).

    A registry that keeps count refuses it with 416 and keeps the upload; one that appends whatever comes, by a state
    in the Location, takes nothing amiss and nothing in (docs/resume.md).
    """
    headers = (OCTETS, ("content-range", "1-1"), EMPTY)
    return Request("PATCH", location, headers, b"", scopes=repo.scopes("pull,push")).once()


def upload_status(location: Url, repo: Repository) -> Request:
    """GET how far an upload has come (end-13)."""
    return Request("GET", location, scopes=repo.scopes("pull,push"), follow=False)


_STORED = re.compile(r"(?:bytes[= ])?0-(\d{1,19})")


def read_status(response: Response, base: Url) -> tuple[Url, int] | None:
    """Where an upload goes on, and the bytes it holds; None when there is none. Raises what may pass.

    ``0-0`` is said of no byte and of one: it counts as none.
    """
    if response.status in (408, 429) or response.status >= 500:
        raise error_from(response, what="writing blob: asking how far an upload has come")
    found = _STORED.fullmatch(response.headers.get("range").strip())
    if response.status not in (200, 202, 204) or not found:
        return None
    location = read_location(response, base) if "location" in response.headers else base
    last = int(found[1])
    return location, last + 1 if last else 0


def cancel_upload(location: Url, repo: Repository) -> Request:
    """DELETE an upload (end-14)."""
    return Request("DELETE", location, scopes=repo.scopes("pull,push,delete"))


def read_closed(response: Response, what: Digest) -> None:
    """Whether the blob is now stored; raises otherwise."""
    if response.status not in (201, 204):
        raise error_from(response, what=f"writing blob {what}")
    stored = response.headers.get("docker-content-digest")
    if is_digest(stored) and stored != what and stored.partition(":")[0] == what.algorithm:
        raise DigestMismatch(f"the registry stored {stored}, {what} was sent")


def put_manifest(repo: Repository, reference: str, raw: bytes, media_type: str) -> Request:
    """PUT exact manifest bytes (end-7)."""
    headers = (("content-type", media_type), ("content-length", str(len(raw))))
    return Request("PUT", repo.url(f"manifests/{reference}"), headers, raw, repo.scopes("pull,push"))


def read_put(response: Response, repo: Repository, reference: str, raw: bytes, digest: Digest) -> None:
    """Whether *raw* was stored under our digest; signed schema 1 has two, with and without its signatures."""
    if response.status not in (200, 201, 202):
        raise error_from(response, what=f"writing manifest: uploading manifest {reference} to {repo.name}")
    stored = response.headers.get("docker-content-digest")
    known = is_digest(stored) and stored.partition(":")[0] == digest.algorithm
    if known and stored != digest and not Digest(stored).matches(raw):
        raise DigestMismatch(f"the registry stored manifest {stored}, {digest} was sent")


def delete_manifest(repo: Repository, reference: str) -> Request:
    """DELETE a manifest by digest, or a tag (end-9); c/image asks for every action (some servers know no `delete`)."""
    return Request("DELETE", repo.url(f"manifests/{reference}"), scopes=repo.scopes("*"))


def read_deleted(response: Response, name: str) -> None:
    """Whether the manifest is gone; skopeo's words when it never was there."""
    if response.status == 404:
        raise NotThere(
            f"Unable to delete {name}. Image may not exist or is not stored with a v2 Schema in a v2 registry"
        )
    if response.status not in (200, 202, 204):
        raise error_from(response, what=f"deleting {name}")


def read_whether_deleted(response: Response, name: str) -> bool:
    """Whether it is gone now; False where it is not there, or is not deleted by such a reference (by tag)."""
    if response.status in (400, 404, 405, 501):
        return False
    if response.status not in (200, 202, 204):
        raise error_from(response, what=f"deleting {name}")
    return True


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


def list_tags(repo: Repository, page: Url | None = None) -> Request:
    """GET the first or a further page of tags (end-8)."""
    return Request("GET", page or repo.url("tags/list"), scopes=repo.scopes("pull"), limit=TAGS_LIMIT)


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


def list_catalog(origin: Origin, page: Url | None = None) -> Request:
    """GET the first or a further page of repositories."""
    return Request("GET", page or Url(origin, "/v2/_catalog"), scopes=("registry:catalog:*",), limit=TAGS_LIMIT)


def read_catalog(response: Response, here: Url) -> tuple[list[str], Url | None]:
    """The repositories of this page, and the next page."""
    if response.status != 200:
        raise error_from(response, what="listing repositories")
    try:
        names = msgspec.json.decode(response.body, type=_Catalog).repositories or []
    except msgspec.DecodeError as error:
        raise ProtocolBroken(f"the list of repositories is not what the registry promises: {error}") from None
    return names, next_page(response, here)


_NEXT = re.compile(r"""<([^>]*)>\s*;[^,]*\brel="?next"?""")


def read_tags(response: Response, repo: Repository, here: Url) -> tuple[list[str], Url | None]:
    """The tags of this page in the registry's order, and the next page."""
    if response.status == 404:
        raise error_from(response, what=f"reading tags of {repo.name}")
    if response.status != 200:
        raise error_from(response, what="fetching tags list")
    try:
        tags = msgspec.json.decode(response.body, type=_Tags).tags or []
    except msgspec.DecodeError as error:
        raise ProtocolBroken(f"the tag list of {repo.name} is not what the specification says: {error}") from None
    return tags, next_page(response, here)


def next_page(response: Response, here: Url) -> Url | None:
    """Where a list goes on (RFC 8288); raises ProtocolBroken for another host."""
    found = _NEXT.search(", ".join(response.headers.all("link")))
    if not found:
        return None
    following = here.join(found[1])
    if following.origin != here.origin:
        raise ProtocolBroken("the next page is on another host")
    return following
